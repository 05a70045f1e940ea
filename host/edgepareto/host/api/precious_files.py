"""What a user has made or gathered and no output may overwrite."""

from __future__ import annotations

from pathlib import Path

from edgepareto.host.config import Settings
from edgepareto.host.config.values import is_function
from edgepareto.host.export import weight_files

__all__ = ["precious_files"]


def precious_files(chosen: Settings, model: object) -> tuple[Path, ...]:
    """The model with its weights, the settings' file and the samples that it or a flag names."""
    own = (Path(model), *weight_files(Path(model))) if isinstance(model, (str, Path)) else ()
    places = (chosen.data.calibration, chosen.data.validation, chosen.data.test)
    samples = tuple(Path(place) for place in places if place is not None and not is_function(place))
    settings = () if chosen.file is None else (chosen.file,)
    return (*own, *settings, *samples)
