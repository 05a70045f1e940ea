"""A board on a virtual clock whose models take exactly as long, and draw as much, as a test says.

Worker and sampler are in this process and speak the real ones' protocol, so that `profile_batch` and all its clients
are the real ones and a batch of minutes takes a second. Throttle bits and temperature are shown below `root` as a
Raspberry Pi shows them.
"""

from __future__ import annotations

import json
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from edgepareto.agent.profiling import (
    PRESETS,
    AnchorBaseline,
    BatchRequest,
    Board,
    CandidateSpec,
    CandidateTrace,
    MeterSetting,
    Progress,
    Purpose,
    profile_batch,
)
from edgepareto.agent.runtime import RuntimeOptions
from edgepareto.agent.runtime.runtime import RuntimeUsed
from edgepareto.agent.worker.protocol import (
    Block,
    BlockDone,
    Check,
    Checked,
    Load,
    Loaded,
    Memory,
    MemoryUsed,
    Ready,
    Reply,
    WarmedUp,
    WarmUp,
    Window,
    WindowDone,
    decode_command,
    encode,
)

BOOT_ID = "boot-1"
SAMPLE_NS = 4_792_000
METER = {"kind": "virtual", "quality": "simulated", "config": 0x19DF}
THROTTLED = "sys/devices/platform/soc/soc:firmware/get_throttled"
TEMPERATURE = "sys/class/thermal/thermal_zone0/temp"
GOVERNOR = "sys/devices/system/cpu/cpufreq/policy0/scaling_governor"


def never(_: int) -> int:
    return 0


@dataclass
class VirtualBoard:
    """latency_s: of a candidate at an instant in ns; the other functions are of the instant alone.
    throttle_bits None: this board does not tell.

    steps: what the batch told. ranged_w: the highest power seen in each ranging window.
    """

    root: Path
    latency_s: Callable[[str, int], float] = lambda candidate, now_ns: 0.005
    throttle_bits: Callable[[int], int | None] = never
    temperature_c: Callable[[int], float] = lambda now_ns: 50.0
    idle_w: Callable[[int], float] = lambda now_ns: 2.5
    busy_w: float = 4.0
    now_ns: int = 0
    steps: list[Progress] = field(default_factory=list)
    ranged_w: list[float] = field(default_factory=list)
    segments: list[tuple[int, float]] = field(default_factory=list)
    _shown: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, text in (
            ("proc/sys/kernel/random/boot_id", BOOT_ID),
            ("proc/device-tree/model", "Raspberry Pi 4 Model B"),
            ("sys/class/thermal/thermal_zone0/type", "cpu-thermal"),
            (GOVERNOR, "performance"),
        ):
            self.show(name, text)
        self.pass_time(0, 0.0)

    def show(self, name: str, text: str) -> None:
        if self._shown.get(name) == text:
            return
        self._shown[name] = text
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def pass_time(self, duration_ns: int, power_w: float) -> None:
        self.now_ns += duration_ns
        self.segments.append((self.now_ns, power_w))
        bits = self.throttle_bits(self.now_ns)
        if bits is not None:
            self.show(THROTTLED, f"{bits:x}")
        self.show(TEMPERATURE, str(round(self.temperature_c(self.now_ns) * 1000)))

    def request(self, *names: str, preset: str = "standard", baseline: AnchorBaseline | None = None) -> BatchRequest:
        """The first name is the anchor's. Energy is not measured."""
        anchor, *candidates = (self._spec(name) for name in names)
        return BatchRequest(
            request_key="batch-1",
            preset=preset,
            order_seed=7,
            anchor=anchor,
            candidates=tuple(candidates),
            measure_energy=False,
            anchor_baseline=baseline,
        )

    def measure(self, request: BatchRequest, *, shared: bool = False) -> tuple[CandidateTrace, ...]:
        board = Board(
            clock=_Clock(self),
            sys_root=self.root,
            meter=MeterSetting(kind="virtual"),
            default_threads=1,
            shared=shared,
            simulation=self.root,
        )
        traces = profile_batch(
            request,
            board,
            on_progress=self.steps.append,
            cancelled=lambda: False,
            presets=PRESETS,
            spawn=self._spawn,  # type: ignore[arg-type]
        )
        return tuple(traces)

    def power_w(self, at_ns: int) -> float:
        return self.segments[min(bisect_left(self.segments, (at_ns, -1.0)), len(self.segments) - 1)][1]

    def _spec(self, name: str) -> CandidateSpec:
        model = self.root / f"{name}.onnx"
        model.write_bytes(b"a model")
        return CandidateSpec(
            candidate_id=name,
            purpose=Purpose.SEARCH,
            attempt=0,
            model_sha256="",
            model=model,
            expected_outputs=self.root / "outputs.npz",
            runtime=RuntimeOptions(name="virtual", threads=1, provider="CPUExecutionProvider"),
            inputs=self.root / "inputs.npz",
            relative_tolerance=1e-3,
        )

    def _spawn(self, argv: Sequence[str]) -> _Worker | _Sampler:
        if "edgepareto.agent.power.sampler" in argv:
            return _Sampler(self)
        return _Worker(self, argv[argv.index("--job") + 1].split("/")[0])


class _Clock:
    def __init__(self, board: VirtualBoard) -> None:
        self._board = board

    def now_ns(self) -> int:
        return self._board.now_ns

    def sleep(self, seconds: float) -> None:
        self._board.pass_time(round(seconds * 1e9), self._board.idle_w(self._board.now_ns))

    def start_batch(self) -> None:
        self._board.now_ns = 0
        self._board.segments.clear()
        self._board.pass_time(0, 0.0)


class _Worker:
    pid = 0

    def __init__(self, board: VirtualBoard, candidate: str) -> None:
        self._board = board
        self._candidate = candidate
        self._replies: list[Reply] = [Ready()]

    def send(self, line: str) -> None:
        self._replies.append(self._answer(line))

    def receive(self, timeout_s: float, cancelled: Callable[[], bool]) -> str:
        return encode(self._replies.pop(0))

    def kill(self) -> None: ...

    def _answer(self, line: str) -> Reply:
        command = decode_command(line)
        if isinstance(command, Load):
            used = RuntimeUsed(name="virtual", version="1", provider="CPUExecutionProvider", threads=1, options={})
            return Loaded(runtime=used, load_ns=0, first_run_ns=np.diff(self._run(0, 1)).item())
        if isinstance(command, Check):
            return Checked(output_error=0.0)
        if isinstance(command, Memory):
            return MemoryUsed(peak_rss_bytes=None, private_bytes=None)
        if isinstance(command, WarmUp):
            return WarmedUp(runs=len(self._run(command.seconds, command.runs)) - 1)
        if isinstance(command, Block):
            stamps = self._run(command.seconds, command.runs)
            return BlockDone(start_ns=stamps[0], run_ns=tuple(np.diff(stamps).tolist()))
        assert isinstance(command, Window)
        self._run(command.guard_s, 1)
        stamps = self._run(command.window_s, command.inferences)
        self._run(command.guard_s, 1)
        return WindowDone(start_ns=stamps[0], end_ns=stamps[-1], inferences=len(stamps) - 1)

    def _run(self, seconds: float, runs: int) -> list[int]:
        board = self._board
        stamps = [board.now_ns]
        while stamps[-1] - stamps[0] < seconds * 1e9 or len(stamps) <= runs:
            board.pass_time(round(board.latency_s(self._candidate, board.now_ns) * 1e9), board.busy_w)
            stamps.append(board.now_ns)
        return stamps


class _Sampler:
    pid = 0

    def __init__(self, board: VirtualBoard) -> None:
        self._board = board
        self._start_ns = 0
        self._answers: list[dict[str, object]] = [{"ready": True, "meter": METER}]

    def send(self, line: str) -> None:
        command = json.loads(line)
        if "start_at_ns" in command:
            self._start_ns = command["start_at_ns"]
            return
        instants = range(self._start_ns + SAMPLE_NS, command["stop_at_ns"] + 1, SAMPLE_NS)
        power_w = [self._board.power_w(at_ns) for at_ns in instants]
        answer: dict[str, object] = {
            "status": "METER_OK",
            "message": "",
            "timestamp_ns": list(instants),
            "power_uw": [round(watts * 1e6) for watts in power_w],
            "bus_uv": [],
            "i2c_errors": 0,
            "dropped": 0,
            "clipped": 0,
        }
        if command.get("fix_range"):
            self._board.ranged_w.append(max(power_w))
            answer["meter"] = {**METER, "config": 0x09DF, "tags": ["RANGED"]}
        self._answers.append(answer)

    def receive(self, timeout_s: float, cancelled: Callable[[], bool]) -> str:
        return json.dumps(self._answers.pop(0))

    def kill(self) -> None: ...
