"""edgepareto.toml and flags -> frozen values. Everything from outside is checked here, once, by raising."""

from edgepareto.host.config.learned_steps import read_learned_steps, steps_file, write_learned_steps
from edgepareto.host.config.settings import FILE_NAME, Flags, Settings, read_settings, settings_file
from edgepareto.host.config.template import starting_file
from edgepareto.host.config.values import (
    ALGORITHMS,
    METRIC_NAMES,
    PRESETS,
    DataConfig,
    DeviceConfig,
    SearchConfig,
    StudyConfig,
    is_function,
)

__all__ = [
    "ALGORITHMS",
    "FILE_NAME",
    "METRIC_NAMES",
    "PRESETS",
    "DataConfig",
    "DeviceConfig",
    "Flags",
    "SearchConfig",
    "Settings",
    "StudyConfig",
    "is_function",
    "read_learned_steps",
    "read_settings",
    "settings_file",
    "starting_file",
    "steps_file",
    "write_learned_steps",
]
