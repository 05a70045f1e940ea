"""What runs a model, as the worker sees it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Feed = Mapping[str, NDArray[np.generic]]

__all__ = ["OperatorCost", "Runtime", "RuntimeOptions", "RuntimeUsed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeOptions:
    """What the host asked for. threads 0: the device's default. precision: fp32, fp16 or int8: of the model's weights
    and, where the provider chooses it (TensorRT), of its arithmetic."""

    name: str
    threads: int
    provider: str
    precision: str = "fp32"


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeUsed:
    """What is really used, asked from the loaded session, with every option that was set."""

    name: str
    version: str
    provider: str
    threads: int
    options: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorCost:
    """One node as the runtime ran it, after its fusions. total_ns: over all timed runs, as if none was disturbed."""

    name: str
    op_type: str
    total_ns: int


class Runtime(Protocol):
    """One loaded model. Not thread-safe. A model that cannot be loaded raises WorkerError with its verdict."""

    def load(self, model: Path) -> RuntimeUsed:
        """Load from a single file (external data is refused as INVALID_MODEL before the runtime sees it)."""
        ...

    def outputs(self, feed: Feed) -> dict[str, NDArray[np.generic]]:
        """One real inference whose outputs are kept, for the comparison with the expected ones."""
        ...

    def run(self, feed: Feed) -> None:
        """One inference. The caller takes the clock before and after it."""
        ...

    def time_operators(self, feeds: Sequence[Feed]) -> tuple[OperatorCost, ...]:
        """One inference per feed after a few to warm up, by the runtime's own profile; in order of execution.

        Apart from `run`, which it leaves as fast as it was.
        """
        ...
