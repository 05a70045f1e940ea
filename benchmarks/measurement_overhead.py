"""What measuring itself does to the number: the agent against a tight loop, and T15, the sampler on or off.

Both steer between the blocks of a real batch: `profile_batch` tells each step before it takes it.
"""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from edgepareto.agent.clock import SystemClock
from edgepareto.agent.errors import MeterError, MeterStatus
from edgepareto.agent.profiling import CandidateTrace, MeterSetting, Preset, Progress, profile_batch
from edgepareto.agent.profiling.sampler_client import SamplerClient
from edgepareto.agent.profiling.worker_client import DEADLINE
from edgepareto.agent.worker import Child, spawn
from measurement_models import ModelFiles, conv_net, request_of, written
from measurement_ranking import SHORT, THIS_MACHINE, session_of, tight_loop
from measurement_verdict import Verdict

__all__ = ["agent_against_tight_loop", "sampler_on_and_off"]

LOOP_BAR, SAMPLER_BAR = 0.02, 0.01
NORMAL_QUANTILE = 1.96  # of the order statistics around a median
SAMPLER = Path(__file__).with_name("measurement_sampler.py")
SAMPLER_MODULE = "edgepareto.agent.power.sampler"
INA219 = replace(THIS_MACHINE, meter=MeterSetting(kind="ina219"))


def agent_against_tight_loop(repeats: int, rounds: int) -> list[Verdict]:
    """Each block of the agent's beside a block of a bare loop over the same model, options and thread."""
    preset = _preset(rounds)
    with TemporaryDirectory(prefix="ep-loop-") as scratch:
        model = _model(Path(scratch))
        ratios = [_agent_over_loop(model, preset, seed) for seed in range(repeats)]
    middle = statistics.median(ratios) - 1
    return [
        Verdict(
            check="agent against a tight loop",
            seen=f"{middle:+.2%} (median of {len(ratios)}; {min(ratios) - 1:+.2%} to {max(ratios) - 1:+.2%})",
            bar=f"within {LOOP_BAR:.0%}",
            passed=abs(middle) <= LOOP_BAR,
        )
    ]


def sampler_on_and_off(repeats: int, rounds: int) -> list[Verdict]:
    """T15. One block of each pair of blocks while the meter is read, pinned as the product pins it."""
    preset = replace(_preset(rounds), energy_rounds=1, window_s=0.5, window_samples=20, window_inferences=1, idle_s=0.2)
    with TemporaryDirectory(prefix="ep-sampler-") as scratch:
        model = _model(Path(scratch))
        ratios = sorted(ratio for seed in range(repeats) for ratio in _on_over_off(model, preset, seed))
    middle = statistics.median(ratios) - 1
    beside = math.floor(len(ratios) / 2 - NORMAL_QUANTILE * math.sqrt(len(ratios)) / 2)
    low, high = ratios[beside] - 1, ratios[-1 - beside] - 1
    return [
        Verdict(
            check="T15 INA219 sampler on against off",
            seen=f"{middle:+.2%} (median of {len(ratios)} pairs of blocks, 95 % interval {low:+.2%} to {high:+.2%})",
            bar=f"within {SAMPLER_BAR:.0%}",
            passed=abs(middle) <= SAMPLER_BAR,
        )
    ]


def _agent_over_loop(model: ModelFiles, preset: Preset, seed: int) -> float:
    session, feed = session_of(model)
    loops: dict[int, float] = {}  # by round; a block that is void is measured again, its loop too

    def on_progress(step: Progress) -> None:
        if step.stage == "latency":
            tight_loop(session, feed, seconds=preset.warm_up_s, runs=preset.warm_up_runs)
            block = tight_loop(session, feed, seconds=preset.block_s, runs=preset.block_runs)
            loops[step.round] = float(np.median(block))

    trace = _measured(model, preset, seed, on_progress)
    return statistics.median(statistics.median(block.run_ns) * 1e-9 / loops[block.round] for block in trace.blocks)


def _on_over_off(model: ModelFiles, preset: Preset, seed: int) -> list[float]:
    """One ratio per pair. The sampler that is switched is a second one, started as the product started its own."""
    commands: list[Sequence[str]] = []

    def spawn_on_a_simulated_bus(argv: Sequence[str]) -> Child:
        if SAMPLER_MODULE in argv:
            place = argv.index(SAMPLER_MODULE)
            argv = [argv[0], str(SAMPLER), *argv[place + 1 :]]
            commands.append(argv)
        return spawn(argv)

    pairs = math.ceil(preset.maximum_rounds / 2)
    draw = random.Random(seed)
    on = [state for _ in range(pairs) for state in draw.sample((True, False), 2)]
    switched: list[SamplerClient] = []
    samples = gaps = 0
    sampling = False

    def end_window() -> None:
        nonlocal samples, gaps, sampling
        if sampling:
            sampling = False
            try:
                samples += len(switched[0].end(SystemClock().now_ns()).timestamp_ns)
            except MeterError:  # others held up its core; it was polling all the same
                gaps += 1

    def on_progress(step: Progress) -> None:
        nonlocal sampling
        end_window()
        if step.stage == "latency" and on[step.round]:
            if not switched:
                switched.append(SamplerClient(commands[0], spawn=spawn, deadline=DEADLINE, cancelled=lambda: False))
                switched[0].wait_until_ready()
            sampling = True
            switched[0].begin(SystemClock().now_ns())

    try:
        trace = _measured(model, preset, seed, on_progress, spawn=spawn_on_a_simulated_bus)
    finally:
        for sampler in switched:
            sampler.kill()
    if not samples:
        raise RuntimeError("the sampler took no sample")
    medians = {block.round: statistics.median(block.run_ns) for block in trace.blocks}
    print(f"T15: {samples} samples beside {len(medians) // 2} of {len(medians)} blocks; in {gaps} others held it up")
    return [
        medians[first] / medians[first + 1] if on[first] else medians[first + 1] / medians[first]
        for first in range(0, preset.maximum_rounds - 1, 2)
    ]


def _measured(
    model: ModelFiles,
    preset: Preset,
    seed: int,
    on_progress: Callable[[Progress], None],
    spawn: Callable[[Sequence[str]], Child] | None = None,
) -> CandidateTrace:
    """A batch of the anchor alone; with `spawn`, on a machine that has an INA219."""
    request = request_of(model, (), preset=preset.name, order_seed=seed, measure_energy=spawn is not None)
    never, presets = (lambda: False), {preset.name: preset}
    if spawn is None:
        traces = profile_batch(request, THIS_MACHINE, on_progress=on_progress, cancelled=never, presets=presets)
    else:
        traces = profile_batch(request, INA219, on_progress=on_progress, cancelled=never, presets=presets, spawn=spawn)
    (trace,) = traces
    meter_works = trace.meter_status in (MeterStatus.OK, MeterStatus.GAP)  # a gap is a matter of this machine's load
    if not trace.blocks or not (spawn is None or meter_works):
        raise RuntimeError(f"{trace.status.value}, meter {trace.meter_status.value}: {trace.message}")
    return trace


def _preset(rounds: int) -> Preset:
    """Many short blocks, so that two neighbours see the same machine."""
    return replace(SHORT, minimum_rounds=rounds, maximum_rounds=rounds)


def _model(folder: Path) -> ModelFiles:
    return written(conv_net(32, size=16, layers=24), "layers24", folder)
