"""What an agent saw, raw: enough to redraw every number without the board. Nanoseconds and microwatts as they came."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from edgepareto.host.domain.candidate import CandidateId
from edgepareto.host.domain.device import DeviceName, Meter

__all__ = [
    "Conditions",
    "LatencyBlock",
    "MeterStatus",
    "OperatorTime",
    "PowerWindow",
    "ProfileTrace",
    "Purpose",
    "RuntimeUsed",
    "Status",
]


class Purpose(str, Enum):
    SEARCH = "search"
    REMEASURE = "remeasure"
    VERIFY = "verify"


class Status(str, Enum):
    """By whose fault it is (docs/measurement.md)."""

    OK = "OK"
    INVALID_MODEL = "INVALID_MODEL"
    UNSUPPORTED_OP = "UNSUPPORTED_OP"
    LOAD_FAILED = "LOAD_FAILED"
    OUTPUT_MISMATCH = "OUTPUT_MISMATCH"
    OOM = "OOM"
    TIMEOUT = "TIMEOUT"
    WORKER_CRASHED = "WORKER_CRASHED"
    THROTTLED = "THROTTLED"
    UNDERVOLTAGE = "UNDERVOLTAGE"
    TOO_HOT = "TOO_HOT"
    CONTENDED = "CONTENDED"
    ANCHOR_DRIFT = "ANCHOR_DRIFT"
    WRONG_PROVIDER = "WRONG_PROVIDER"
    WRONG_CLOCK = "WRONG_CLOCK"
    BOARD_REBOOTED = "BOARD_REBOOTED"
    LEASE_LOST = "LEASE_LOST"
    BUSY = "BUSY"
    AGENT_SHUTDOWN = "AGENT_SHUTDOWN"
    UPLOAD_CORRUPT = "UPLOAD_CORRUPT"

    @property
    def is_permanent(self) -> bool:
        """The candidate's own fault: told to the search as infeasible, never retried."""
        return self in (
            Status.INVALID_MODEL,
            Status.UNSUPPORTED_OP,
            Status.LOAD_FAILED,
            Status.OUTPUT_MISMATCH,
            Status.OOM,
        )


class MeterStatus(str, Enum):
    """Why there is no energy although the device has a meter."""

    OK = "METER_OK"
    ABSENT = "METER_ABSENT"
    IO = "METER_IO"
    RESET = "METER_RESET"
    CLIPPED = "METER_CLIPPED"
    GAP = "METER_GAP"
    STUCK = "METER_STUCK"


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeUsed:
    """`provider` is the one actually used, asked from the session."""

    name: str
    version: str
    provider: str
    threads: int
    options: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencyBlock:
    """One candidate's runs back to back in one round; `position` is its place in the round's random order."""

    round: int
    position: int
    start_ns: int
    run_ns: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerWindow:
    """Power samples between two instants on inference boundaries. timestamps: the end of each conversion."""

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
class Conditions:
    """None: this box does not tell. contention: share of CPU time used by others, 0..1.

    throttle_bits: as get_throttled of a Raspberry Pi: 0 under-voltage, 1 frequency capped, 2 throttled, 3 soft limit,
    now; 16 to 19 the same since boot. power_mode: nvpmodel's on a Jetson. fan_level: cooling state, 0 off.
    time_in_state: of the fastest cores, (Hz, ms since boot) per frequency; empty: not told. clocks_fixed: none scales.
    gpu and memory: a Jetson's.
    """

    temperature_c: float | None = None
    frequency_hz: float | None = None
    governor: str | None = None
    throttle_bits: int | None = None
    contention: float | None = None
    free_memory_bytes: int | None = None
    power_mode: str | None = None
    fan_level: int | None = None
    time_in_state: tuple[tuple[int, int], ...] = ()
    clocks_fixed: bool | None = None
    gpu_frequency_hz: float | None = None
    memory_frequency_hz: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorTime:
    """One node of the model as the runtime ran it, by the runtime's own profile: total_ns over `runs` runs."""

    name: str
    op_type: str
    total_ns: int
    runs: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileTrace:
    """One job: one candidate in one batch on one device. Where status is not OK, `message` says why.

    operators: where they were asked for. anchor_ratio: the anchor's latency in this batch over its baseline on this
    boot. voided: blocks and windows that were void (throttling, a meter's fault) and measured again. protocol: the
    version of the wire and of how it was measured; older traces do not name it, they are of the first. build_ns: a
    provider made an engine of the model on the board, which load_ns does not count. clock_mode: set for the batch.
    """

    candidate: CandidateId
    device: DeviceName
    job_id: str
    purpose: Purpose
    attempt: int
    is_anchor: bool
    model_sha256: str
    status: Status
    message: str
    tags: frozenset[str]
    preset: str
    board_id: str
    boot_id: str
    agent_version: str
    simulated: bool
    order_seed: int
    runtime: RuntimeUsed | None
    load_ns: int | None
    first_run_ns: int | None
    output_error: float | None
    blocks: tuple[LatencyBlock, ...]
    meter_status: MeterStatus
    meter: Meter | None
    windows: tuple[PowerWindow, ...]
    before: Conditions
    after: Conditions
    peak_rss_bytes: int | None
    operators: tuple[OperatorTime, ...] = ()
    anchor_ratio: float | None = None
    voided: int = 0
    protocol: int = 1
    build_ns: int | None = None
    clock_mode: str = ""
