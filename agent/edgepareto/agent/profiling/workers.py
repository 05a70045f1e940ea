"""The workers of a batch: how many are loaded at once beside the anchor, on which cores, and what their end says."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from edgepareto.agent.conditions.linux import read_conditions
from edgepareto.agent.errors import Status, WorkerError
from edgepareto.agent.profiling.context import BatchContext
from edgepareto.agent.profiling.job import Job
from edgepareto.agent.profiling.memory import fitting, taking_too_much, too_large
from edgepareto.agent.profiling.worker_client import Deadline, WorkerClient, worker_command
from edgepareto.agent.worker.spawner import Spawn

__all__ = ["Cores", "Workers", "share_out_cores"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cores:
    """The sampler has a core to itself: the first, where the kernel serves interrupts, I2C's among them. None: any."""

    sampler: int | None = None
    workers: tuple[int, ...] | None = None

    @property
    def described(self) -> dict[str, str]:
        """How the runtime's options report it."""
        return {"cpu_affinity": ",".join(map(str, self.workers))} if self.workers else {}


def share_out_cores(threads: int) -> Cores | None:
    """Of this machine. None: there are not more cores than threads, so that sampler and workers must share them."""
    cpus = sorted(os.sched_getaffinity(0))
    return None if len(cpus) <= threads else Cores(sampler=cpus[0], workers=tuple(cpus[1:]))


class Workers:
    """Starts and ends them. `open` and `crowded_out` name the jobs that must be measured later, beside fewer others.

    cores: one per job of the batch. wait_for_others: called once the workers are up, for what else is starting at the
    same time.
    """

    def __init__(
        self,
        context: BatchContext,
        *,
        cores: Sequence[Cores],
        spawn: Spawn,
        deadline: Deadline,
        wait_for_others: Callable[[], None],
    ) -> None:
        self._context = context
        self._cores = cores
        self._spawn = spawn
        self._deadline = deadline
        self._wait_for_others = wait_for_others
        self._started: list[WorkerClient] = []
        # What a simulated board's workers use is this machine's memory.
        self._free_bytes = None if context.board.simulation is not None else self._available_bytes()

    @property
    def pids(self) -> tuple[int, ...]:
        workers = (job.worker for job in self._context.jobs if job.worker is not None)
        return tuple(worker.pid for worker in workers if worker.pid is not None)

    @property
    def ended_ticks(self) -> int:
        """Of all that have ended; see Child."""
        return sum(worker.ended_ticks for worker in self._started)

    def open(self, jobs: Sequence[Job]) -> tuple[list[Job], list[Job]]:
        """Start and validate workers; (the jobs that stay beside the anchor, those that must wait for memory).

        Where memory counts, the anchor tells how many may start: most candidates are the same model with less in it.
        Each, also one of another runtime that takes more, is then loaded by itself and stays if that still fits.
        """
        anchor = self._context.anchor
        if self._free_bytes is None:
            self._start([anchor, *jobs])
            for job in (anchor, *jobs):
                self._load(job)
            return list(jobs), []
        self._start([anchor])
        self._load(anchor)
        if not anchor.is_measurable:
            return list(jobs), []
        sizes = [anchor.memory().private_bytes or 0]
        likely = jobs[: fitting(sizes * (1 + len(jobs)), self._free_bytes) - 1]
        self._start(likely)
        for place, job in enumerate(likely):
            self._load(job)
            if job.is_measurable:
                sizes.append(job.memory().private_bytes or 0)
            if fitting(sizes, self._free_bytes) < len(sizes):
                for late in likely[place:]:
                    late.renew()
                return list(jobs[:place]), list(jobs[place:])
        return list(likely), list(jobs[len(likely) :])

    def crowded_out(self, group: Sequence[Job]) -> list[Job]:
        """Those that ran out of memory beside others, as if new: only alone beside the anchor is it their own fault."""
        if self._context.board.simulation is not None or len(group) < 2:
            return []
        crowded = [job for job in group if job.status is Status.OOM]
        for job in crowded:
            job.renew()
        return crowded

    def close(self, jobs: Sequence[Job]) -> None:
        for job in jobs:
            if self._context.board.simulation is None:  # else it is this machine's memory
                job.peak_rss_bytes = job.memory().peak_rss_bytes
            job.stop()

    def _start(self, jobs: Sequence[Job]) -> None:
        """All at the same time; those that run already or have failed are passed over."""
        fresh = [job for job in jobs if job.status is Status.OK and job.worker is None]
        available_bytes = self._available_bytes()
        for job in fresh:
            reason = too_large(job.spec.model.stat().st_size, available_bytes)
            if reason is not None:
                job.end(Status.OOM, reason)
                continue
            try:
                job.worker = self._start_worker(job)
            except WorkerError as error:
                job.end(error.status, str(error))
        for job in fresh:
            job.wait_until_ready()
        self._wait_for_others()

    def _load(self, job: Job) -> None:
        if job.is_measurable and job.runtime is None:
            if job.spec.runtime.makes_engines:
                self._context.tell("build", job)
                job.make_engine(self._context.board.engines)
            self._context.tell("validate", job)
            job.validate(pinned=self._cores[job.index].described)

    def _start_worker(self, job: Job) -> WorkerClient:
        asked = job.spec.runtime
        runtime = replace(asked, threads=asked.threads or self._context.board.default_threads)
        if asked.makes_engines and self._context.board.engines is not None:
            runtime = replace(runtime, engines=self._context.board.engines.of_model(job.spec.model_sha256))
        command = worker_command(
            runtime, job=job.key, simulation=self._context.board.simulation, cpus=self._cores[job.index].workers
        )
        worker = WorkerClient(
            command,
            spawn=self._spawn,
            deadline=self._deadline,
            cancelled=self._context.cancelled,
            takes_too_much=self._takes_too_much,
        )
        self._started.append(worker)
        return worker

    def _takes_too_much(self, pid: int) -> str | None:
        board = self._context.board
        return None if board.simulation is not None else taking_too_much(pid, board.sys_root)

    def _available_bytes(self) -> int | None:
        return read_conditions(self._context.board.sys_root).free_memory_bytes
