"""What a study needs of a device. The fleet's client is one; so is a fake in the tests."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

import numpy as np
from edgepareto.host.config import DeviceConfig
from edgepareto.host.domain import Batch, Deployment, DeviceInfo, DeviceName, ProfileTrace
from edgepareto.host.domain.incident import Incident
from numpy.typing import NDArray

__all__ = ["Connect", "Profiler"]


class Profiler(Protocol):
    """One connected device. One batch, or one model's outputs, at a time; a batch sent again under its request key is
    not measured again."""

    @property
    def info(self) -> DeviceInfo:
        """As the agent told last: after a reboot with another boot id."""
        ...

    @property
    def is_looked_for(self) -> bool:
        """It does not answer any more and `profile` looks for it, which may take minutes. Any thread may ask."""
        ...

    def profile(
        self,
        batch: Batch,
        on_progress: Callable[[str], None],
        on_incident: Callable[[Incident], None] = ...,
    ) -> tuple[ProfileTrace, ...]:
        """The anchor's trace first, then the entries' in order. Raises DeviceLost, also when the block ends.

        on_incident: what befell the board meanwhile and was healed, or was not; called before this returns or raises.
        """
        ...

    def outputs(
        self, model: Path, inputs: Path, deployment: Deployment, on_progress: Callable[[str], None] = ...
    ) -> Mapping[str, NDArray[np.generic]]:
        """By output, row i of what row i of the inputs (.npz, a row as it is fed) gave.

        Raises EvaluationError where the model fails there, WrongProtocol where the agent cannot, DeviceLost.
        """
        ...


class Connect(Protocol):
    """Opens all devices for the length of a block; leaving it ends every `profile` in flight.

    wait_s: how long to stand in line for a board that another host uses. tell: who that is; any thread may call it.
    """

    def __call__(
        self,
        devices: Sequence[DeviceConfig],
        *,
        owner: str,
        state: Path,
        wait_s: float = ...,
        tell: Callable[[str], None] = ...,
    ) -> AbstractContextManager[Mapping[DeviceName, Profiler]]: ...
