"""The measurement of one batch, from starting the workers to the traces (docs/measurement.md, Protocol).

One process works at a time: the agent asks, one worker or the sampler answers, all others are blocked on their pipes.
Only the start of the processes is concurrent.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice

from edgepareto.agent.conditions.linux import read_conditions
from edgepareto.agent.errors import MeterError, MeterStatus, Status
from edgepareto.agent.profiling.board import Board
from edgepareto.agent.profiling.energy_window import busy_window, idle_window, twice
from edgepareto.agent.profiling.job import Job
from edgepareto.agent.profiling.preflight import (
    ContentionGauge,
    Judgement,
    fitting,
    judge,
    judge_change,
    look_around,
    too_large,
)
from edgepareto.agent.profiling.sampler_client import SamplerClient, sampler_command
from edgepareto.agent.profiling.schedule import PRESETS, Preset, anchored_orders, preset_named, shuffled_orders
from edgepareto.agent.profiling.stop_rule import latency_rounds
from edgepareto.agent.profiling.trace import BatchRequest, CandidateTrace, PowerWindow, Progress
from edgepareto.agent.profiling.worker_client import DEADLINE, Deadline, WorkerClient, worker_command
from edgepareto.agent.worker.spawner import Cancelled, Spawn, spawn

__all__ = ["profile_batch"]

ENERGY_SHARED_CORES = "ENERGY_SHARED_CORES"  # no core was left for the sampler alone
BATCH_LOWERED = "BATCH_LOWERED"  # not all candidates fitted in memory at once


def profile_batch(
    request: BatchRequest,
    board: Board,
    *,
    on_progress: Callable[[Progress], None],
    cancelled: Callable[[], bool],
    presets: Mapping[str, Preset] = PRESETS,
    deadline: Deadline = DEADLINE,
    spawn: Spawn = spawn,
) -> Iterator[CandidateTrace]:
    """Measure a batch: its traces, the anchor's first, then in request order. All come at the end, being interleaved.

    A candidate that fails gives a trace with its status and the others go on. Where the anchor fails, nothing vouches
    for the board, so every other candidate is void: ANCHOR_DRIFT with the anchor's verdict in its message. A meter's
    fault costs the energy alone: meter_status says which, and METER_OK without busy windows means not asked for.
    Cancelled, it ends within a fraction of a second (a clock's sleep runs out first) and gives no trace.
    No process that it started outlives it. Raises RequestError for an unknown preset.
    """
    batch = _Batch(request, board, preset_named(request.preset, presets), on_progress, cancelled, deadline, spawn)
    try:
        traces = batch.measure()
    except Cancelled:
        return
    finally:
        batch.end()
    yield from traces


class _Batch:
    """The steps of profile_batch. Each passes over a job that has failed, so a failure leaves the sequence as it is."""

    def __init__(
        self,
        request: BatchRequest,
        board: Board,
        preset: Preset,
        on_progress: Callable[[Progress], None],
        cancelled: Callable[[], bool],
        deadline: Deadline,
        spawn: Spawn,
    ) -> None:
        self._request = request
        self._board = board
        self._preset = preset
        self._on_progress = on_progress
        self._cancelled = cancelled
        self._deadline = deadline
        self._spawn = spawn
        self._runtime = replace(request.runtime, threads=request.runtime.threads or board.default_threads)
        self._jobs = [Job(spec=spec, index=i) for i, spec in enumerate((request.anchor, *request.candidates))]
        self._anchor = self._jobs[0]
        self._sampler: SamplerClient | None = None
        self._cores = self._share_out_cores()

    def measure(self) -> tuple[CandidateTrace, ...]:
        self._board.clock.start_batch()
        free_bytes = read_conditions(self._board.sys_root).free_memory_bytes
        self._start_sampler()
        group, waiting = self._open(self._jobs[1:], free_bytes)
        self._progress("preflight", self._anchor)
        before = look_around(self._board, seconds=self._preset.look_s)
        self._obey(judge(before, when="before the batch", shared=self._board.shared))
        contention = self._measure_beside_the_anchor(group, part=0)
        crowded = self._crowded_out(group)
        part = 0
        while waiting or crowded:
            group, waiting = self._open(waiting or [crowded.pop(0)], free_bytes)
            if any(job.is_measurable for job in group) or not self._anchor.is_measurable:
                part += 1
                self._tag(BATCH_LOWERED)
                contention = max(contention, self._measure_beside_the_anchor(group, part=part), key=lambda c: c or 0.0)
            crowded += self._crowded_out(group)
        self._progress("post", self._anchor)
        after = read_conditions(self._board.sys_root, contention=contention)
        self._obey(judge(after, when="while the batch was timed", shared=self._board.shared))
        if self._board.simulation is None:
            self._obey(judge_change(before, after, self._anchor.blocks, shared=self._board.shared))
        self._time_operators([self._anchor])
        self._close([self._anchor])
        meter = self._sampler.description if self._sampler else None
        return tuple(job.trace(self._request, meter=meter, before=before, after=after) for job in self._jobs)

    def end(self) -> None:
        for job in self._jobs:
            job.stop()
        if self._sampler is not None:
            self._sampler.kill()

    def _open(self, jobs: Sequence[Job], free_bytes: int | None) -> tuple[list[Job], list[Job]]:
        """Start and validate workers; (the jobs that stay beside the anchor, those that must wait for memory).

        Where memory counts, the anchor tells how many may start: a candidate is the same model with less in it. Each
        is then loaded by itself and stays if what it really takes still fits, so that no worker is loaded in vain.
        """
        self._refuse_too_large((self._anchor, *jobs), free_bytes)
        if self._board.simulation is not None or free_bytes is None:
            self._start([self._anchor, *jobs])  # what a simulated board's workers use is this machine's memory
            for job in (self._anchor, *jobs):
                self._load(job)
            return list(jobs), []
        self._start([self._anchor])
        self._load(self._anchor)
        if not self._anchor.is_measurable:
            return list(jobs), []
        sizes = [self._anchor.memory().private_bytes or 0]
        likely = jobs[: fitting(sizes * (1 + len(jobs)), free_bytes) - 1]
        self._start(likely)
        for place, job in enumerate(likely):
            self._load(job)
            if job.is_measurable:
                sizes.append(job.memory().private_bytes or 0)
            if fitting(sizes, free_bytes) < len(sizes):
                for late in likely[place:]:
                    late.renew()
                return list(jobs[:place]), list(jobs[place:])
        return list(likely), list(jobs[len(likely) :])

    def _refuse_too_large(self, jobs: Sequence[Job], free_bytes: int | None) -> None:
        for job in jobs:
            message = too_large(job.spec.model.stat().st_size, free_bytes)
            if message is not None and job.status is Status.OK and job.worker is None:
                job.end(Status.OOM, message)

    def _start(self, jobs: Sequence[Job]) -> None:
        """All at the same time; those that run already or have failed are passed over."""
        fresh = [job for job in jobs if job.status is Status.OK and job.worker is None]
        for job in fresh:
            job.worker = self._start_worker(job)
        for job in fresh:
            job.wait_until_ready()
        self._wait_for_the_sampler()

    def _load(self, job: Job) -> None:
        if job.is_measurable and job.runtime is None:
            self._progress("validate", job)
            job.validate(self._request, pinned=self._cores.described)

    def _crowded_out(self, group: Sequence[Job]) -> list[Job]:
        """Those that ran out of memory beside others, as if new: only alone beside the anchor is it their own fault."""
        if self._board.simulation is not None or len(group) < 2:
            return []
        crowded = [job for job in group if job.status is Status.OOM]
        for job in crowded:
            job.renew()
        return crowded

    def _measure_beside_the_anchor(self, group: Sequence[Job], *, part: int) -> float | None:
        """All rounds of a group that is loaded at once. Returns the contention while it was timed."""
        gauge = ContentionGauge(self._board.sys_root, [job.worker.pid for job in self._jobs if job.worker])
        if self._anchor.is_measurable:
            self._latency_rounds(group, first_round=part * latency_rounds(self._preset))
        contention = gauge.read()
        if self._anchor.is_measurable:
            self._energy_rounds(group, first_round=part * self._preset.energy_rounds)
        else:
            verdict = f"{self._anchor.spec.candidate_id} ended with {self._anchor.status.value}: {self._anchor.message}"
            self._void(group, Status.ANCHOR_DRIFT, f"not measured, because the batch's anchor {verdict}")
        self._time_operators(group)
        self._close(group)
        return contention

    def _latency_rounds(self, group: Sequence[Job], *, first_round: int) -> None:
        rounds = latency_rounds(self._preset)
        orders = anchored_orders(self._anchor, group, self._request.order_seed)
        for round, order in enumerate(islice(orders, rounds)):
            for position, job in enumerate(order):
                self._progress("latency", job, round, rounds)
                job.time_block(self._preset, round=first_round + round, position=position)

    def _energy_rounds(self, group: Sequence[Job], *, first_round: int) -> None:
        jobs = (self._anchor, *group)
        if self._sampler is None or all(job.meter_status is not MeterStatus.OK for job in jobs):
            return
        rounds = self._preset.energy_rounds
        try:
            idle = self._idle_window(self._sampler, jobs, first_round)
            for round, order in enumerate(islice(shuffled_orders(jobs, self._request.order_seed), rounds)):
                for job in order:
                    self._progress("energy", job, round, rounds)
                    self._busy_window(self._sampler, job, idle, first_round + round)
                idle = self._idle_window(self._sampler, jobs, first_round + round + 1)
        except MeterError as error:  # of an idle window: nothing to compare the busy ones with
            for job in jobs:
                job.lose_energy(error)

    def _idle_window(self, sampler: SamplerClient, jobs: Sequence[Job], round: int) -> PowerWindow:
        """After one round and before the next at once. Kept in every trace. Raises MeterError."""
        window = twice(lambda: idle_window(sampler, self._board.clock, self._preset, round=round))
        for job in jobs:
            if job.is_measurable:
                job.windows.append(window)
        return window

    def _busy_window(self, sampler: SamplerClient, job: Job, idle: PowerWindow, round: int) -> None:
        if job.meter_status is not MeterStatus.OK:
            return
        rate = len(idle.timestamp_ns) / ((idle.end_ns - idle.start_ns) * 1e-9)
        clock, preset = self._board.clock, self._preset
        job.add_window(
            lambda worker: twice(lambda: busy_window(sampler, worker, clock, preset, round=round, samples_per_s=rate))
        )

    def _start_worker(self, job: Job) -> WorkerClient:
        command = worker_command(
            self._runtime, job=job.key, simulation=self._board.simulation, cpus=self._cores.workers
        )
        return WorkerClient(command, spawn=self._spawn, deadline=self._deadline, cancelled=self._cancelled)

    def _start_sampler(self) -> None:
        meter = self._board.meter
        if meter is None:
            for job in self._jobs:
                job.meter_status = MeterStatus.ABSENT
        elif self._request.measure_energy:
            command = sampler_command(
                meter, simulation=self._board.simulation, cpu=self._cores.sampler, sys_root=self._board.sys_root
            )
            self._sampler = SamplerClient(
                command, spawn=self._spawn, deadline=self._deadline, cancelled=self._cancelled
            )

    def _wait_for_the_sampler(self) -> None:
        if self._sampler is None or self._sampler.description is not None:
            return
        try:
            self._sampler.wait_until_ready()
        except MeterError as error:
            for job in self._jobs:
                job.lose_energy(error)

    def _share_out_cores(self) -> _Cores:
        if self._board.simulation is not None or self._board.meter is None or not self._request.measure_energy:
            return _Cores()
        cpus = sorted(os.sched_getaffinity(0))
        if len(cpus) <= self._runtime.threads:
            self._tag(ENERGY_SHARED_CORES)
            return _Cores()
        return _Cores(sampler=cpus[0], workers=tuple(cpus[1:]))

    def _obey(self, judgement: Judgement) -> None:
        self._tag(*judgement.tags)
        if judgement.status is not Status.OK:
            self._void(self._jobs, judgement.status, judgement.message)

    def _void(self, jobs: Sequence[Job], status: Status, message: str) -> None:
        for job in jobs:
            if job.status is Status.OK:
                job.end(status, message)

    def _tag(self, *tags: str) -> None:
        for job in self._jobs:
            job.tags.update(tags)

    def _time_operators(self, jobs: Sequence[Job]) -> None:
        """After everything that is measured beside others, so that no number depends on it."""
        for job in jobs:
            if self._request.time_operators and job.is_measurable:
                self._progress("operators", job)
                job.time_operators()

    def _close(self, jobs: Sequence[Job]) -> None:
        for job in jobs:
            if self._board.simulation is None:  # else it is this machine's memory
                job.peak_rss_bytes = job.memory().peak_rss_bytes
            job.stop()

    def _progress(self, stage: str, job: Job, round: int = 0, rounds: int = 0) -> None:
        if self._cancelled():
            raise Cancelled("the batch was called off")
        step = Progress(stage=stage, candidate_id=job.spec.candidate_id, round=round, rounds=rounds)
        self._on_progress(step)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Cores:
    """The sampler has a core to itself: the first, where the kernel serves interrupts, I2C's among them. None: any."""

    sampler: int | None = None
    workers: tuple[int, ...] | None = None

    @property
    def described(self) -> dict[str, str]:
        """How the runtime's options report it."""
        return {"cpu_affinity": ",".join(map(str, self.workers))} if self.workers else {}
