"""What cannot enter the front is not measured: decided by a candidate's own score and what the models are sure of."""

from __future__ import annotations

import math
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from edgepareto.host.domain import (
    Candidate,
    CandidateId,
    Constraints,
    DeviceName,
    Estimate,
    Genome,
    Recipe,
    Repeatability,
)
from edgepareto.host.store import Route, StudyStore
from edgepareto.host.study import read_fronts, run_study
from edgepareto.host.study.estimates import Estimates
from edgepareto.host.study.routing import Router
from fakes.fake_fleet import FakeDevice, connecting

if TYPE_CHECKING:
    from conftest import Bench

PI = DeviceName("pi1")
FRONT = Estimates(
    limits=Repeatability(latency=0.01, energy=0.02, anchor_jobs=3, repeats=9),
    measurements={},
    objectives={},
    feasible=(Estimate(candidate=CandidateId("front"), error=0.1, latency_s=2e-3, energy_j=None),),
)


def scored(number: int, error: float) -> Candidate:
    genome, name = Genome(widths=(number,)), CandidateId(f"{number:012x}")
    return Candidate(id=name, genome=genome, recipe=Recipe(), accuracy=1 - error, model_sha256="f" * 64)


def at_least(latency_s: float) -> tuple[float, ...]:
    return (0.0, math.log(latency_s))  # the models' own idea of the error, which nobody needs once there is a score


@pytest.mark.parametrize(
    ("error", "least", "limits", "is_sent"),
    [
        (0.11, at_least(2.1e-3), Constraints(), False),
        (0.11, at_least(1.9e-3), Constraints(), True),  # it may be faster than the front
        (0.09, at_least(2.1e-3), Constraints(), True),  # it is better
        (0.11, None, Constraints(), True),  # nobody knows
        (0.09, at_least(1e-3), Constraints(min_accuracy=0.92), False),
        (0.09, at_least(3.1e-3), Constraints(max_latency_s=3e-3), False),
        (0.09, at_least(2.9e-3), Constraints(max_latency_s=3e-3), True),
    ],
)
def test_only_what_is_hopeless_at_its_best_is_spared(
    tmp_path: Path, error: float, least: tuple[float, ...] | None, limits: Constraints, is_sent: bool
) -> None:
    one, sure = scored(1, error), scored(2, 0.01)
    with StudyStore.open_for_search(tmp_path) as store:
        router = Router(store, PI, 0, limits)
        sent = list(router.sent([one, sure], 1, FRONT, lambda g: least if g == one.genome else at_least(1e-3)))
        assert sent == ([one, sure] if is_sent else [sure])
        assert router.spared == (set() if is_sent else {one.id})


def test_one_in_twenty_of_what_is_hopeless_is_measured_to_see_and_a_replay_draws_the_same(tmp_path: Path) -> None:
    hopeless = [scored(number, 0.5) for number in range(1, 1001)]
    with StudyStore.open_for_search(tmp_path) as store:
        first = list(Router(store, PI, 7, Constraints()).sent(hopeless, 1, FRONT, lambda genome: at_least(1.0)))
        assert 20 < len(first) < 80
        # Another machine rounds otherwise and would send all: what was decided stands.
        again = list(Router(store, PI, 8, Constraints()).sent(hopeless, 1, FRONT, lambda genome: at_least(1e-9)))
        assert again == first
        routes = store.taken_routes(PI)
    assert [name for name, route in routes if route is Route.AUDITED] == [c.id for c in first]


def test_a_generation_without_hope_still_measures_one(tmp_path: Path) -> None:
    hopeless = [scored(number, 0.5) for number in (1, 2, 3)]
    with StudyStore.open_for_search(tmp_path) as store:
        router = Router(store, PI, 7, Constraints())
        assert list(router.sent(hopeless, 1, FRONT, lambda genome: at_least(1.0))) == hopeless[2:]
        assert router.spared == {hopeless[0].id, hopeless[1].id}


def test_what_a_study_spares_costs_no_budget_is_told_and_stays_when_it_is_replayed(bench: Bench) -> None:
    config = bench.but("pi1", measurements=22, population=6, constraints=Constraints(max_latency_s=2e-4))

    def run() -> FakeDevice:
        device = FakeDevice(name="pi1")
        run_study(config, resume=True, listener=bench.events.append, connect=connecting(device))
        return device

    run()
    front = read_fronts(config.study).devices[0]
    assert front.sparing is not None
    assert front.sparing.candidates > 0
    with sqlite3.connect(config.study / "study.sqlite") as file:
        spared = {row[0] for row in file.execute("SELECT candidate FROM routes WHERE route = 'spared'")}
        searched = {
            row[0]
            for row in file.execute("SELECT candidate FROM traces JOIN batches USING (request_key) WHERE round > 0")
        }
        file.execute("DELETE FROM batches WHERE number > 3")  # as if it had been stopped there
        file.execute("DELETE FROM traces WHERE request_key NOT IN (SELECT request_key FROM batches)")
        file.execute("UPDATE devices SET record = replace(record, 'complete', 'running')")
    assert len(spared) == front.sparing.candidates
    assert not spared & searched
    assert front.measured == 22
    assert run().asked
    assert read_fronts(config.study).devices[0] == front
