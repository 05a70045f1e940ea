"""One device's way through a study: the generations of its search, then rounds in which its front is measured again.

Each member of the front is recovered once more with all calibration images, and distilled where the user wants it; each
version takes part under an id of its own. The front's members and whoever is within the repeatability limit of it are
measured until each has two independent jobs and nobody new enters, at most MAXIMUM_ROUNDS times; else the luckiest
measurement, not the best model, would win.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from edgepareto.host.domain import Candidate, CandidateId, Genome, Recipe, near_front
from edgepareto.host.study.device_search import DeviceSearch
from edgepareto.host.study.inputs import StudyInputs

__all__ = ["MAXIMUM_ROUNDS", "DeviceCourse", "Wanted"]

MAXIMUM_ROUNDS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What a device needs to be made and scored before it can go on: the genomes by every recipe.

    is_awaited: it is measured only once it is scored.
    """

    genomes: Sequence[Genome]
    recipes: Sequence[Recipe]
    is_awaited: bool = False


class DeviceCourse:
    """`ask`, `plan`, then `measure` in a thread of the device, then `settle`, until nothing is asked or planned.

    It depends on no other device: `candidates`, the study's shared table, grows by others' too, and only the scores of
    what was asked here are looked at.
    """

    def __init__(self, device: DeviceSearch, candidates: Mapping[CandidateId, Candidate], inputs: StudyInputs) -> None:
        self.device = device
        self._candidates = candidates
        self._inputs = inputs
        self._names: Sequence[CandidateId] = ()
        self._round: int | None = None  # None: still searching

    def ask(self) -> Wanted | None:
        """None where it is at its end: done, or lost."""
        if self.device.is_searching and (genomes := self.device.ask()):
            return Wanted(genomes=genomes, recipes=[self._inputs.search_recipe], is_awaited=self.device.routes)
        self._round = 0 if self._round is None else self._round + 1
        if self.device.is_lost:
            return None
        if self._round == MAXIMUM_ROUNDS:
            if self._to_measure(()):
                self.device.notice(f"the front was not yet stable after {MAXIMUM_ROUNDS} rounds of measuring again")
            return None
        recipes = [self._inputs.finalist_recipe, self._inputs.distilled_recipe]
        return Wanted(genomes=self._members(), recipes=[recipe for recipe in recipes if recipe is not None])

    def plan(self, names: Sequence[CandidateId]) -> Sequence[CandidateId]:
        """What to measure of it, and more; () ends the course. names: of what was asked, in order, now being made."""
        self._names = names
        return names if self._round is None else self._to_measure(names)

    def measure(self, planned: Iterable[Candidate]) -> None:
        """Raises WrongUse, StoreError; a lost device is noted, not raised."""
        if self._round is None:
            self.device.measure(planned)
        else:
            self.device.measure_again(planned, self._round)

    def settle(self) -> None:
        """When all of it is measured and scored, or the device is lost or out of time. Raises KeyboardInterrupt."""
        self.device.batches.clock.raise_if_stopped()
        if self._round is None and self.device.is_searching:
            self.device.tell([self._candidates[name] for name in self._names])

    def _members(self) -> list[Genome]:
        """The genomes on the front, but for the dense model's, which needs no recovery."""
        members = self.device.estimates().front(self._candidates)
        found = (self._candidates[member.candidate].genome for member in members)
        return [genome for genome in found if not genome.is_pruned_like(self.device.batches.anchor.genome)]

    def _to_measure(self, finalists: Sequence[CandidateId]) -> list[CandidateId]:
        """Finalists and everyone near the front who has fewer than two independent jobs; fastest first, finalists last.

        A finalist that is not in the table yet is being made.
        """
        estimates = self.device.estimates()
        near = sorted(near_front(estimates.feasible, estimates.limits), key=lambda e: (e.latency_s, e.candidate))
        anchors = {anchor.id for anchor in self.device.batches.anchors.values()}  # beside every batch of their mode
        found = (*(estimate.candidate for estimate in near), *finalists)
        wanted = dict.fromkeys(name for name in found if name not in anchors)
        known = {name: self._candidates[name] for name in wanted if name in self._candidates}
        failed = {name for name, candidate in known.items() if candidate.model_sha256 is None}
        return [name for name in wanted if name not in failed and self.device.needs_another_job(name)]
