"""A pruned version of the base model, named by the inputs it was made from."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from typing import NewType

from edgepareto.host.domain.deployment import AS_SET
from edgepareto.host.domain.genome import Genome
from edgepareto.host.domain.paired_accuracy import PackedHits

__all__ = ["CRITERIA", "RECOVERIES", "Candidate", "CandidateId", "Recipe", "candidate_id"]

CandidateId = NewType("CandidateId", str)
CRITERIA = ("obs", "l1", "l2", "activation")
RECOVERIES = ("ls", "moment", "none")


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How a genome becomes weights: what ranks channels, what repairs them, and on how many calibration images.

    criterion: one of CRITERIA; recovery: one of RECOVERIES. distil_steps: of training towards the unpruned model's
    outputs on these images (host/distil), 0: none. distil_labels: the weight of their labels in it.
    """

    criterion: str = "obs"
    recovery: str = "ls"
    images: int = 512
    distil_steps: int = 0
    distil_labels: float = 0.0

    @property
    def is_distilled(self) -> bool:
        return self.distil_steps > 0

    @property
    def undistilled(self) -> Recipe:
        """The same without the training."""
        return replace(self, distil_steps=0, distil_labels=0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A genome that was pruned, recovered and scored. `failure` says why it could not be; the scores are then None.

    model_sha256: of the pruned .onnx file that everything else is made from. bytes: of the file that runs.
    output_error: the largest relative difference of that file's outputs to the .onnx file's; None: it is that file.
    validation_hits, test_hits: which samples it got right (`paired_accuracy`); None where the metric counts no samples.
    divergence: of its outputs from the unpruned model's on the validation samples, 0 or more (accuracy/divergence.py);
    None where it could not be told.
    """

    id: CandidateId
    genome: Genome
    recipe: Recipe
    accuracy: float | None = None
    test_accuracy: float | None = None
    macs: int | None = None
    parameters: int | None = None
    bytes: int | None = None
    model_sha256: str | None = None
    output_error: float | None = None
    failure: str | None = None
    validation_hits: PackedHits | None = None
    test_hits: PackedHits | None = None
    divergence: float | None = None


def candidate_id(base_sha256: str, genome: Genome, recipe: Recipe, calibration_sha256: str) -> CandidateId:
    """A hash of the *inputs* of a candidate, so that a known one is never made again; not the hash of its file."""
    inputs = [base_sha256, list(genome.widths), recipe.criterion, recipe.recovery, recipe.images, calibration_sha256]
    if genome.deployment != AS_SET:  # else it is named as before there were others
        inputs.append(asdict(genome.deployment))
    if genome.dropped:
        inputs.append(list(genome.dropped))
    if recipe.is_distilled:
        inputs.append({"distil_steps": recipe.distil_steps, "distil_labels": recipe.distil_labels})
    return CandidateId(hashlib.sha256(json.dumps(inputs).encode()).hexdigest()[:12])
