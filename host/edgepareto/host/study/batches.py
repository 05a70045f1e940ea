"""A device's batches in order: built, answered from the store where they are known, measured and stored where not."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event

from edgepareto.host.domain import (
    AS_SET,
    MAXIMUM_BATCH,
    Batch,
    BatchEntry,
    Candidate,
    CandidateId,
    DeviceName,
    Incident,
    Job,
    ProfileTrace,
    Purpose,
    reduce_trace,
)
from edgepareto.host.store import BatchRecord, DeviceRecord, Phase, StudyStore
from edgepareto.host.study.anchor_baseline import AnchorBaselines
from edgepareto.host.study.model_files import batch_entry, inputs_file
from edgepareto.host.study.pace import Pace
from edgepareto.host.study.profiler import Profiler
from edgepareto.host.study.replay import order_seed, request_key
from edgepareto.host.study.verdict import board_fault

__all__ = ["DeviceBatches", "MeasuredBatch", "StudyClock", "cut"]


class StudyClock:
    """How long the search has taken, over all runs of the study; `stop` ends it for every device."""

    def __init__(self, elapsed_before_s: float, minutes: float | None) -> None:
        self.stop = Event()
        self._before_s = elapsed_before_s
        self._started_s = time.monotonic()
        self._limit_s = None if minutes is None else 60 * minutes

    @property
    def elapsed_s(self) -> float:
        return self._before_s + time.monotonic() - self._started_s

    def raise_if_stopped(self) -> None:
        """Raises KeyboardInterrupt: devices that were told to stop have not finished."""
        if self.stop.is_set():
            raise KeyboardInterrupt

    @property
    def left_s(self) -> float | None:
        """None: no limit."""
        return None if self._limit_s is None else max(0.0, self._limit_s - self.elapsed_s)

    @property
    def is_over(self) -> bool:
        return self.left_s == 0


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredBatch:
    """jobs: the anchor's first, then in order. fault: the job that says why all of it is void, None where it is not.

    is_new: measured now, not answered from the store.
    """

    jobs: tuple[Job, ...]
    fault: Job | None
    is_new: bool


@dataclass(kw_only=True)
class DeviceBatches:
    """What was measured on one device so far, as this run has seen it: replayed or new. One thread at a time.

    anchors: the unpruned model in each clock mode of the device, the usual one first.
    jobs: in order, anchors included; of a void batch only those that failed by a candidate's own fault for good.
    """

    store: StudyStore
    profiler: Profiler
    record: DeviceRecord
    study_id: str
    seed: int
    preset: str
    models: Path
    anchors: Mapping[str, Candidate]
    clock: StudyClock
    jobs: list[Job] = field(default_factory=list)
    by_candidate: dict[CandidateId, list[Job]] = field(default_factory=lambda: defaultdict(list))
    by_phase: dict[tuple[Phase, int], list[Job]] = field(default_factory=lambda: defaultdict(list))
    pace: Pace = field(default_factory=Pace)
    _baselines: AnchorBaselines = field(default_factory=AnchorBaselines)
    _count: int = 0
    _attempts: Counter[CandidateId] = field(default_factory=Counter)

    @property
    def name(self) -> DeviceName:
        return self.record.name

    @property
    def anchor(self) -> Candidate:
        """The unpruned model as the device usually runs it."""
        return next(iter(self.anchors.values()))

    def measure(
        self,
        candidates: Sequence[Candidate],
        phase: Phase,
        round: int,
        on_progress: Callable[[str], None],
        on_incident: Callable[[Incident], None],
    ) -> MeasuredBatch | None:
        """One batch, at most MAXIMUM_BATCH candidates beside the anchor. None where it was not begun, because the time
        is over or the run is being stopped; a stored batch is always answered.

        Raises DeviceLost, StoreError.
        """
        assert len(candidates) <= MAXIMUM_BATCH
        batch = self._batch(candidates, phase)
        record = self.store.batch(batch.request_key)
        is_new = record is None
        if record is None:
            if self.clock.stop.is_set() or (phase is Phase.SEARCH and self.clock.is_over):
                return None
            record = BatchRecord(
                request_key=batch.request_key,
                device=self.name,
                phase=phase,
                round=round,
                number=self._count,
                traces=self._profile(batch, on_progress, on_incident),
            )
            self.store.save_batch(record, elapsed_s=self.clock.elapsed_s)
        jobs = tuple(reduce_trace(trace) for trace in record.traces)
        fault = board_fault(jobs)
        for job in jobs:
            if fault is None or (job.status.is_permanent and not job.is_anchor):
                self.jobs.append(job)
                self.by_candidate[job.candidate].append(job)
                self.by_phase[phase, round].append(job)
        self._baselines.learn(record.traces[0])
        self._count += 1
        self._attempts.update(candidate.id for candidate in candidates)
        return MeasuredBatch(jobs=jobs, fault=fault, is_new=is_new)

    def _profile(
        self, batch: Batch, on_progress: Callable[[str], None], on_incident: Callable[[Incident], None]
    ) -> tuple[ProfileTrace, ...]:
        measured = 0
        self.pace.measuring_begins()
        try:
            traces = self.profiler.profile(batch, on_progress, on_incident)
            measured = sum(entry.attempt == 0 for entry in batch.entries)
        finally:
            self.pace.measuring_ends(measured)
        return traces

    def _batch(self, candidates: Sequence[Candidate], phase: Phase) -> Batch:
        anchor_purpose = Purpose.SEARCH if phase is Phase.SEARCH else Purpose.REMEASURE
        dense = self.anchor_of(candidates)
        anchor = self._entry(dense, anchor_purpose, self._count)
        entries = tuple(
            self._entry(c, Purpose.REMEASURE if self._was_usable(c) else Purpose.SEARCH, self._attempts[c.id])
            for c in candidates
        )
        return Batch(
            request_key=request_key(self.study_id, self.name, phase, self._count, (anchor, *entries)),
            preset=self.preset,
            order_seed=order_seed(self.seed, self.name, self._count),
            anchor=anchor,
            entries=entries,
            inputs=inputs_file(self.models, dense.genome.deployment),
            deployment=anchor.deployment or AS_SET,
            measure_energy=self.record.has_energy,
            anchor_baseline=self._baselines.present(dense.genome.deployment.clock_mode),
        )

    def _was_usable(self, candidate: Candidate) -> bool:
        return any(job.usable for job in self.by_candidate[candidate.id])

    def _entry(self, candidate: Candidate, purpose: Purpose, attempt: int) -> BatchEntry:
        threads = self.record.config.threads or 0
        return batch_entry(candidate, self.models, threads=threads, purpose=purpose, attempt=attempt)

    def anchor_of(self, candidates: Sequence[Candidate]) -> Candidate:
        """The unpruned model in the clock mode of a batch of these, which all have one."""
        return self.anchors[candidates[0].genome.deployment.clock_mode] if candidates else self.anchor


def cut(candidates: Iterable[Candidate]) -> Iterator[tuple[Candidate, ...]]:
    """Into batches of one clock mode each, in the order they come, each as soon as it is full or nothing more comes."""
    waiting: defaultdict[str, list[Candidate]] = defaultdict(list)
    for candidate in candidates:
        batch = waiting[candidate.genome.deployment.clock_mode]
        batch.append(candidate)
        if len(batch) == MAXIMUM_BATCH:
            yield tuple(batch)
            batch.clear()
    yield from (tuple(batch) for batch in waiting.values() if batch)
