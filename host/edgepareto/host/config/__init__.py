"""edgepareto.toml and flags -> frozen values. Everything from outside is checked here, once, by raising."""

from edgepareto.host.config.address import is_this_machine
from edgepareto.host.config.folder import config_folder
from edgepareto.host.config.inventory import (
    add_device,
    inventory_file,
    read_inventory,
    record_board,
    remove_device,
)
from edgepareto.host.config.known_hosts import known_hosts_files
from edgepareto.host.config.learned_steps import read_learned_steps, steps_file, write_learned_steps
from edgepareto.host.config.settings import (
    FILE_NAME,
    Flags,
    Settings,
    read_devices,
    read_known,
    read_settings,
    settings_file,
)
from edgepareto.host.config.template import starting_file
from edgepareto.host.config.values import (
    AGREEMENT,
    ALGORITHMS,
    METER_KINDS,
    METRIC_NAMES,
    PRESETS,
    DataConfig,
    DeviceConfig,
    SearchConfig,
    StudyConfig,
    is_function,
    needs_labels,
    score_word,
)

__all__ = [
    "AGREEMENT",
    "ALGORITHMS",
    "FILE_NAME",
    "METER_KINDS",
    "METRIC_NAMES",
    "PRESETS",
    "DataConfig",
    "DeviceConfig",
    "Flags",
    "SearchConfig",
    "Settings",
    "StudyConfig",
    "add_device",
    "config_folder",
    "inventory_file",
    "is_function",
    "is_this_machine",
    "known_hosts_files",
    "needs_labels",
    "read_devices",
    "read_inventory",
    "read_known",
    "read_learned_steps",
    "read_settings",
    "record_board",
    "remove_device",
    "score_word",
    "settings_file",
    "starting_file",
    "steps_file",
    "write_learned_steps",
]
