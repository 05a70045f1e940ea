"""What runs a model, as the worker sees it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Feed = Mapping[str, NDArray[np.generic]]

__all__ = ["Engine", "EngineMaker", "OperatorCost", "Runtime", "RuntimeOptions", "RuntimeUsed"]

TENSORRT = "TensorrtExecutionProvider"


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeOptions:
    """What the host asked for. threads 0: the device's default. precision: fp32, fp16 or int8: of the model's weights
    and, where the provider chooses it (TensorRT), of its arithmetic.

    engines: where the agent keeps what EngineMaker made of this model before, KIND.SHA256 each; None: nowhere.
    """

    name: str
    threads: int
    provider: str
    precision: str = "fp32"
    engines: Path | None = None

    @property
    def makes_engines(self) -> bool:
        return self.provider == TENSORRT


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """What a provider made of the model on this board. kind: 64 hex digits of all that it depends on beside the model.

    content: of `size_bytes`, in a file without a name that is open as long as its maker lives.
    """

    kind: str
    size_bytes: int
    content: IO[bytes]


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


@runtime_checkable
class EngineMaker(Protocol):
    """A Runtime whose provider may compile the model for the board, which takes minutes, before it can be loaded."""

    def make_engine(self, model: Path, feed: Feed) -> Engine | None:
        """For inputs of the feed's sizes; `load` takes it then. None: a kept one fits, or the provider needs none."""
        ...
