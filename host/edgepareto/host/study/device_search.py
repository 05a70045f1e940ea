"""One device's way through a study: its population, its budget, what it measured, and why it stopped."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from edgepareto.host.config import SearchConfig, score_word
from edgepareto.host.config.values import METRIC_NAMES, SURROGATE
from edgepareto.host.domain import (
    Activity,
    Candidate,
    CandidateId,
    DeviceInfo,
    DeviceName,
    DeviceProgress,
    EnergyObjective,
    Genome,
    Incident,
    PruningSpace,
)
from edgepareto.host.errors import DeviceLost, WrongUse
from edgepareto.host.search import Features, HypervolumeScale, Search, search_seed
from edgepareto.host.store import DeviceRecord, DeviceState, Phase
from edgepareto.host.study.batches import DeviceBatches, cut
from edgepareto.host.study.device_health import DeviceHealth
from edgepareto.host.study.device_report import DeviceReport, Listener
from edgepareto.host.study.elsewhere import in_this_space
from edgepareto.host.study.energy_wanted import energy_flags, meter_said, no_energy_text
from edgepareto.host.study.estimates import (
    Estimates,
    estimate_all,
    fixed_scale,
    front_hypervolume,
    outcome,
    outcome_of_spared,
)
from edgepareto.host.study.replay import journal_generation
from edgepareto.host.study.routing import Router
from edgepareto.host.study.verdict import Verdict, needs_another_job, never_ran, verdict, why_void

__all__ = ["DeviceSearch"]

MOST_LOST = 0.15  # of a score: what is worse than the best by more is not looked for (docs/search.md)


class DeviceSearch:
    """`ask`, then `measure`, then `tell`, until `is_searching` is False. One thread at a time.

    `candidates` is the study's shared, growing table.
    """

    def __init__(
        self,
        batches: DeviceBatches,
        space: PruningSpace,
        config: SearchConfig,
        candidates: Mapping[CandidateId, Candidate],
        listener: Listener,
        features: Features | None = None,
    ) -> None:
        """features: of the space's genomes, for a search that learns."""
        self.batches = batches
        self.space = space
        self.is_searching = True
        self._config = config
        self._features = features
        self._candidates = candidates
        self._told = DeviceReport(batches.name, config, batches.pace, batches.clock, listener)
        self._health = DeviceHealth(batches.name, batches.store.save_incident)
        self._search = self._new_search()
        self._router = Router(batches.store, batches.name, config.seed, config.constraints)
        self._generation = 0
        self._asked: tuple[Genome, ...] = ()
        self._measured: dict[CandidateId, None] = {}
        self._scale: HypervolumeScale | None = None

    @property
    def name(self) -> DeviceName:
        return self.batches.name

    @property
    def info(self) -> DeviceInfo:
        return self.batches.record.info

    @property
    def has_energy(self) -> bool:
        return self.batches.record.has_energy

    @property
    def energy(self) -> EnergyObjective | None:
        """Which energy is an objective here; None: none."""
        return EnergyObjective(self._config.energy or EnergyObjective.TOTAL) if self.has_energy else None

    @property
    def routes(self) -> bool:
        """Of what is measured next, only what may still enter the front is sent: a search that learns, once it did."""
        return self.batches.record.spares and self._generation > 0

    @property
    def is_lost(self) -> bool:
        return self.batches.record.state is DeviceState.LOST

    @property
    def is_looked_for(self) -> bool:
        return self.batches.profiler.is_looked_for

    @property
    def is_out_of_the_way(self) -> bool:
        """It does not answer, and will not compute on this machine when it is back."""
        return self.is_looked_for and not self.info.simulated

    @property
    def computes_on_the_host(self) -> bool:
        """Must not be measured while the host or a simulated board computes."""
        return self.info.shares_host_cores and not self.info.simulated

    def ask(self) -> tuple[Genome, ...]:
        """The genomes of the next generation that the budget still allows; () ends the search on this device."""
        budget = self._config.generations
        left = self._left()
        if (budget is not None and self._generation >= budget) or left == 0:
            self.is_searching = False
            return ()
        asked = self._journalled(self._search.ask(self._config.generation))
        self.is_searching = bool(asked)
        self._asked = asked
        self.report(Activity.PREPARING)
        if left is None or len(asked) <= left or self.routes:  # what is spared costs no budget
            return asked
        if self._generation == 0:
            self.notice(
                f"a search begins with {len(asked)} candidates and may measure {left}: the first {left} are measured, "
                "the dense model and the uniform ladder before single cuts, and nothing is searched"
            )
        return asked[:left]

    def _journalled(self, asked: tuple[Genome, ...]) -> tuple[Genome, ...]:
        """What was asked the first time, where a search that learns would ask for something else on this machine, which
        rounds otherwise. What depends on no model is another search then, which raises StudyError."""
        if self._config.algorithm == SURROGATE and self._generation > 0:
            before = self.batches.store.generation(self.name, self._generation)
            if before is not None and before != asked:
                self._search.take(before)
                return before
        journal_generation(self.batches.store, self.name, self._generation, asked)
        return asked

    def measure(self, asked: Iterable[Candidate]) -> None:
        """Measure a generation, retries included. Stops where the time is over; a lost device is noted, not raised.

        asked: in order; the next may take its time to be made, and scored where it `routes`.
        Raises WrongUse where the meter fails for good in generation 0 and energy was asked for.
        """
        self._measure_generation(asked)
        if self._generation == 0 and not self.batches.clock.stop.is_set():
            self._judge_meter()

    def _measure_generation(self, asked: Iterable[Candidate]) -> None:
        anchors = {anchor.id for anchor in self.batches.anchors.values()}  # measured beside every batch
        waiting: Iterable[Candidate] = (c for c in asked if c.model_sha256 is not None and c.id not in anchors)
        if self.routes:
            known, least, left = self.estimates(), self._search.least, self._left()
            waiting = self._router.sent(waiting, self._generation, known, least, left)
        while True:
            measured: list[Candidate] = []
            for batch in cut(waiting):
                if not self._measure_batch(batch, Phase.SEARCH, self._generation):
                    self.is_searching = False
                    return
                measured += batch
            waiting = [c for c in measured if self._verdict(c) is Verdict.RETRY]
            if not waiting:
                break
        if self._router.is_cut:
            self.is_searching = False
        while not self.batches.jobs or (self._generation == 0 and self._doubts_meter(Verdict.RETRY)):
            if not self._measure_batch((), Phase.SEARCH, self._generation):
                self.is_searching = False
                return
        self._check_anchor()
        self._heartbeat(Activity.WAITING, "")

    def tell(self, asked: Sequence[Candidate]) -> None:
        """The outcomes of the generation just measured; a generation cut by the budget ends the search instead."""
        if not self.is_searching:
            return
        if len(asked) < len(self._asked):
            self.is_searching = False
            return
        estimates = self.estimates()
        self._search.tell(
            [
                outcome_of_spared(candidate)
                if candidate.id in self._router.spared
                else outcome(candidate, estimates, self._config.constraints)
                for candidate in asked
            ]
        )
        if all(candidate.failure is not None for candidate in asked):
            self.is_searching = False
            self.notice(f"no candidate of generation {self._generation} could be prepared: {asked[0].failure}")
        self._generation += 1
        self.report(Activity.WAITING)

    def measure_again(self, candidates: Iterable[Candidate], round: int) -> None:
        """A round of the end phase. A lost device is noted, not raised."""
        for batch in cut(c for c in candidates if c.model_sha256 is not None):
            if not self._measure_batch(batch, Phase.END, round):
                return
        self._heartbeat(Activity.WAITING, "")

    def needs_another_job(self, candidate: CandidateId) -> bool:
        """Has fewer than two independent jobs and did not fail too often."""
        return needs_another_job(self.batches.by_candidate[candidate], needs_energy=self.has_energy)

    def estimates(self) -> Estimates:
        return estimate_all(
            self.batches.jobs, self._candidates, energy=self.energy, constraints=self._config.constraints
        )

    def report(self, activity: Activity, detail: str = "") -> None:
        """Tell the screen where this device stands."""
        estimates = self.estimates()
        counted = DeviceProgress(
            device=self.name,
            activity=activity,
            generation=self._generation,
            measured=len(self._measured),
            failed=sum(name not in estimates.objectives and self._is_scored(name) for name in self._measured),
            budget=self._config.measurements,
            front=len(estimates.front(self._candidates)),
            hypervolume=front_hypervolume(estimates, self._hypervolume_scale()),
            detail=detail,
            foreseen=self._search.explained,
            spared=len(self._router.spared),
        )
        self._told.counted(counted, is_searching=self.is_searching)

    def notice(self, text: str) -> None:
        """A warning on the screen now, and beside this device's front ever after."""
        self.batches.store.save_note(self.name, text)
        self._told.warn(f"{self.name}: {text}")

    @property
    def has_numbers(self) -> bool:
        return any(job.usable for jobs in self.batches.by_candidate.values() for job in jobs)

    @property
    def has_front(self) -> bool:
        """The unpruned model was measured, which a front is compared with."""
        return any(job.usable for job in self.batches.by_candidate[self.batches.anchor.id])

    def lose(self, reason: str) -> None:
        """The device is out of this run; its front, where it has one, is kept and marked incomplete."""
        self.is_searching = False
        self._save(replace(self.batches.record, state=DeviceState.LOST, reason=reason))
        self.report(Activity.LOST)
        kept = "its front is kept, " if self.has_numbers else ""
        self._told.warn(f"{reason}; {kept}go on with --resume")

    def complete(self) -> None:
        self._save(self.batches.record.completed(self._config))
        self.report(Activity.DONE)

    def _measure_batch(self, batch: Sequence[Candidate], phase: Phase, round: int) -> bool:
        """Again while it is void. False where the device is done: lost, out of time, or the run is being stopped."""
        activity = Activity.MEASURING if phase is Phase.SEARCH else Activity.REMEASURING
        while not self.is_lost:
            try:
                found = self.batches.measure(
                    batch, phase, round, lambda detail: self._heartbeat(activity, detail), self._note_incident
                )
            except DeviceLost as error:
                if not self.batches.clock.stop.is_set():  # else we hung up ourselves
                    self.lose(str(error))
                return False
            if found is None:
                return False
            too_much = self._health.batch_ended(found.fault) if found.is_new else None
            if found.fault is None:
                self._take_in(batch, phase)
            if too_much is not None:
                self.lose(too_much)
                return False
            if found.fault is None:
                self.report(activity if phase is Phase.END else Activity.PREPARING)
                return True
            if found.is_new:
                self._told.warn(f"{self.name}: a batch is void and measured again: {why_void(found.fault)}")
            left = [candidate for candidate in batch if self._may_be_measured(candidate)]
            if batch and not left:
                return True
            batch = left
        return False

    def _take_in(self, batch: Sequence[Candidate], phase: Phase) -> None:
        if phase is Phase.SEARCH:
            self._measured.update(
                dict.fromkeys([self.batches.anchor_of(batch).id, *(candidate.id for candidate in batch)])
            )
            if self._generation == 0 and self._doubts_meter(Verdict.INFEASIBLE):
                self._judge_meter()  # first: a failed meter is no candidate's failure
        for candidate in batch:
            self._say_failure(candidate)

    def _note_incident(self, incident: Incident) -> None:
        self._health.incident(incident)
        self._told.incident(incident)

    def _may_be_measured(self, candidate: Candidate) -> bool:
        return not any(job.status.is_permanent for job in self.batches.by_candidate[candidate.id])

    def _check_anchor(self) -> None:
        why = never_ran(self.batches.by_candidate[self.batches.anchor.id])
        if why is not None:
            self.lose(f"{self.name}: the unpruned model itself cannot be measured: {why}")

    def _new_search(self) -> Search[Genome]:
        is_share = self._config.metric in METRIC_NAMES  # a user's own may be any number
        return Search(
            self._config.algorithm,
            self.space,
            objectives=3 if self.has_energy else 2,
            limits=self._config.constraints.count,
            population=self._config.population,
            seed=search_seed(self._config.seed, self.name),
            features=self._features,
            shares=(0,) if is_share else (),
            most_lost=MOST_LOST if is_share else None,
            elsewhere=in_this_space(self.batches.record.elsewhere, self.space),
        )

    def _doubts_meter(self, verdict: Verdict) -> bool:
        """The anchor runs and has no energy, which leaves it with this verdict."""
        jobs = self.batches.by_candidate[self.batches.anchor.id]
        return any(job.usable for job in jobs) and self._verdict(self.batches.anchor) is verdict

    def _judge_meter(self) -> None:
        """In generation 0, before anything is told: a meter that gave the anchor no energy counts as none.

        Decided from the stored traces alone, so a replay decides alike. Raises WrongUse where energy was asked for.
        """
        usable = [job for job in self.batches.by_candidate[self.batches.anchor.id] if job.usable]
        if not self.has_energy or not usable or any(job.energy is not None for job in usable):
            return
        failure = meter_said(usable[-1])
        asked = energy_flags(self._config)
        if asked and self.is_lost:
            return
        if asked:
            raise WrongUse(
                f"{self.name}: {' and '.join(asked)} cannot be kept, its meter failed ({failure}); "
                "mend it or drop the flag, and choose another --study"
            )
        self._save(replace(self.batches.record, has_energy=False, meter_failure=failure))
        self._search = self._new_search()
        repeated = self._search.ask()
        assert repeated == self._asked, "generation 0 depends on no objective"
        self._scale = None
        score = score_word(self._config.metric)
        self.notice(f"{failure}: energy is no objective on this device, latency and {score} are")
        self.report(Activity.LOST if self.is_lost else Activity.PREPARING)

    def _say_failure(self, candidate: Candidate) -> None:
        """Loudly where a candidate is given up for want of energy; `read_fronts` says it as long as it holds."""
        job = self.batches.by_candidate[candidate.id][-1]
        if job.usable and job.energy is None and self._verdict(candidate) is Verdict.INFEASIBLE:
            self._told.warn(f"{self.name}: {no_energy_text(job)}")

    def _heartbeat(self, activity: Activity, detail: str) -> None:
        self._told.now(Activity.AWAY if self.is_looked_for else activity, detail, is_searching=self.is_searching)

    def _is_scored(self, name: CandidateId) -> bool:
        candidate = self._candidates[name]
        return candidate.accuracy is not None or candidate.failure is not None

    def _verdict(self, candidate: Candidate) -> Verdict:
        return verdict(self.batches.by_candidate[candidate.id], needs_energy=self.has_energy)

    def _left(self) -> int | None:
        budget = self._config.measurements
        return None if budget is None else max(0, budget - len(self._measured))

    def _hypervolume_scale(self) -> HypervolumeScale | None:
        if self._scale is None and (self._generation > 0 or not self.is_searching):
            first = self.batches.by_phase[Phase.SEARCH, 0]
            self._scale = fixed_scale(first, self._candidates, self.space.seeds(), energy=self.energy)
        return self._scale

    def _save(self, record: DeviceRecord) -> None:
        self.batches.record = record
        self.batches.store.save_devices(record)
