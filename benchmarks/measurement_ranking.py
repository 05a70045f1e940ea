"""T17: can ten models a few percent apart be ranked on this machine, and by which number?

Several jobs of the same ten models, each with workers of its own; between two jobs every model is also timed the way
the field does it: the mean of 50 runs back to back. Kendall's tau of two jobs counts only pairs of models that really
differ, by at least 3 % in the reference (the floor over 30 blocks).
"""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnxruntime
from edgepareto.agent.clock import SystemClock
from edgepareto.agent.profiling import PRESETS, Board, CandidateTrace, Preset, profile_batch
from measurement_models import ModelFiles, conv_net, request_of, written
from measurement_verdict import Verdict, compared
from numpy.typing import NDArray

__all__ = ["THIS_MACHINE", "ranking", "session_of", "tight_loop"]

Array = NDArray[np.float64]

MODELS = 10
SHALLOWEST = 20  # layers; each more costs 5 to 3.4 %
THIS_MACHINE = Board(clock=SystemClock(), sys_root=Path("/"), meter=None, default_threads=1, shared=True)
FLOOR_BLOCKS, FLOOR_QUANTILE = 5, 0.25  # docs/measurement.md, "floor"
REFERENCE_JOBS = 6  # of 5 blocks
DIFFERENT = 0.03
MEDIAN_BAR, FLOOR_BAR = 0.80, 0.95  # of a shared machine
BACK_TO_BACK = 50
# As many blocks as `standard` has at least, shorter ones: ten models, ten times, in a few minutes.
SHORT = Preset(
    name="short",
    minimum_rounds=5,
    maximum_rounds=5,
    block_s=0.12,
    block_runs=10,
    energy_rounds=0,
    window_s=0.0,
    window_samples=0,
    window_inferences=0,
    idle_s=0.0,
    warm_up_s=0.08,
    look_s=0.1,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Round:
    """Seconds per model, in their order. runs: the job's blocks, each (runs,), for the reference."""

    median: Array
    floor: Array
    mean: Array
    blocks: list[list[Array]]


def ranking(jobs: int, *, preset: str | None = None) -> list[Verdict]:
    """jobs: one tau for each but the first. preset: one of the product's; None: a shorter one of the same kind."""
    chosen = SHORT if preset is None else PRESETS[preset]
    with TemporaryDirectory(prefix="ep-ranking-") as scratch:
        folder = Path(scratch)
        models = [
            written(conv_net(32, size=16, layers=SHALLOWEST + i), f"layers{SHALLOWEST + i}", folder)
            for i in range(MODELS)
        ]
        rounds = [_round(models, chosen, seed) for seed in range(jobs)]
    step = len(rounds) / min(REFERENCE_JOBS, len(rounds))
    spread = [rounds[int(i * step)] for i in range(min(REFERENCE_JOBS, len(rounds)))]
    reference = np.array([_floor([b for r in spread for b in r.blocks[model]]) for model in range(MODELS)])
    pairs = [
        (i, j) for i, j in itertools.combinations(range(MODELS), 2) if abs(reference[i] / reference[j] - 1) >= DIFFERENT
    ]
    steps = np.diff(reference) / reference[:-1]
    print(
        f"T17: {len(pairs)} of 45 pairs differ by 3 %; steps of {steps.min():.1%} to {steps.max():.1%}, {chosen.name}"
    )
    taus = {
        way: _taus(rounds, pairs, lambda r, way=way: getattr(r, way))  # type: ignore[misc]
        for way in ("median", "floor", "mean")
    }
    return [
        _verdict("T17 tau, median of block medians", taus["median"], MEDIAN_BAR),
        _verdict("T17 tau, floor", taus["floor"], FLOOR_BAR),
        compared(f"T17 tau, mean of {BACK_TO_BACK} runs back to back", _told(taus["mean"])),
    ]


def _round(models: Sequence[ModelFiles], preset: Preset, seed: int) -> _Round:
    mean = np.array([_back_to_back(model) for model in models])
    anchor, others = models[-1], models[:-1]
    traces: dict[str, CandidateTrace] = {}
    for group in (others[:5], others[5:]):
        request = request_of(anchor, group, preset=preset.name, order_seed=seed)
        for trace in profile_batch(
            request, THIS_MACHINE, on_progress=lambda step: None, cancelled=lambda: False, presets={preset.name: preset}
        ):
            if not trace.blocks:
                raise RuntimeError(f"{trace.spec.candidate_id}: {trace.status.value}: {trace.message}")
            traces.setdefault(trace.spec.candidate_id, trace)
    blocks = [[np.asarray(b.run_ns) * 1e-9 for b in traces[model.name].blocks] for model in models]
    return _Round(
        median=np.array([statistics.median(map(np.median, of_model)) for of_model in blocks]),
        floor=np.array([_floor(of_model[:FLOOR_BLOCKS]) for of_model in blocks]),
        mean=mean,
        blocks=blocks,
    )


def session_of(model: ModelFiles) -> tuple[onnxruntime.InferenceSession, dict[str, NDArray[np.generic]]]:
    """One thread that does not spin, as the product opens it, and the first row of the sample inputs."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.set_denormal_as_zero", "1")
    session = onnxruntime.InferenceSession(str(model.model), options, providers=["CPUExecutionProvider"])
    with np.load(model.inputs) as inputs:
        return session, {name: inputs[name][0] for name in inputs.files}


def tight_loop(
    session: onnxruntime.InferenceSession, feed: dict[str, NDArray[np.generic]], *, seconds: float, runs: int
) -> Array:
    """Seconds of each run, for at least that long and that many runs."""
    stamps = [time.perf_counter()]
    while stamps[-1] - stamps[0] < seconds or len(stamps) <= runs:
        session.run(None, feed)
        stamps.append(time.perf_counter())
    return np.diff(stamps)


def _back_to_back(model: ModelFiles) -> float:
    session, feed = session_of(model)
    tight_loop(session, feed, seconds=0, runs=5)
    return float(tight_loop(session, feed, seconds=0, runs=BACK_TO_BACK).mean())


def _floor(blocks: Sequence[Array]) -> float:
    return float(np.quantile(np.concatenate(blocks), FLOOR_QUANTILE))


def _taus(
    rounds: Sequence[_Round], pairs: Sequence[tuple[int, int]], seconds: Callable[[_Round], Array]
) -> list[float]:
    """Of each job and the next; 1 the same order in every pair, 0 none."""
    return [
        float(np.mean([np.sign((a[i] - a[j]) * (b[i] - b[j])) for i, j in pairs]))
        for a, b in itertools.pairwise(map(seconds, rounds))
    ]


def _verdict(check: str, taus: Sequence[float], bar: float) -> Verdict:
    passed = statistics.median(taus) >= bar
    return Verdict(check=check, seen=_told(taus), bar=f">= {bar:.2f}", passed=passed)


def _told(taus: Sequence[float]) -> str:
    return f"{statistics.median(taus):.2f} (median of {len(taus)}; {min(taus):.2f} to {max(taus):.2f})"
