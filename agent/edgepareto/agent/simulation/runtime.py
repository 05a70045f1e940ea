"""The Runtime of a simulated board: real outputs from the runtime itself, time and power from the board's profile."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from edgepareto.agent.errors import Status, WorkerError
from edgepareto.agent.runtime.litert_runtime import LiteRuntime
from edgepareto.agent.runtime.real_runtimes import open_real_runtime
from edgepareto.agent.runtime.runtime import OperatorCost, RuntimeOptions, RuntimeUsed
from edgepareto.agent.simulation.board_file import read_settings
from edgepareto.agent.simulation.clock import BoardTime
from edgepareto.agent.simulation.cost_model import Operator, OpKind
from edgepareto.agent.simulation.lite_operators import list_lite_operators
from edgepareto.agent.simulation.sysfs import read_set_clock
from edgepareto.agent.simulation.worker_faults import end_badly, strikes
from numpy.typing import NDArray

__all__ = ["SimulatedRuntime"]

# Relative standard deviations, assumed: what a quiet board shows between runs of one process and between processes.
_RUN_NOISE = 0.01
_JOB_NOISE = 0.007
_POWER_NOISE = 0.005
# One run in 500 is disturbed and takes 1.2 to 2 times as long.
_OUTLIER_SHARE = 0.002
_OUTLIER_EXTRA = (0.2, 1.0)
_RUNS_PER_DRAW = 1024
# What computes the outputs where the provider is not to be had on the machine that simulates.
_STAND_INS = {"TensorrtExecutionProvider": "CPUExecutionProvider"}


class SimulatedRuntime:
    """See Runtime. `run` advances the board's clock by cost x noise and puts what it drew on the timeline.

    Noise is a function of the board's seed, the job (candidate/purpose/attempt) and how many runs there were since
    loading, and of nothing else: neither study, order nor batch (Philox, random access by block of 1,024 runs). What
    heat and other surroundings add to a run, the clock knows.
    """

    def __init__(self, options: RuntimeOptions, board: Path, job: str) -> None:
        settings = read_settings(board)
        self._profile = settings.profile
        self._faults = settings.faults
        self._candidate = job.partition("/")[0]
        clocks, power = self._profile.clocks, self._profile.power
        costs = self._profile.costs_of(options)
        clock = read_set_clock(board / "sys", self._profile)  # it stays as long as a worker lives
        self._threads = min(options.threads or self._profile.default_threads, clock.cores)
        if costs.gpu_busy_w is None:
            self._costs = costs.table.at_clock(clock.frequency_hz / clocks.full_hz)
            dynamic_w = power.busy_w(self._threads) - power.idle_w
            self._busy_w = power.idle_w + dynamic_w * clocks.dynamic_share(clock.frequency_hz)
        else:
            self._costs = costs.table.at_gpu_clock(clock.gpu_share)
            # docs/board-facts.md 2c: there a frame's energy hardly depends on the clock.
            self._busy_w = power.idle_w + (costs.gpu_busy_w - power.idle_w) * clock.gpu_share
        self._provider = options.provider
        self._key = np.frombuffer(settings.digest("job", job)[:16], dtype=np.uint64)
        self._time = BoardTime(board, settings)
        # One thread: only the outputs come from it, and this machine's cores are not the board's.
        stand_in = _STAND_INS.get(options.provider, options.provider)
        self._real = open_real_runtime(replace(options, threads=1, provider=stand_in))
        self._model: Path | None = None
        self._latency_ns: float | None = None
        self._drawn = 0  # blocks of runs
        self._coming: list[tuple[int, float]] = []  # nanoseconds and watts of the next runs, the nearest last

    def load(self, model: Path) -> RuntimeUsed:
        used = self._real.load(model)
        if self._faults.wrong_provider:
            raise WorkerError(
                Status.WRONG_PROVIDER,
                f"provider {self._provider} was asked for, the simulated fault wrong_provider won",
            )
        self._model = model
        self._latency_ns = None
        self._drawn = 0
        self._coming.clear()
        provider = self._provider if self._provider in _STAND_INS else used.provider
        options = {**used.options, "simulated": self._profile.name}
        return replace(used, provider=provider, threads=self._threads, options=options)

    def outputs(self, feed: Mapping[str, NDArray[np.generic]]) -> dict[str, NDArray[np.generic]]:
        outputs = self._real.outputs(feed)
        if strikes(self._faults.wrong_output, self._candidate):
            return {name: values + np.ones_like(values) for name, values in outputs.items()}
        return outputs

    def run(self, feed: Mapping[str, NDArray[np.generic]]) -> None:
        if not self._coming:
            self._draw(feed)
        duration_ns, power_w = self._coming.pop()
        self._time.advance(duration_ns, power_w, is_run=True)

    def time_operators(self, feeds: Sequence[Mapping[str, NDArray[np.generic]]]) -> tuple[OperatorCost, ...]:
        """The cost model's terms, each with noise of its own. Dispatch is between nodes and in none of them.

        LiteRT and TensorRT refuse, as on a real board.
        """
        assert self._model is not None, "load comes first"
        if isinstance(self._real, LiteRuntime):
            return self._real.time_operators(feeds)
        if self._provider in _STAND_INS:
            raise WorkerError(
                Status.LOAD_FAILED,
                f"{self._provider} does not tell the time of single operators; ask for {_STAND_INS[self._provider]}",
            )
        from edgepareto.agent.simulation.operators import named_operators  # brings ONNX Runtime

        named = named_operators(self._model, feeds[0])
        table, threads = self._costs, self._threads
        nothing = Operator(kind=OpKind.ELEMENTWISE, outputs=1, reduction=0, channels=1, moved=0)
        between_s = table.latency_s((nothing,), threads)
        noise = np.random.Generator(np.random.Philox(key=self._key, counter=[0, 0, 0, 2]))
        log_factors = _RUN_NOISE * noise.standard_normal(len(named))
        return tuple(
            OperatorCost(
                name=name,
                op_type=op_type,
                total_ns=round(
                    (table.latency_s((operator,), threads) - between_s) * 1e9 * len(feeds) * float(np.exp(log_factor))
                ),
            )
            for (name, op_type, operator), log_factor in zip(named, log_factors, strict=True)
        )

    def _draw(self, feed: Mapping[str, NDArray[np.generic]]) -> None:
        if self._latency_ns is None:
            end_badly(self._faults, self._candidate)
            self._latency_ns = self._cost_ns(feed)
        job = np.random.Generator(np.random.Philox(key=self._key, counter=[0, 0, 0, 1]))
        runs = np.random.Generator(np.random.Philox(key=self._key, counter=[0, 0, self._drawn, 0]))
        run_noise = _RUN_NOISE * self._faults.noise
        log_factor = _JOB_NOISE * job.standard_normal() + run_noise * runs.standard_normal(_RUNS_PER_DRAW)
        extra = np.where(runs.random(_RUNS_PER_DRAW) < _OUTLIER_SHARE, runs.uniform(*_OUTLIER_EXTRA, _RUNS_PER_DRAW), 0)
        run_ns = np.rint(self._latency_ns * np.exp(log_factor) * (1 + extra)).astype(np.int64)
        run_w = self._busy_w * (1 + _POWER_NOISE * runs.standard_normal(_RUNS_PER_DRAW))
        self._coming = list(zip(run_ns.tolist(), run_w.tolist(), strict=True))[::-1]
        self._drawn += 1

    def _cost_ns(self, feed: Mapping[str, NDArray[np.generic]]) -> float:
        assert self._model is not None, "load comes first"
        self._real.run(feed)  # with its verdict where the model does not run
        return self._costs.latency_s(self._operators(self._model, feed), self._threads) * 1e9

    def _operators(self, model: Path, feed: Mapping[str, NDArray[np.generic]]) -> tuple[Operator, ...]:
        if isinstance(self._real, LiteRuntime):
            return list_lite_operators(self._real.interpreter)
        from edgepareto.agent.simulation.operators import list_operators  # brings ONNX Runtime

        return list_operators(model, feed)
