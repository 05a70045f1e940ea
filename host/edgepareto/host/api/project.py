"""A project folder: writing its first edgepareto.toml, and checking one against the files it names."""

from __future__ import annotations

from pathlib import Path

from edgepareto.host.accuracy import load_dataset, require_metric
from edgepareto.host.config import FILE_NAME, Flags, Settings, needs_labels, read_known, read_settings, starting_file
from edgepareto.host.errors import ConfigError, WrongUse
from edgepareto.host.export import class_count, fix_input_shapes, input_tensors, read_model, require_known_shapes

__all__ = ["check_settings", "init_project"]


def init_project(folder: str | Path = ".", *, model: str | Path | None = None) -> Path:
    """Write a commented edgepareto.toml into an existing folder. WrongUse where there is one already.

    model: relative to the current folder; it need not exist yet.
    """
    target = Path(folder)
    if not target.is_dir():
        raise WrongUse(f"{target}: no such folder; create it first")
    file = target / FILE_NAME
    named = "model.onnx" if model is None else _relative(Path(model), target)
    text = starting_file(named, [device.name for device in read_known(None)])
    try:
        with file.open("x", encoding="utf-8") as opened:
            opened.write(text)
    except FileExistsError as error:
        raise WrongUse(f"{file}: exists already and is never overwritten; edit it, or delete it first") from error
    return file


def check_settings(settings: str | Path) -> Settings:
    """Check an edgepareto.toml and that its model can be read, its data fits and its metric is there.

    Raises ConfigError with file, line, what and what is allowed; ModelError and DataError for the files it names.
    """
    path = Path(settings)
    if not path.is_file():
        raise ConfigError(f"{path}: no such file; write one with host init")
    checked = read_settings(path, Flags())
    config = checked.study_config()
    require_metric(config.search.metric, folder=config.folder)
    model = fix_input_shapes(read_model(config.model), config.data.shapes)
    require_known_shapes(model)
    for source in (config.data.calibration, config.data.validation, config.data.test):
        if source is not None:
            load_dataset(
                source,
                config.data,
                input_tensors(model),
                folder=config.folder,
                labelled=source != config.data.calibration and needs_labels(config.search.metric),
                classes=class_count(model),
            )
    return checked


def _relative(model: Path, folder: Path) -> str:
    """The model as edgepareto.toml in `folder` names it: relative where it lies inside, else absolute."""
    resolved, base = model.resolve(), folder.resolve()
    return str(resolved.relative_to(base)) if resolved.is_relative_to(base) else str(resolved)
