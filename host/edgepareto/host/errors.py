"""Every error the host raises on purpose. A leaf exists only where a caller does something different.

EdgeParetoError
├── WrongUse                 the user's words or files do not fit: exit code 2
│   ├── ConfigError          edgepareto.toml or a flag
│   ├── ModelError           a model that is missing, no ONNX, truncated, or has nothing to prune
│   ├── DataError            labelled or calibration data that does not fit the model
│   └── StudyError           a study that exists, belongs to another model, is newer, or is held by another process
└── Failed                   something went wrong on the way: exit code 1
    ├── DeviceError          a board that cannot be used
    │   ├── DeployError      a board that could not be reached by SSH or set up; it is left as it was
    │   ├── Unreachable      no answer at its address
    │   ├── Refused          it answers and lets us not in: certificates, names, clock. Never retried
    │   ├── WrongProtocol    an agent of another protocol version
    │   └── DeviceLost       it answered and then died
    ├── EvaluationError      a candidate could not be pruned, recovered or scored
    └── StoreError           the study could not be written (a full disk)
"""

from __future__ import annotations

__all__ = [
    "ConfigError",
    "DataError",
    "DeployError",
    "DeviceError",
    "DeviceLost",
    "EdgeParetoError",
    "EvaluationError",
    "Failed",
    "ModelError",
    "Refused",
    "StoreError",
    "StudyError",
    "Unfit",
    "Unreachable",
    "WrongProtocol",
    "WrongUse",
]


class EdgeParetoError(Exception):
    """The root. The message says what, where, the value seen, the value allowed and what to do next, in one line."""

    exit_code = 1


class WrongUse(EdgeParetoError):
    exit_code = 2


class ConfigError(WrongUse, ValueError): ...


class ModelError(WrongUse, ValueError): ...


class DataError(WrongUse, ValueError): ...


class StudyError(WrongUse): ...


class Failed(EdgeParetoError): ...


class DeviceError(Failed): ...


class DeployError(DeviceError): ...


class Unreachable(DeviceError, ConnectionError): ...


class Refused(DeviceError, PermissionError): ...


class WrongProtocol(DeviceError): ...


class Unfit(WrongUse, DeviceError):
    """The device is there and lacks what its settings ask for."""


class DeviceLost(DeviceError, ConnectionError): ...


class EvaluationError(Failed): ...


class StoreError(Failed, OSError): ...
