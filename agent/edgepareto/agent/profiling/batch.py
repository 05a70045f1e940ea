"""The measurement of one batch, from starting the workers to the traces (docs/measurement.md, Protocol).

One process works at a time: the agent asks, one worker or the sampler answers, all others are blocked on their pipes.
Only the start of the processes is concurrent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from edgepareto.agent.conditions import ClockModes
from edgepareto.agent.conditions.linux import read_conditions
from edgepareto.agent.device_info import boot_id_of
from edgepareto.agent.errors import ClockError, Status
from edgepareto.agent.profiling.board import Board
from edgepareto.agent.profiling.board_watch import BatchVoid, BoardWatch
from edgepareto.agent.profiling.context import BatchContext
from edgepareto.agent.profiling.energy_rounds import EnergyRounds
from edgepareto.agent.profiling.job import Job
from edgepareto.agent.profiling.latency_rounds import LatencyRounds
from edgepareto.agent.profiling.preflight import (
    ContentionGauge,
    Judgement,
    anchor_ratio,
    judge,
    judge_change,
    judge_level,
    look_around,
)
from edgepareto.agent.profiling.sampler_client import SamplerClient, sampler_command
from edgepareto.agent.profiling.schedule import PRESETS, Preset, preset_named
from edgepareto.agent.profiling.trace import BatchRequest, CandidateTrace, Progress
from edgepareto.agent.profiling.worker_client import DEADLINE, Deadline
from edgepareto.agent.profiling.workers import Cores, Workers, share_out_cores
from edgepareto.agent.worker.child import Cancelled
from edgepareto.agent.worker.spawner import Spawn, spawn

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
    spawn_worker: Spawn | None = None,
) -> Iterator[CandidateTrace]:
    """Measure a batch: its traces, the anchor's first, then in request order. All come at the end, being interleaved.

    A candidate that fails gives a trace with its status and the others go on. Where the anchor fails, nothing vouches
    for the board, so every other candidate is void: ANCHOR_DRIFT with the anchor's verdict in its message. A board that
    is not fit to measure on (busy, throttled, changed) makes the whole batch void, the condition being the verdict, as
    WRONG_CLOCK is of one that does not hold the clock mode asked for; it is set for the batch alone.
    A meter's fault costs the energy alone: meter_status says which; METER_OK without busy windows means not asked for.
    spawn_worker: what starts the workers, which run what was sent; spawn starts the sampler, and without it all.
    Cancelled, it ends within a fraction of a second (a clock's sleep runs out first) and gives no trace.
    No process that it started outlives it. Raises RequestError for an unknown preset.
    """
    jobs = tuple(Job(spec=spec, index=i) for i, spec in enumerate((request.anchor, *request.candidates)))
    context = BatchContext(
        request=request,
        board=board,
        preset=preset_named(request.preset, presets),
        jobs=jobs,
        on_progress=on_progress,
        cancelled=cancelled,
    )
    with _in_clock_mode(context) as refusal:
        batch = _Batch(context, deadline, spawn, spawn_worker or spawn)
        try:
            traces = batch.measure(refusal)
        except Cancelled:
            return
        finally:
            batch.end()
    yield from traces


@contextmanager
def _in_clock_mode(context: BatchContext) -> Iterator[str | None]:
    """Why the board cannot be in the mode asked for; None: it may be, until the end."""
    asked, modes = context.request.clock_mode, context.board.clock_modes
    if not asked:
        yield None
    elif modes is None or asked not in modes.names:
        yield f"clock mode {asked} is none of this board's"
    else:
        try:
            yield _refusal(modes, asked)
        finally:
            modes.release()


def _refusal(modes: ClockModes, asked: str) -> str | None:
    try:
        modes.set(asked)
    except ClockError as error:
        return str(error)
    return None


class _Batch:
    """The steps of profile_batch. Each passes over a job that has failed, so a failure leaves the sequence as it is."""

    def __init__(self, context: BatchContext, deadline: Deadline, spawn: Spawn, spawn_worker: Spawn) -> None:
        context.board.clock.start_batch()
        self._context = context
        self._anchor = context.anchor
        self._board = context.board
        self._before = self._after = read_conditions(context.board.sys_root)
        self._contention: float | None = None
        self._watch = BoardWatch(context)
        cores = tuple(self._share_out_cores(job) for job in context.jobs)
        self._energy = EnergyRounds(context, self._watch, self._start_sampler(cores, deadline, spawn))
        self._workers = Workers(
            context, cores=cores, spawn=spawn_worker, deadline=deadline, wait_for_others=self._energy.wait_until_ready
        )
        self._latency = LatencyRounds(context, self._watch, on_anchor=self._judge_level)

    def measure(self, refusal: str | None) -> tuple[CandidateTrace, ...]:
        """refusal: why the board is not in the clock mode asked for, and nothing is measured."""
        try:
            if refusal is not None:
                raise BatchVoid(Status.WRONG_CLOCK, refusal)
            self._steps()
        except BatchVoid as void:
            self._after = read_conditions(self._context.board.sys_root, contention=self._contention)
            self._void(self._context.jobs, void.status, str(void))
        meter, ratio = self._energy.meter, self._anchor_ratio()
        return tuple(
            job.trace(self._context.request, meter=meter, before=self._before, after=self._after, anchor_ratio=ratio)
            for job in self._context.jobs
        )

    def end(self) -> None:
        for job in self._context.jobs:
            job.stop()
        self._energy.end()

    def _steps(self) -> None:
        """Raises BatchVoid, Cancelled."""
        group, waiting = self._workers.open(self._context.jobs[1:])
        self._preflight()
        self._measure_beside_the_anchor(group)
        crowded = self._workers.crowded_out(group)
        while waiting or crowded:
            group, waiting = self._workers.open(waiting or [crowded.pop(0)])
            if any(job.is_measurable for job in group) or not self._anchor.is_measurable:
                self._context.tag(BATCH_LOWERED)
                self._measure_beside_the_anchor(group)
            crowded += self._workers.crowded_out(group)
        self._context.tell("post", self._anchor)
        self._check()
        self._time_operators([self._anchor])
        self._workers.close([self._anchor])

    def _preflight(self) -> None:
        self._context.tell("preflight", self._anchor)
        self._watch.wait_until_fit()
        self._before = look_around(self._context.board, seconds=self._context.preset.look_s)
        self._check_clocks(at_rest=True)
        self._obey(judge(self._before, when="before the batch", board=self._board))

    def _measure_beside_the_anchor(self, group: Sequence[Job]) -> None:
        """All rounds of a group that is loaded at once."""
        self._gauged(self._latency.measure, group)
        self._check()
        if self._anchor.is_measurable and self._energy.are_possible(group):
            self._gauged(self._energy.measure, group)
        if not self._anchor.is_measurable:
            verdict = f"{self._anchor.spec.candidate_id} ended with {self._anchor.status.value}: {self._anchor.message}"
            self._void(group, Status.ANCHOR_DRIFT, f"not measured, because the batch's anchor {verdict}")
        self._time_operators(group)
        self._workers.close(group)

    def _gauged(self, measure: Callable[[Sequence[Job]], None], group: Sequence[Job]) -> None:
        """The busiest of all these times counts: a short disturbance must not thin out in a long batch."""
        pids = (*self._workers.pids, *self._energy.pids)
        gauge = ContentionGauge(self._context.board, pids, ended_ticks=lambda: self._workers.ended_ticks)
        measure(group)
        shares = [share for share in (self._contention, gauge.read()) if share is not None]
        self._contention = max(shares, default=None)

    def _check(self) -> None:
        """Is what was measured so far that of a quiet, steady board? Else no more time is spent on this batch."""
        after = self._after = read_conditions(self._context.board.sys_root, contention=self._contention)
        self._check_clocks()
        self._obey(judge(after, when="while the batch was timed", board=self._board))
        change = judge_change(
            self._before,
            after,
            self._anchor.blocks,
            windows=[window for window in self._anchor.windows if window.busy],
            metered=self._energy.were_measured,
            board=self._board,
        )
        self._obey(change)
        self._judge_level()

    def _check_clocks(self, *, at_rest: bool = False) -> None:
        """Raises BatchVoid where the board is not in the mode asked for, on a shared one as well."""
        modes = self._board.clock_modes
        deviation = None if modes is None else modes.deviation(at_rest=at_rest)
        if deviation is not None:
            message = f"the board does not hold clock mode {self._context.request.clock_mode}: {deviation}"
            advice = "see what else sets its clocks, or take the mode out of its clock_modes"
            raise BatchVoid(Status.WRONG_CLOCK, f"{message}; {advice}")

    def _judge_level(self) -> None:
        self._obey(judge_level(self._anchor_ratio(), board=self._board))

    def _anchor_ratio(self) -> float | None:
        boot_id, governor = boot_id_of(self._context.board.sys_root), self._before.governor
        baseline = self._context.request.anchor_baseline
        return anchor_ratio(self._anchor.blocks, baseline, boot_id=boot_id, governor=governor)

    def _start_sampler(self, cores: Sequence[Cores], deadline: Deadline, spawn: Spawn) -> SamplerClient | None:
        board, meter = self._context.board, self._context.board.meter
        if meter is None or not self._context.request.measure_energy:
            return None
        cpu = next((core.sampler for core in cores if core.sampler is not None), None)
        command = sampler_command(meter, simulation=board.simulation, cpu=cpu, sys_root=board.sys_root)
        return SamplerClient(command, spawn=spawn, deadline=deadline, cancelled=self._context.cancelled)

    def _share_out_cores(self, job: Job) -> Cores:
        """By its own threads and nobody else's, so that a number does not depend on what is measured beside it."""
        board, request = self._context.board, self._context.request
        if board.simulation is not None or board.meter is None or not request.measure_energy:
            return Cores()
        cores = share_out_cores(job.spec.runtime.threads or board.default_threads)
        if cores is None:
            job.tags.add(ENERGY_SHARED_CORES)
        return cores or Cores()

    def _obey(self, judgement: Judgement) -> None:
        self._context.tag(*judgement.tags)
        if judgement.status is not Status.OK:
            raise BatchVoid(judgement.status, judgement.message)

    def _void(self, jobs: Sequence[Job], status: Status, message: str) -> None:
        for job in jobs:
            if job.status is Status.OK:
                job.end(status, message)

    def _time_operators(self, jobs: Sequence[Job]) -> None:
        """After everything that is measured beside others, so that no number depends on it."""
        for job in jobs:
            if self._context.request.time_operators and job.is_measurable:
                self._context.tell("operators", job)
                job.time_operators()
