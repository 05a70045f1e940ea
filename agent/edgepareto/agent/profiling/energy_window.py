"""One window of power samples, idle or busy, with guards so that the meter's averaging sees no edge."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from edgepareto.agent.clock import Clock
from edgepareto.agent.errors import MeterError, MeterStatus, WorkerError
from edgepareto.agent.profiling.sampler_client import PowerSamples, SamplerClient
from edgepareto.agent.profiling.schedule import Preset
from edgepareto.agent.profiling.trace import PowerWindow
from edgepareto.agent.profiling.worker_client import WorkerClient
from edgepareto.agent.worker.protocol import Window, WindowDone

__all__ = ["busy_window", "idle_window", "twice"]


def idle_window(sampler: SamplerClient, clock: Clock, preset: Preset, *, round: int) -> PowerWindow:
    """The board with every worker blocked on its pipe. Raises MeterError."""
    sampler.begin(clock.now_ns())
    clock.sleep(preset.guard_s)
    start_ns = clock.now_ns()
    clock.sleep(preset.idle_s)
    end_ns = clock.now_ns()
    clock.sleep(preset.guard_s)
    samples = sampler.end(clock.now_ns())
    done = WindowDone(start_ns=start_ns, end_ns=end_ns, inferences=0)
    return _window(samples, done, busy=False, round=round)


def busy_window(
    sampler: SamplerClient,
    worker: WorkerClient,
    clock: Clock,
    preset: Preset,
    *,
    round: int,
    samples_per_s: float,
) -> PowerWindow:
    """At least the preset's seconds, inferences and, at the meter's rate, samples. Raises MeterError, WorkerError."""
    window_s = max(preset.window_s, preset.window_samples / samples_per_s)
    sampler.begin(clock.now_ns())
    try:
        done = worker.window(Window(guard_s=preset.guard_s, window_s=window_s, inferences=preset.window_inferences))
    except WorkerError:
        with contextlib.suppress(MeterError):  # the sampler must wait again; what it saw is of no use
            sampler.end(clock.now_ns())
        raise
    return _window(sampler.end(clock.now_ns()), done, busy=True, round=round)


def twice(window: Callable[[], PowerWindow]) -> PowerWindow:
    """A meter's fault gets one retry. Raises the second MeterError."""
    try:
        return window()
    except MeterError:
        return window()


def _window(samples: PowerSamples, done: WindowDone, *, busy: bool, round: int) -> PowerWindow:
    inside = [i for i, at_ns in enumerate(samples.timestamp_ns) if done.start_ns < at_ns <= done.end_ns]
    if not inside:
        seconds = (done.end_ns - done.start_ns) * 1e-9
        raise MeterError(MeterStatus.GAP, f"no power sample in a window of {seconds:.2f} s; the meter is too slow")
    return PowerWindow(
        busy=busy,
        round=round,
        start_ns=done.start_ns,
        end_ns=done.end_ns,
        inferences=done.inferences,
        timestamp_ns=tuple(samples.timestamp_ns[i] for i in inside),
        power_uw=tuple(samples.power_uw[i] for i in inside),
        bus_uv=tuple(samples.bus_uv[i] for i in inside) if samples.bus_uv else (),
        i2c_errors=samples.i2c_errors,
        dropped=samples.dropped,
        clipped=samples.clipped,
    )
