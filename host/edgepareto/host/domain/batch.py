"""The unit of everything on a device: at most five candidates and the anchor, measured interleaved."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edgepareto.host.domain.candidate import CandidateId
from edgepareto.host.domain.deployment import AS_SET, Deployment
from edgepareto.host.domain.trace import Purpose

__all__ = ["MAXIMUM_BATCH", "AnchorBaseline", "Batch", "BatchEntry"]

MAXIMUM_BATCH = 5  # beside the anchor; every model stays loaded for the whole batch (docs/measurement.md)


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchEntry:
    """A model file to measure and the outputs it must give on its inputs (.npz, one key per output).

    attempt: 0 for the first job of this candidate on this device; the anchor counts its batches. deployment, inputs,
    relative_tolerance None: the batch's.
    """

    candidate: CandidateId
    purpose: Purpose
    attempt: int
    model: Path
    model_sha256: str
    expected_outputs: Path
    deployment: Deployment | None = None
    inputs: Path | None = None
    relative_tolerance: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AnchorBaseline:
    """What the anchor took in a study's first batches on one boot of a board under one governor."""

    latency_ns: int
    boot_id: str
    governor: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """The unit of request key, journal entry and store transaction.

    inputs: .npz, one key per input; row i of the first axis is fed as it stands (with its batch axis of 1).
    anchor_baseline None: not known yet. time_operators: also the time of each operator.
    """

    request_key: str
    preset: str
    order_seed: int
    anchor: BatchEntry
    entries: tuple[BatchEntry, ...]
    inputs: Path
    deployment: Deployment = AS_SET
    relative_tolerance: float = 1e-3
    measure_energy: bool = True
    anchor_baseline: AnchorBaseline | None = None
    time_operators: bool = False
