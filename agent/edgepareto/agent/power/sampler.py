"""The process that samples a meter: `python -m edgepareto.agent.power.sampler --meter KIND ...`.

Lines of JSON. At the start one line says whether the meter answers: {"ready": true, "meter": {...}} or
{"ready": false, "status": ..., "message": ..., "meter": {...}}. Then, for each window, stdin gets {"start_at_ns": t}
and later, once the clock has passed it, {"stop_at_ns": t}; one line answers with the samples in between. With
{"stop_at_ns": t, "fix_range": true} the window was one to choose the meter's range by: the range is fixed for all that
follow and the line carries the new {"meter": {...}} too. The end of stdin ends the process. Instants are those of the
measurement clock. A sample never waits for stdin.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import select
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Protocol, cast

from edgepareto.agent.clock import Clock, SystemClock
from edgepareto.agent.errors import ConfigError, MeterError, MeterStatus
from edgepareto.agent.power.power_meter import MeterSetting, PowerMeter, PowerSample
from edgepareto.agent.power.registry import describe_fault, open_meter

__all__ = ["main"]

_MOST_DROPPED = 0.05  # share of conversions missed from which the window's mean is not trusted any more
_REAL_STEP_S = 0.0005


class _SamplingClock(Clock, Protocol):
    def wait_until(self, at_ns: int) -> None: ...


class _RealClock(SystemClock):
    def wait_until(self, at_ns: int) -> None:
        self.sleep(max(0, at_ns - self.now_ns()) / 1e9)


class _SimulatedClocks(Protocol):
    """edgepareto.agent.simulation.clock, which no room imports."""

    LaggingClock: Callable[[Path, Callable[[int], None]], _SamplingClock]


class _WindowOver(Exception):
    """The simulated board stands still behind the end of the window."""


class _Commands:
    """Start and stop instants from a pipe, taken in without ever holding up a sample."""

    def __init__(self, pipe: int) -> None:
        self._pipe = pipe
        self._poll = select.poll()
        self._poll.register(pipe, select.POLLIN)
        self._text = b""
        self.start_at_ns: int | None = None
        self.stop_at_ns: int | None = None
        self.fix_range = False
        self.closed = False

    def receive(self, timeout_s: float | None) -> None:
        """Take in what has arrived, waiting at most that long for something; None: as long as it takes."""
        if not self._poll.poll(None if timeout_s is None else timeout_s * 1e3):
            return
        data = os.read(self._pipe, 65_536)
        self.closed = not data
        *lines, self._text = (self._text + data).split(b"\n")
        for line in lines:
            command: dict[str, int] = json.loads(line)
            self.start_at_ns = command.get("start_at_ns", self.start_at_ns)
            self.stop_at_ns = command.get("stop_at_ns", self.stop_at_ns)
            self.fix_range = bool(command.get("fix_range", False))

    def while_waiting(self, for_ns: int) -> None:
        """A stop lies in the past of the board, so whoever still waits for the board has reached it."""
        self.receive(_REAL_STEP_S)
        if self.closed or (self.stop_at_ns is not None and for_ns >= self.stop_at_ns):
            raise _WindowOver


@dataclass(slots=True, kw_only=True)
class _Window:
    """What was seen from start_ns on. errors: of the bus so far, at each sample. fault_ns: when the fault showed."""

    start_ns: int
    samples: list[PowerSample] = field(default_factory=list)
    errors: list[int] = field(default_factory=list)
    errors_before: int = 0
    fault: MeterError | None = None
    fault_ns: int = 0

    def kept(self, stop_ns: int) -> list[PowerSample]:
        """Only what lies before stop_ns counts: how far the sampler had run on is an accident of scheduling."""
        return [sample for sample in self.samples if sample.timestamp_ns <= stop_ns]

    def answer(self, stop_ns: int) -> dict[str, object]:
        kept = self.kept(stop_ns)
        dropped = _dropped([self.start_ns, *(sample.timestamp_ns for sample in kept), stop_ns])
        clipped = sum(sample.clipped for sample in kept)
        status, message, errors = MeterStatus.OK, "", self.errors[: len(kept)]
        if self.fault is not None and self.fault_ns <= stop_ns:
            status, message, errors = self.fault.status, str(self.fault), self.errors
        elif clipped:
            status = MeterStatus.CLIPPED
            message = f"{clipped} of {len(kept)} samples are at the end of the meter's range: use a smaller shunt"
        elif not kept or dropped > _MOST_DROPPED * (len(kept) + dropped):
            status = MeterStatus.GAP
            message = (
                f"{dropped} conversions were missed and {len(kept)} read, at most {_MOST_DROPPED:.0%} may be missed: "
                f"leave the sampler a core of its own"
            )
        return {
            "status": status.value,
            "message": message,
            "timestamp_ns": [sample.timestamp_ns for sample in kept],
            "power_uw": [round(sample.power_w * 1e6) for sample in kept],
            "bus_uv": [round(sample.bus_v * 1e6) for sample in kept if sample.bus_v is not None],
            "i2c_errors": max(errors, default=self.errors_before) - self.errors_before,
            "dropped": dropped,
            "clipped": clipped,
        }


def _dropped(instants_ns: Sequence[int]) -> int:
    """Conversions that were never read: what is missing in each interval, counted in the median interval."""
    intervals = [after - before for before, after in pairwise(instants_ns)]
    between_samples = intervals[1:-1]
    if not between_samples:
        return 0
    period_ns = sorted(between_samples)[len(between_samples) // 2]
    return sum(max(0, int(interval / period_ns - 0.5)) for interval in intervals)


def _sample(meter: PowerMeter, clock: _SamplingClock, commands: _Commands, start_ns: int) -> _Window:
    window = _Window(start_ns=start_ns, errors_before=meter.i2c_errors)
    clock.wait_until(start_ns)
    try:
        _read_until_stopped(meter, clock, commands, window)
    except MeterError as fault:
        window.fault, window.fault_ns = fault, clock.now_ns()
        window.errors.append(meter.i2c_errors)
        return window
    try:
        meter.end_window()
    except MeterError as fault:
        # It may have happened at any time in the window, so the window is void from its start.
        window.fault, window.fault_ns = fault, start_ns
    return window


def _read_until_stopped(meter: PowerMeter, clock: Clock, commands: _Commands, window: _Window) -> None:
    try:
        meter.begin_window()
        while not commands.closed and (commands.stop_at_ns is None or clock.now_ns() < commands.stop_at_ns):
            window.samples.append(meter.read())
            window.errors.append(meter.i2c_errors)
            commands.receive(0)
    except _WindowOver:
        pass


def _say(answer: dict[str, object]) -> None:
    sys.stdout.write(json.dumps(answer, separators=(",", ":")) + "\n")
    sys.stdout.flush()


def _open_clock(board: Path | None, while_waiting: Callable[[int], None]) -> _SamplingClock:
    if board is None:
        return _RealClock()
    clocks = cast(_SimulatedClocks, importlib.import_module("edgepareto.agent.simulation.clock"))
    return clocks.LaggingClock(board, while_waiting)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m edgepareto.agent.power.sampler", description=__doc__)
    parser.add_argument("--meter", required=True, help="a registered kind")
    parser.add_argument("--bus", type=int, default=1)
    parser.add_argument("--address", type=lambda text: int(text, 0), default=0x40)
    parser.add_argument("--shunt-ohm", type=float, default=0.1)
    parser.add_argument("--rail", help="of hwmon and jetson, by its label")
    parser.add_argument("--chip", help="of hwmon, by its name")
    parser.add_argument("--sys-root", type=Path, default=Path("/"), help="above sys/ and usr/")
    parser.add_argument("--board", type=Path, help="folder of a simulated board")
    parser.add_argument("--cpu", type=int, help="the core to stay on")
    return parser.parse_args(arguments)


def _serve(meter: PowerMeter, clock: _SamplingClock, commands: _Commands) -> None:
    """One window per start and stop, until stdin ends."""
    while True:
        while commands.start_at_ns is None and not commands.closed:
            commands.receive(None)
        if commands.start_at_ns is None:
            return
        start_ns, commands.start_at_ns = commands.start_at_ns, None
        window = _sample(meter, clock, commands, start_ns)
        while commands.stop_at_ns is None and not commands.closed:
            commands.receive(None)
        if commands.stop_at_ns is None:
            return
        stop_ns, commands.stop_at_ns = commands.stop_at_ns, None
        if commands.fix_range:
            _say(_ranged(meter, clock, window, stop_ns))
        else:
            _say(window.answer(stop_ns))


def _ranged(meter: PowerMeter, clock: _SamplingClock, window: _Window, stop_ns: int) -> dict[str, object]:
    """The window's answer once the range is fixed by it. Clipped samples are no fault if a wider range holds them."""
    answer = window.answer(stop_ns)
    clock.wait_until(stop_ns)  # where the chip's next conversion starts must not depend on how far this process ran on
    if answer["status"] in (MeterStatus.OK.value, MeterStatus.CLIPPED.value):
        try:
            meter.fix_range(window.kept(stop_ns))
            answer |= {"status": MeterStatus.OK.value, "message": ""}
        except MeterError as fault:
            answer |= {"status": fault.status.value, "message": str(fault)}
    return answer | {"meter": asdict(meter.description)}


def _prove(meter: PowerMeter) -> None:
    """One sample, so that a meter that is there and silent is found at the start and not in the first window."""
    meter.begin_window()
    meter.read()
    meter.end_window()


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parse(arguments)
    if options.cpu is not None:
        os.sched_setaffinity(0, {options.cpu})
    commands = _Commands(sys.stdin.fileno())
    clock = _open_clock(options.board, commands.while_waiting)
    setting = MeterSetting(
        kind=options.meter,
        bus=options.bus,
        address=options.address,
        shunt_ohm=options.shunt_ohm,
        rail=options.rail,
        chip=options.chip,
    )
    try:
        meter = open_meter(setting, clock=clock, board=options.board, sys_root=options.sys_root)
        if options.board is None:  # a simulated one gives no sample before its time passes
            _prove(meter)
    except (MeterError, ConfigError) as error:
        status = error.status if isinstance(error, MeterError) else MeterStatus.ABSENT
        fault = describe_fault(setting, simulated=options.board is not None, fault=str(error))
        _say({"ready": False, "status": status.value, "message": str(error), "meter": asdict(fault)})
        return 1
    _say({"ready": True, "meter": asdict(meter.description)})
    _serve(meter, clock, commands)
    return 0


if __name__ == "__main__":
    sys.exit(main())
