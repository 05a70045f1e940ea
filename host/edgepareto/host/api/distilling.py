"""`distil`: fine-tuning a candidate of a study for seconds, without a board."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from edgepareto.host.api.study import load_study
from edgepareto.host.config import Flags, read_settings
from edgepareto.host.distil import DistilSettings
from edgepareto.host.errors import ConfigError, WrongUse
from edgepareto.host.export import output_must_be_writable, write_model_bytes, write_whole
from edgepareto.host.views import DistilReport, distil_json

__all__ = ["distil"]

DEFAULTS = DistilSettings()


def distil(
    candidate: str,
    output: str | Path,
    *,
    study: str | Path | None = None,
    steps: int = DEFAULTS.steps,
    learning_rate: float = DEFAULTS.learning_rate,
    labels: float = 0.0,
    settings: str | Path | None = None,
    on_progress: Callable[[str], None] | None = None,
) -> DistilReport:
    """Train a candidate of a study towards the unpruned model's outputs on its calibration samples, and write the
    better of before and after, a 32-bit .onnx file, to `output`, and what both are worth to `output`.json.

    candidate: its id, which may be shortened while it is unique. study None: the one that `settings` (edgepareto.toml)
    names; it stays as it is. labels: the weight of the calibration samples' own labels, which only then are needed.
    on_progress: told in words what begins. Raises WrongUse without torch, ConfigError, StudyError, DataError, and
    EvaluationError where it cannot be distilled.
    """
    from edgepareto.host.study import distil_candidate  # brings pymoo and grpc

    for name, value, least in (("--steps", steps, 1), ("--learning-rate", learning_rate, 0), ("--labels", labels, 0)):
        if value < least or (name == "--learning-rate" and value == 0):
            words = "1 or more" if least else "0 or more" if name == "--labels" else "more than 0"
            raise ConfigError(f"{name} {value:g}: must be {words}")
    chosen = read_settings(None if settings is None else Path(settings), Flags())
    target = Path(output)
    card = target.with_name(f"{target.name}.json")
    if target.suffix == ".tflite":
        raise WrongUse(f"{target}: distil writes .onnx files; host convert makes a .tflite of one")
    for file in (target, card):
        output_must_be_writable(file)
    opened = load_study(study, settings=settings)
    opened.must_outlive(target)
    opened.must_outlive(card)
    found, model = distil_candidate(
        opened.path,
        candidate,
        DistilSettings(steps=steps, learning_rate=learning_rate, label_weight=labels),
        folder=chosen.folder,
        tell=on_progress or _ignore,
    )
    report = DistilReport(found=found, file=target, card=card)
    write_model_bytes(model.SerializeToString(deterministic=True), target)
    write_whole(card, f"{distil_json(report)}\n".encode())
    return report


def _ignore(words: str) -> None:
    """Nobody waits."""
