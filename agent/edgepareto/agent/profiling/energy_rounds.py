"""The energy rounds of a batch: one window per model and round in random order, an idle window before and after each.

Windows of one model back to back would be pseudo-replicates: what drifts would hit all of them alike.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import islice

from edgepareto.agent.errors import MeterError, MeterStatus
from edgepareto.agent.power.power_meter import MeterDescription
from edgepareto.agent.profiling.board_watch import BoardWatch
from edgepareto.agent.profiling.context import BatchContext
from edgepareto.agent.profiling.energy_window import (
    IDLE_DRIFT,
    busy_window,
    idle_drifted,
    idle_window,
    ranging_window,
    twice,
)
from edgepareto.agent.profiling.job import Job
from edgepareto.agent.profiling.sampler_client import SamplerClient
from edgepareto.agent.profiling.schedule import shuffled_orders
from edgepareto.agent.profiling.trace import PowerWindow
from edgepareto.agent.profiling.worker_client import WorkerClient

__all__ = ["EnergyRounds"]

RANGING_STRETCH = 4.0  # of the second try, for a meter too slow for the first


class EnergyRounds:
    """Of all groups of a batch, one after the other; rounds count on. A meter's fault costs energy alone.

    sampler: starting, of this object alone. None: energy is not asked for, or the board has no meter.
    """

    def __init__(self, context: BatchContext, watch: BoardWatch, sampler: SamplerClient | None) -> None:
        self._context = context
        self._watch = watch
        self._sampler = sampler
        self._ranged = False
        self._next_round = 0
        if context.board.meter is None:
            for job in context.jobs:
                job.meter_status = MeterStatus.ABSENT

    @property
    def meter(self) -> MeterDescription | None:
        """As it was set in the windows; None where there was no sampler, or before it is ready."""
        return None if self._sampler is None else self._sampler.description

    @property
    def were_measured(self) -> bool:
        """Whether any number depends on the meter."""
        return any(window.busy for job in self._context.jobs for window in job.windows)

    @property
    def pids(self) -> tuple[int, ...]:
        pid = None if self._sampler is None else self._sampler.pid
        return () if pid is None else (pid,)

    def wait_until_ready(self) -> None:
        """For the start of the sampler, which is beside that of the workers. Again at once."""
        if self._sampler is None or self._sampler.description is not None:
            return
        try:
            self._sampler.wait_until_ready()
        except MeterError as error:
            _lose_energy(self._context.jobs, error)
        self._context.tag(*self._sampler.tags)

    def are_possible(self, group: Sequence[Job]) -> bool:
        jobs = (self._context.anchor, *group)
        return self._sampler is not None and any(job.meter_status is MeterStatus.OK for job in jobs)

    def measure(self, group: Sequence[Job]) -> None:
        """Raises BatchVoid, Cancelled."""
        sampler = self._sampler
        if sampler is None or not self.are_possible(group):
            return
        jobs = (self._context.anchor, *group)
        try:
            self._fix_range(sampler)
            if not self._context.anchor.is_measurable:
                return
            idle = self._idle_window(sampler, jobs)
            orders = shuffled_orders(jobs, self._context.request.order_seed)
            for count, order in enumerate(islice(orders, self._context.preset.energy_rounds)):
                self._round(sampler, order, idle, count)
                self._next_round += 1
                later = self._idle_window(sampler, jobs)
                _tag_idle_drift(jobs, idle, later, round=self._next_round - 1)
                idle = later
        except MeterError as error:  # of a window for all: nothing to compare the busy ones with
            _lose_energy(jobs, error)

    def end(self) -> None:
        if self._sampler is not None:
            self._sampler.kill()

    def _fix_range(self, sampler: SamplerClient) -> None:
        """By the anchor: it has all that its candidates have. Once a batch, and not before the latency rounds, whose
        numbers must not depend on whether there is a meter."""
        if self._ranged:
            return
        context = self._context
        context.tell("energy", context.anchor, 0, context.preset.energy_rounds)
        lengths = iter((1.0, RANGING_STRETCH))

        def window(worker: WorkerClient) -> None:
            seconds, runs = next(lengths) * context.preset.ranging_s, context.preset.warm_up_runs
            ranging_window(sampler, worker, context.board.clock, seconds=seconds, runs=runs)

        context.anchor.ask(lambda worker: twice(lambda: window(worker), on_retry=lambda: None))
        context.tag(*sampler.tags)
        self._ranged = True

    def _round(self, sampler: SamplerClient, order: Sequence[Job], idle: PowerWindow, count: int) -> None:
        for job in order:
            if job.meter_status is not MeterStatus.OK:
                continue
            self._context.tell("energy", job, count, self._context.preset.energy_rounds)
            try:
                window = self._busy_window(sampler, job, idle)
            except MeterError as error:
                job.lose_energy(error)
            else:
                if window is not None:
                    job.windows.append(window)

    def _busy_window(self, sampler: SamplerClient, job: Job, idle: PowerWindow) -> PowerWindow | None:
        clock, preset, round = self._context.board.clock, self._context.preset, self._next_round
        rate = len(idle.timestamp_ns) / ((idle.end_ns - idle.start_ns) * 1e-9)

        def window(worker: WorkerClient) -> PowerWindow:
            return busy_window(sampler, worker, clock, preset, round=round, samples_per_s=rate)

        return self._watch.undisturbed(
            [job],
            lambda: job.ask(lambda worker: twice(lambda: window(worker), on_retry=_count_as_void([job]))),
            what=f"an energy window of {job.spec.candidate_id}",
        )

    def _idle_window(self, sampler: SamplerClient, jobs: Sequence[Job]) -> PowerWindow:
        """After one round and before the next at once. Kept in every trace. Raises MeterError."""
        clock, preset, round = self._context.board.clock, self._context.preset, self._next_round
        measurable = [job for job in jobs if job.is_measurable]
        window = self._watch.undisturbed(
            measurable,
            lambda: twice(
                lambda: idle_window(sampler, clock, preset, round=round), on_retry=_count_as_void(measurable)
            ),
            what="an idle window",
        )
        assert window is not None
        for job in measurable:
            job.windows.append(window)
        return window


def _tag_idle_drift(jobs: Sequence[Job], before: PowerWindow, after: PowerWindow, *, round: int) -> None:
    for job in jobs:
        for window in job.windows:
            if window.busy and window.round == round and idle_drifted(before, window, after):
                job.tags.add(IDLE_DRIFT)


def _count_as_void(jobs: Sequence[Job]) -> Callable[[], None]:
    def count() -> None:
        for job in jobs:
            job.voided += 1

    return count


def _lose_energy(jobs: Sequence[Job], error: MeterError) -> None:
    for job in jobs:
        job.lose_energy(error)
