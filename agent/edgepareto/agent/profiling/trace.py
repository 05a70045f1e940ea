"""The batch that is asked for and the raw traces that are answered. Nanoseconds of measurement time, microwatts."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from edgepareto.agent.conditions.linux import Conditions
from edgepareto.agent.errors import MeterStatus, Status
from edgepareto.agent.power.power_meter import MeterDescription
from edgepareto.agent.runtime.runtime import RuntimeOptions, RuntimeUsed

__all__ = [
    "AnchorBaseline",
    "BatchRequest",
    "CandidateSpec",
    "CandidateTrace",
    "LatencyBlock",
    "OperatorTime",
    "PowerWindow",
    "Progress",
    "Purpose",
]


class Purpose(str, Enum):
    SEARCH = "search"
    REMEASURE = "remeasure"
    VERIFY = "verify"


@dataclass(frozen=True, slots=True, kw_only=True)
class CandidateSpec:
    """One model of a batch and how it runs. attempt: 0 for its first job on this device; the anchor counts its batches.

    inputs: .npz, one key per input; row i of the first axis is fed as it stands.
    """

    candidate_id: str
    purpose: Purpose
    attempt: int
    model_sha256: str
    model: Path
    expected_outputs: Path
    runtime: RuntimeOptions
    inputs: Path
    relative_tolerance: float


@dataclass(frozen=True, slots=True, kw_only=True)
class AnchorBaseline:
    """What the anchor took in the study's first batches on that boot under that governor; nothing elsewhere."""

    latency_ns: int
    boot_id: str
    governor: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchRequest:
    """order_seed fixes every order. anchor_baseline None: not known yet. clock_mode: one of the board's, kept for the
    whole batch; empty: as the board is. time_operators: also the time of each operator, after the latency rounds.
    """

    request_key: str
    preset: str
    order_seed: int
    anchor: CandidateSpec
    candidates: tuple[CandidateSpec, ...]
    measure_energy: bool
    anchor_baseline: AnchorBaseline | None = None
    time_operators: bool = False
    clock_mode: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencyBlock:
    """One candidate's runs back to back in one round; position is its place in the round's random order."""

    round: int
    position: int
    start_ns: int
    run_ns: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerWindow:
    """Power samples from start_ns to end_ns, both on inference boundaries. timestamp_ns: the end of each conversion."""

    busy: bool
    round: int
    start_ns: int
    end_ns: int
    inferences: int
    timestamp_ns: tuple[int, ...]
    power_uw: tuple[int, ...]
    bus_uv: tuple[int, ...]
    i2c_errors: int = 0
    dropped: int = 0
    clipped: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorTime:
    """One node of the model as the runtime ran it, by the runtime's own profile: total_ns over `runs` runs."""

    name: str
    op_type: str
    total_ns: int
    runs: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CandidateTrace:
    """One job. Where status is not OK, `message` says why and blocks may be empty. Idle windows are in every trace.

    anchor_ratio: the anchor's latency in this batch over its baseline. voided: blocks and windows measured again.
    build_ns: a provider made an engine of the model, which load_ns does not count; None: it made none, or kept one.
    clock_mode: that was set for the batch.
    """

    spec: CandidateSpec
    is_anchor: bool
    job_id: str
    status: Status
    message: str
    tags: frozenset[str]
    preset: str
    order_seed: int
    runtime: RuntimeUsed | None
    load_ns: int | None
    first_run_ns: int | None
    output_error: float | None
    blocks: tuple[LatencyBlock, ...]
    meter_status: MeterStatus
    meter: MeterDescription | None
    windows: tuple[PowerWindow, ...]
    before: Conditions
    after: Conditions
    peak_rss_bytes: int | None
    operators: tuple[OperatorTime, ...] = ()
    anchor_ratio: float | None = None
    voided: int = 0
    build_ns: int | None = None
    clock_mode: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """stage: build, validate, preflight, cool-down, latency, operators, energy or post.

    round counts from 0. rounds: at least, and from there on at most, for a candidate leaves when it is settled. Of a
    cool-down both are seconds of measurement time.
    """

    stage: str
    candidate_id: str
    round: int
    rounds: int
