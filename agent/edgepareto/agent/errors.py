"""The verdicts a measurement can end with, and every error the agent raises on purpose.

AgentError
├── ConfigError          agent.toml or a flag: exit code 2
├── BlobError            an upload that does not fit its name or size, or for which there is no room
├── LeaseError           no lease, another owner's, or an expired one
├── Busy                 a batch is running
├── WorkerError          a worker that could not do its work; carries the verdict
└── MeterError           a power meter that cannot be trusted; carries the verdict
"""

from __future__ import annotations

from enum import Enum

__all__ = [
    "AgentError",
    "BlobError",
    "Busy",
    "ConfigError",
    "LeaseError",
    "MeterError",
    "MeterStatus",
    "Status",
    "WorkerError",
]


class Status(str, Enum):
    """By whose fault it is (docs/measurement.md). Names are those of the wire."""

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
    BOARD_REBOOTED = "BOARD_REBOOTED"
    LEASE_LOST = "LEASE_LOST"
    BUSY = "BUSY"
    AGENT_SHUTDOWN = "AGENT_SHUTDOWN"
    UPLOAD_CORRUPT = "UPLOAD_CORRUPT"


class MeterStatus(str, Enum):
    OK = "METER_OK"
    ABSENT = "METER_ABSENT"
    IO = "METER_IO"
    RESET = "METER_RESET"
    CLIPPED = "METER_CLIPPED"
    GAP = "METER_GAP"
    STUCK = "METER_STUCK"


class AgentError(Exception):
    """The root. The message says what, where, the value seen, the value allowed and what to do next, in one line."""


class ConfigError(AgentError, ValueError): ...


class BlobError(AgentError): ...


class LeaseError(AgentError): ...


class Busy(AgentError): ...


class WorkerError(AgentError):
    def __init__(self, status: Status, message: str) -> None:
        super().__init__(message)
        self.status = status


class MeterError(AgentError):
    def __init__(self, status: MeterStatus, message: str) -> None:
        super().__init__(message)
        self.status = status
