"""One device of a study being measured again: its batches, void ones repeated, each stored as soon as it is there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Event

from edgepareto.host.domain import (
    AS_SET,
    Batch,
    BatchEntry,
    Candidate,
    CandidateId,
    DeviceName,
    Incident,
    Job,
    Purpose,
    reduce_trace,
)
from edgepareto.host.errors import DeviceError, DeviceLost
from edgepareto.host.store import BatchRecord, DeviceRecord, Phase, StudyIdentity, StudyStore
from edgepareto.host.study.anchor_baseline import AnchorBaselines
from edgepareto.host.study.batches import cut
from edgepareto.host.study.device_health import DeviceHealth
from edgepareto.host.study.kept_deployments import require_still_offered
from edgepareto.host.study.model_files import batch_entry, inputs_file
from edgepareto.host.study.profiler import Profiler
from edgepareto.host.study.replay import order_seed, request_key
from edgepareto.host.study.verdict import board_fault, why_void

__all__ = ["RemeasuringDevice"]


@dataclass(kw_only=True)
class RemeasuringDevice:
    """One device at work, in a thread of its own. jobs: what it measured in this run.

    anchors: the unpruned model in each clock mode that the study has, the usual one first.
    tell: a line for the user, and whether it is a warning; any thread may call it.
    """

    store: StudyStore
    profiler: Profiler
    record: DeviceRecord
    identity: StudyIdentity
    preset: str
    models: Path
    anchors: Mapping[str, Candidate]
    stop: Event
    tell: Callable[[str, bool], None]

    def __post_init__(self) -> None:
        self.jobs: list[Job] = []
        self._baselines = AnchorBaselines()
        self._attempts: Counter[CandidateId] = Counter()
        self._count = 0
        self._is_away = False
        self._health = DeviceHealth(self.name, self.store.save_incident)
        for batch in self.store.batches(self.record.name):
            self._baselines.learn(batch.traces[0])
            if batch.phase is Phase.REMEASURE:
                self._count += 1
                self._attempts.update(trace.candidate for trace in batch.traces)

    @property
    def name(self) -> DeviceName:
        return self.record.name

    @property
    def computes_on_the_host(self) -> bool:
        info = self.profiler.info
        return info.shares_host_cores and not info.simulated

    def check(self) -> None:
        """Raises DeviceError where a meter is missing that the study's numbers need, WrongUse where models cannot be
        run as before. Says if the board is another."""
        info = self.profiler.info
        require_still_offered(self.record.deployments, info)
        if self.record.has_energy and (info.meter is None or info.meter.fault is not None):
            why = "none now" if info.meter is None else f"one that does not work ({info.meter.fault})"
            raise DeviceError(f"{self.name}: had a power meter when this study began and has {why}; put it back")
        if info.board_id != self.record.info.board_id:
            self.tell(
                f"{self.name}: is another board than the one that was searched on; their numbers are pooled", True
            )

    def measure(self, candidates: Sequence[Candidate]) -> str | None:
        """Why the device was lost on the way; None where all was measured or we stopped ourselves."""
        batches = list(cut(candidates)) or [()]
        for place, batch in enumerate(batches, start=1):
            while True:
                if self.stop.is_set():
                    return None
                try:
                    fault = self._measure_batch(batch)
                except DeviceLost as error:
                    return None if self.stop.is_set() else str(error)
                if (too_much := self._health.batch_ended(fault)) is not None:
                    return too_much
                if fault is None:
                    break
                self.tell(f"{self.name}: a batch is void and measured again: {why_void(fault)}", True)
            self.tell(f"{self.name}: batch {place} of {len(batches)} measured", False)
        return None

    def _measure_batch(self, candidates: Sequence[Candidate]) -> Job | None:
        """Measure and store one batch; the job that says why it is void, None where it is not."""
        mode = candidates[0].genome.deployment.clock_mode if candidates else next(iter(self.anchors))
        anchor, *entries = (self._entry(candidate) for candidate in (self.anchors[mode], *candidates))
        seed = order_seed(self.identity.search.seed, DeviceName(f"{self.name}/{Phase.REMEASURE.value}"), self._count)
        batch = Batch(
            request_key=self._request_key((anchor, *entries)),
            preset=self.preset,
            order_seed=seed,
            anchor=anchor,
            entries=tuple(entries),
            inputs=inputs_file(self.models, self.anchors[mode].genome.deployment),
            deployment=anchor.deployment or AS_SET,
            measure_energy=self.record.has_energy,
            anchor_baseline=self._baselines.present(mode),
        )
        record = BatchRecord(
            request_key=batch.request_key,
            device=self.name,
            phase=Phase.REMEASURE,
            round=0,
            number=self._count,
            traces=self.profiler.profile(batch, self._note_step, self._note_incident),
        )
        # A search's minutes are its own.
        self.store.save_batch(record, elapsed_s=float(self.store.meta("elapsed_s") or 0))
        jobs = [reduce_trace(trace) for trace in record.traces]
        self.jobs += jobs
        self._baselines.learn(record.traces[0])
        self._count += 1
        self._attempts.update(entry.candidate for entry in (anchor, *entries))
        return board_fault(jobs)

    def _note_step(self, text: str) -> None:
        """Nothing but that the board has vanished, once each time: how long it is gone already is told every second."""
        if self.profiler.is_looked_for and not self._is_away:
            self.tell(f"{self.name}: {text}, and is looked for", False)
        self._is_away = self.profiler.is_looked_for

    def _note_incident(self, incident: Incident) -> None:
        self._health.incident(incident)
        self.tell(f"{self.name}: {incident.detail}, {incident.outcome}", False)

    def _request_key(self, entries: Sequence[BatchEntry]) -> str:
        """Of this preset: after a run that was killed the next one may ask for another."""
        study = f"{self.identity.id}/{self.preset}"
        return request_key(study, self.name, Phase.REMEASURE, self._count, entries)

    def _entry(self, candidate: Candidate) -> BatchEntry:
        threads = self.record.config.threads or 0
        attempt = self._attempts[candidate.id]
        return batch_entry(candidate, self.models, threads=threads, purpose=Purpose.VERIFY, attempt=attempt)
