"""One window of power samples, idle or busy, with guards so that the meter's averaging sees no edge."""

from __future__ import annotations

import contextlib
import statistics
from collections.abc import Callable
from typing import TypeVar

from edgepareto.agent.clock import Clock
from edgepareto.agent.errors import MeterError, MeterStatus, WorkerError
from edgepareto.agent.power.power_meter import MeterQuality
from edgepareto.agent.profiling.sampler_client import PowerSamples, SamplerClient
from edgepareto.agent.profiling.schedule import Preset
from edgepareto.agent.profiling.trace import PowerWindow
from edgepareto.agent.profiling.worker_client import WorkerClient
from edgepareto.agent.worker.protocol import WarmUp, Window, WindowDone

__all__ = ["IDLE_DRIFT", "busy_window", "idle_drifted", "idle_window", "ranging_window", "twice"]

IDLE_DRIFT = "IDLE_DRIFT"  # dynamic energy may be off: what the board draws at rest changed around a window
INTEGRATED_SHARE = 0.85  # of the time; an INA219 at 8 samples to one of the voltage reaches 0.89
MAXIMUM_IDLE_DRIFT = 0.1  # of what a model draws above idle; the mean of both sides is then off by half of it, 5 %

_Result = TypeVar("_Result")


def idle_window(sampler: SamplerClient, clock: Clock, preset: Preset, *, round: int) -> PowerWindow:
    """The board with every worker blocked on its pipe. Raises MeterError."""
    guard_s = _guard_s(sampler, preset)
    sampler.begin(clock.now_ns())
    clock.sleep(guard_s)
    start_ns = clock.now_ns()
    clock.sleep(preset.idle_s)
    end_ns = clock.now_ns()
    clock.sleep(guard_s)
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
    """At least the preset's seconds, inferences and, of a meter that sees moments only, samples.

    samples_per_s: the meter's rate. Raises MeterError, WorkerError.
    """
    window_s = preset.window_s
    if not _integrates(sampler, samples_per_s):
        window_s = max(window_s, preset.window_samples / samples_per_s)
    guard_s = _guard_s(sampler, preset)
    command = Window(guard_s=guard_s, window_s=window_s, inferences=preset.window_inferences)
    done = _sampled(sampler, clock, lambda: worker.window(command))
    return _window(sampler.end(clock.now_ns()), done, busy=True, round=round)


def ranging_window(sampler: SamplerClient, worker: WorkerClient, clock: Clock, *, seconds: float, runs: int) -> None:
    """Fix the meter's range by what the board draws under this load. Raises MeterError, WorkerError."""
    _sampled(sampler, clock, lambda: worker.warm_up(WarmUp(seconds=seconds, runs=runs)))
    sampler.fix_range(clock.now_ns())


def twice(window: Callable[[], _Result], *, on_retry: Callable[[], None]) -> _Result:
    """A meter's fault gets one retry. Raises the second MeterError."""
    try:
        return window()
    except MeterError:
        on_retry()
        return window()


def idle_drifted(before: PowerWindow, busy: PowerWindow, after: PowerWindow) -> bool:
    """Whether idle power changed by so much around a busy window that its energy above idle is not to be relied on."""
    idle_uw, later_uw = statistics.fmean(before.power_uw), statistics.fmean(after.power_uw)
    dynamic_uw = statistics.fmean(busy.power_uw) - (idle_uw + later_uw) / 2
    return abs(later_uw - idle_uw) > MAXIMUM_IDLE_DRIFT * max(dynamic_uw, 0.0)


def _guard_s(sampler: SamplerClient, preset: Preset) -> float:
    """A meter that averages for longer than the guard would see what was before it."""
    return max(preset.guard_s, sampler.averaging_s)


def _integrates(sampler: SamplerClient, samples_per_s: float) -> bool:
    """Whether all that is drawn is in some sample: of a counter, and of a meter that averages from sample to sample.

    How many samples there are says nothing then, and a slow meter would make windows of minutes.
    """
    counts = sampler.description is not None and sampler.description.quality is MeterQuality.COUNTER
    return counts or sampler.averaging_s * samples_per_s >= INTEGRATED_SHARE


def _sampled(sampler: SamplerClient, clock: Clock, run: Callable[[], _Result]) -> _Result:
    """Begin sampling, then run. Where the worker fails the sampler is made to wait again."""
    sampler.begin(clock.now_ns())
    try:
        return run()
    except WorkerError:
        with contextlib.suppress(MeterError):  # what it saw is of no use
            sampler.end(clock.now_ns())
        raise


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
