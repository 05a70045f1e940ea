"""Which candidates of a generation are worth the board's time: those that may still enter the front.

A score costs the host a second, a measurement costs the board many. So each candidate of a search that learns is scored
first, and not sent where even the least that it may cost by the models (`Search.least`) is beyond a limit or dominated
by what was measured. A share of these is sent all the same: the front then says how often the models were wrong.
Decisions depend on what was known when the generation began and on the candidate's own score, never on who is ready
first, and are kept: a replay makes the same. Of a generation without hope the last one is sent, and is no audit.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable, Iterator

from edgepareto.host.domain import Candidate, CandidateId, Constraints, DeviceName, Estimate, Genome
from edgepareto.host.store import Route, StudyStore
from edgepareto.host.study.estimates import Estimates

__all__ = ["Router"]

AUDITED_SHARE = 0.05
Least = Callable[[Genome], tuple[float, ...] | None]


class Router:
    """Of one device. spared: what was never sent, of all generations so far. is_cut: the budget ended one of them."""

    def __init__(self, store: StudyStore, device: DeviceName, seed: int, constraints: Constraints) -> None:
        self.spared: set[CandidateId] = set()
        self.is_cut = False
        self._store = store
        self._device = device
        self._seed = seed
        self._constraints = constraints

    def sent(
        self, scored: Iterable[Candidate], generation: int, known: Estimates, least: Least, at_most: int | None = None
    ) -> Iterator[Candidate]:
        """Those to measure, in order, each as soon as it has its score; at least one, so that a search gets on."""
        decided = self._store.routes(self._device, generation)
        again: dict[CandidateId, Route] = {}  # kept together: a replay has hundreds
        last: Candidate | None = None
        sent = 0
        for candidate in scored:
            if candidate.failure is not None:
                continue
            route = decided.get(candidate.id) or self._route(candidate, known, least(candidate.genome))
            is_sent = route in (Route.SENT, Route.AUDITED)
            if is_sent and sent == at_most:
                self.is_cut = True
                break
            if candidate.id in decided:
                again[candidate.id] = route
            else:
                self._store.save_routes(self._device, generation, {candidate.id: route})
            if is_sent:
                sent += 1
                yield candidate
            else:
                self.spared.add(candidate.id)
                last = candidate
        self._store.save_routes(self._device, generation, again)
        if sent == 0 and last is not None:
            self._store.save_routes(self._device, generation, {last.id: Route.SENT})
            self.spared.remove(last.id)
            yield last

    def _route(self, candidate: Candidate, known: Estimates, least: tuple[float, ...] | None) -> Route:
        assert candidate.accuracy is not None, "it was scored"
        minimum = self._constraints.min_accuracy
        if minimum is not None and candidate.accuracy < minimum:
            return Route.BELOW  # nothing is left to be wrong about
        if least is None or not self._is_hopeless(candidate, known, least):
            return Route.SENT
        drawn = random.Random(f"{self._seed}/{self._device}/{candidate.id}").random()
        return Route.AUDITED if drawn < AUDITED_SHARE else Route.SPARED

    def _is_hopeless(self, candidate: Candidate, known: Estimates, least: tuple[float, ...]) -> bool:
        assert candidate.accuracy is not None
        costs = (1 - candidate.accuracy, *least[1:])
        if any(all(a <= b for a, b in zip(e.costs, costs, strict=True)) for e in known.feasible):
            return True
        error, latency_s, *energy_j = (costs[0], *map(math.exp, costs[1:]))
        best = Estimate(
            candidate=candidate.id, error=error, latency_s=latency_s, energy_j=energy_j[0] if energy_j else None
        )
        return not self._constraints.allow(best)
