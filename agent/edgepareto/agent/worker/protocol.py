"""What agent and worker say to each other: one JSON object per line, typed on both ends.

The worker ran an unknown model and may be broken, so what it says is checked like any outside input.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import TypeVar

from edgepareto.agent.errors import Status
from edgepareto.agent.runtime.runtime import OperatorCost, RuntimeUsed
from edgepareto.agent.worker.json_fields import JsonFields, MalformedMessage

__all__ = [
    "Block",
    "BlockDone",
    "Check",
    "Checked",
    "Command",
    "EngineMade",
    "EnginePart",
    "Failed",
    "Load",
    "Loaded",
    "MakeEngine",
    "Memory",
    "MemoryUsed",
    "OperatorsTimed",
    "OutputPiece",
    "Outputs",
    "OutputsComputed",
    "PackedOutputs",
    "ReadEngine",
    "Ready",
    "Reply",
    "TimeOperators",
    "WarmUp",
    "WarmedUp",
    "Window",
    "WindowDone",
    "decode_command",
    "decode_reply",
    "encode",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class MakeEngine:
    """Before Load, where the provider makes an engine of a model: try the one that is kept, or make one."""

    model: str
    inputs: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadEngine:
    """The next bytes of the engine that was made, from `offset` on."""

    offset: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """Load the model, read the sample inputs and run once."""

    model: str
    inputs: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """Compare the outputs on every sample row with the expected ones."""

    expected: str
    relative_tolerance: float


@dataclass(frozen=True, slots=True, kw_only=True)
class WarmUp:
    seconds: float
    runs: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Run back to back for at least `seconds` and at least `runs` runs, each stamped."""

    seconds: float
    runs: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Run without a pause: a guard, then at least `window_s` and `inferences`, then a guard."""

    guard_s: float
    window_s: float
    inferences: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeOperators:
    """Run that often in a session of its own which the runtime profiles."""

    runs: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Outputs:
    """Compute the outputs of so many sample rows from this one on, fewer at the end, and keep them."""

    first: int
    rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PackedOutputs:
    """Bytes of the .npz of all kept outputs, at most so many from this one on; with the first, nothing is kept more."""

    start: int
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """How much memory does the worker use?"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """The libraries are imported; nothing was loaded yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineMade:
    """kind: see Engine. build_ns None: a kept one fits, or none is needed, and there is nothing to read."""

    kind: str = ""
    size_bytes: int = 0
    build_ns: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EnginePart:
    base64: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    runtime: RuntimeUsed
    load_ns: int
    first_run_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """output_error: max |seen - expected| / max |expected|, over all rows of the worst output."""

    output_error: float


@dataclass(frozen=True, slots=True, kw_only=True)
class WarmedUp:
    runs: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockDone:
    start_ns: int
    run_ns: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowDone:
    """The window without its guards; both edges on inference boundaries."""

    start_ns: int
    end_ns: int
    inferences: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorsTimed:
    runs: int
    operators: tuple[OperatorCost, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputsComputed:
    """rows_left: behind them."""

    rows: int
    rows_left: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputPiece:
    """left_bytes: behind it."""

    base64: str
    left_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryUsed:
    """peak_rss_bytes since exec; private_bytes: what would be free if the worker ended. None: /proc does not tell."""

    peak_rss_bytes: int | None
    private_bytes: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    status: Status
    message: str


Command = (
    MakeEngine | ReadEngine | Load | Check | WarmUp | Block | Window | TimeOperators | Outputs | PackedOutputs | Memory
)
Reply = (
    Ready | EngineMade | EnginePart | Loaded | Checked | WarmedUp | BlockDone | WindowDone | OperatorsTimed
    | OutputsComputed | OutputPiece | MemoryUsed | Failed
)  # fmt: skip
_Message = TypeVar("_Message", bound=Command | Reply)


def encode(message: Command | Reply) -> str:
    """One line, without its end."""
    return json.dumps({"is": type(message).__name__, **asdict(message)})


def decode_command(line: str) -> Command:
    """Raises MalformedMessage."""
    return _decode(line, _COMMANDS)


def decode_reply(line: str) -> Reply:
    """Raises MalformedMessage."""
    return _decode(line, _REPLIES)


def _decode(line: str, kinds: Mapping[str, Callable[[JsonFields], _Message]]) -> _Message:
    fields = JsonFields.parse(line)
    kind = fields.text("is")
    if kind not in kinds:
        raise MalformedMessage(f"{kind!r:.80} is not one of {', '.join(kinds)}")
    return kinds[kind](fields)


def _runtime_used(f: JsonFields) -> RuntimeUsed:
    return RuntimeUsed(
        name=f.text("name"),
        version=f.text("version"),
        provider=f.text("provider"),
        threads=f.natural("threads"),
        options=f.texts("options"),
    )


_COMMANDS: dict[str, Callable[[JsonFields], Command]] = {
    "MakeEngine": lambda f: MakeEngine(model=f.text("model"), inputs=f.text("inputs")),
    "ReadEngine": lambda f: ReadEngine(offset=f.natural("offset")),
    "Load": lambda f: Load(model=f.text("model"), inputs=f.text("inputs")),
    "Check": lambda f: Check(expected=f.text("expected"), relative_tolerance=f.number("relative_tolerance")),
    "WarmUp": lambda f: WarmUp(seconds=f.number("seconds"), runs=f.natural("runs")),
    "Block": lambda f: Block(seconds=f.number("seconds"), runs=f.natural("runs")),
    "Window": lambda f: Window(
        guard_s=f.number("guard_s"), window_s=f.number("window_s"), inferences=f.natural("inferences")
    ),
    "TimeOperators": lambda f: TimeOperators(runs=f.natural("runs")),
    "Outputs": lambda f: Outputs(first=f.natural("first"), rows=f.natural("rows")),
    "PackedOutputs": lambda f: PackedOutputs(start=f.natural("start"), size_bytes=f.natural("size_bytes")),
    "Memory": lambda f: Memory(),
}
_REPLIES: dict[str, Callable[[JsonFields], Reply]] = {
    "Ready": lambda f: Ready(),
    "EngineMade": lambda f: EngineMade(
        kind=f.text("kind"), size_bytes=f.natural("size_bytes"), build_ns=f.optional_natural("build_ns")
    ),
    "EnginePart": lambda f: EnginePart(base64=f.text("base64")),
    "Loaded": lambda f: Loaded(
        runtime=_runtime_used(f.fields("runtime")), load_ns=f.natural("load_ns"), first_run_ns=f.natural("first_run_ns")
    ),
    "Checked": lambda f: Checked(output_error=f.number("output_error")),
    "WarmedUp": lambda f: WarmedUp(runs=f.natural("runs")),
    "BlockDone": lambda f: BlockDone(start_ns=f.natural("start_ns"), run_ns=f.naturals("run_ns")),
    "WindowDone": lambda f: WindowDone(
        start_ns=f.natural("start_ns"), end_ns=f.natural("end_ns"), inferences=f.natural("inferences")
    ),
    "OperatorsTimed": lambda f: OperatorsTimed(
        runs=f.natural("runs"),
        operators=tuple(
            OperatorCost(name=o.text("name"), op_type=o.text("op_type"), total_ns=o.natural("total_ns"))
            for o in f.objects("operators")
        ),
    ),
    "OutputsComputed": lambda f: OutputsComputed(rows=f.natural("rows"), rows_left=f.natural("rows_left")),
    "OutputPiece": lambda f: OutputPiece(base64=f.text("base64"), left_bytes=f.natural("left_bytes")),
    "MemoryUsed": lambda f: MemoryUsed(
        peak_rss_bytes=f.optional_natural("peak_rss_bytes"), private_bytes=f.optional_natural("private_bytes")
    ),
    "Failed": lambda f: Failed(status=f.member("status", Status), message=f.text("message")),
}
