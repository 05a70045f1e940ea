"""What `host distil` prints, and the card beside its file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from edgepareto.host.domain.candidate import Candidate
from edgepareto.host.domain.distilled import DistilledCandidate
from edgepareto.host.views.figures import metric_text, percent
from rich.text import Text

__all__ = ["DistilReport", "distil_json", "distil_text"]

SCHEMA = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class DistilReport:
    """file: the better version, a 32-bit .onnx file. card: the same as JSON."""

    found: DistilledCandidate
    file: Path
    card: Path


def distil_json(report: DistilReport) -> str:
    """What is not known is absent."""
    found = report.found
    candidate = found.before
    record: dict[str, object] = {
        "schema": SCHEMA,
        "file": report.file.name,
        "study": found.study,
        "model": found.model,
        "metric": found.metric,
        "candidate": candidate.id,
        "helped": found.helped,
        "before": _version(found.before, found.before_loss),
        "after": _version(found.after, found.after_loss),
        "taught": found.taught,
        "judged_by": found.judged_by,
        "weights": found.weights,
        "seconds": found.seconds,
        "made": {
            "criterion": candidate.recipe.criterion,
            "recovery": candidate.recipe.recovery,
            "calibration_images": candidate.recipe.images,
            "channels_kept_per_group": list(candidate.genome.widths),
            **({"dropped_branches": list(candidate.genome.dropped)} if candidate.genome.dropped else {}),
            **asdict(found.distillation),
        },
    }
    return json.dumps(record, indent=2)


def distil_text(report: DistilReport) -> Iterator[Text]:
    found = report.found
    steps = f"{found.distillation.steps} steps on {found.taught} samples, {found.seconds:.1f} s"
    yield Text(f"{report.file} and {report.card} written: {found.before.id}, {steps}")
    if not found.helped:
        yield Text("! training brought it no nearer to the unpruned model: the file is as it was", style="bold yellow")
    score = metric_text(found.metric)
    yield Text(f"{score} on validation: {percent(found.before.accuracy)} -> {percent(found.after.accuracy)}")
    if found.before.test_accuracy is not None:
        yield Text(f"{score} on test: {percent(found.before.test_accuracy)} -> {percent(found.after.test_accuracy)}")
    yield Text(
        f"distance from the unpruned model, {found.judged_by} validation samples: "
        f"{found.before_loss:.3g} -> {found.after_loss:.3g}"
    )


def _version(candidate: Candidate, loss: float) -> dict[str, float]:
    told = {
        "accuracy": candidate.accuracy,
        "test_accuracy": candidate.test_accuracy,
        "divergence": candidate.divergence,
        "loss": loss,
    }
    return {name: value for name, value in told.items() if value is not None}
