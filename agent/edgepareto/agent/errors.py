"""The verdicts a measurement can end with, and every error the agent raises on purpose.

AgentError
├── ConfigError          agent.toml or a flag: exit code 2
├── ProtocolMismatch     a host that speaks another version of the wire contract
├── RequestError         a request that does not make sense
├── BlobError            a blob that cannot be kept or found
│   ├── UploadCorrupt    an upload that does not fit its name or size
│   ├── NoRoom           an upload for which there is no room
│   └── MissingBlob      a blob that was never sent, or was evicted: to be sent again
├── UnknownResult        no finished batch under this request key
├── NotAHost             a certificate that is accepted and yet no host's
├── UploadStalled        an upload whose bytes do not come, or come too slowly
├── LeaseError           no lease, another owner's, or an expired one
├── Busy                 a batch is running
├── Shutdown             the agent is ending
├── ClockError           clocks that the board, or what sets them for the agent, refuses
├── WorkerError          a worker that could not do its work; carries the verdict
└── MeterError           a power meter that cannot be trusted; carries the verdict
"""

from __future__ import annotations

from enum import Enum

__all__ = [
    "AgentError",
    "BlobError",
    "Busy",
    "ClockError",
    "ConfigError",
    "LeaseError",
    "MeterError",
    "MeterStatus",
    "MissingBlob",
    "NoRoom",
    "NotAHost",
    "ProtocolMismatch",
    "RequestError",
    "Shutdown",
    "Status",
    "UnknownResult",
    "UploadCorrupt",
    "UploadStalled",
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
    WRONG_CLOCK = "WRONG_CLOCK"
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


class ProtocolMismatch(AgentError): ...


class RequestError(AgentError, ValueError): ...


class BlobError(AgentError): ...


class UploadCorrupt(BlobError): ...


class NoRoom(BlobError): ...


class MissingBlob(BlobError): ...


class UnknownResult(AgentError): ...


class NotAHost(AgentError): ...


class UploadStalled(AgentError): ...


class LeaseError(AgentError): ...


class Busy(AgentError): ...


class Shutdown(AgentError): ...


class ClockError(AgentError): ...


class WorkerError(AgentError):
    def __init__(self, status: Status, message: str) -> None:
        super().__init__(message)
        self.status = status


class MeterError(AgentError):
    def __init__(self, status: MeterStatus, message: str) -> None:
        super().__init__(message)
        self.status = status
