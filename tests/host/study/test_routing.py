"""What cannot enter the front is not measured: decided by a candidate's own score and what the models are sure of."""

from __future__ import annotations

import math
import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from edgepareto.host.config import StudyConfig
from edgepareto.host.domain import (
    Batch,
    Candidate,
    CandidateId,
    Constraints,
    DeviceName,
    Estimate,
    Genome,
    Recipe,
    Repeatability,
    Sparing,
)
from edgepareto.host.errors import StudyError
from edgepareto.host.store import Route, StudyStore
from edgepareto.host.study import read_fronts, run_study
from edgepareto.host.study.estimates import Estimates
from edgepareto.host.study.fronts import sparing
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
        (0.09, None, Constraints(min_accuracy=0.92), False),  # no model has a say
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


def test_what_is_below_the_minimum_is_never_audited(tmp_path: Path) -> None:
    below, good = [scored(number, 0.5) for number in range(1, 200)], scored(200, 0.01)
    with StudyStore.open_for_search(tmp_path) as store:
        router = Router(store, PI, 7, Constraints(min_accuracy=0.9))
        assert list(router.sent([*below, good], 1, FRONT, lambda genome: at_least(1e-3))) == [good]


def test_a_generation_without_hope_still_measures_one(tmp_path: Path) -> None:
    hopeless = [scored(number, 0.5) for number in (1, 2, 3)]
    with StudyStore.open_for_search(tmp_path) as store:
        router = Router(store, PI, 7, Constraints())
        assert list(router.sent(hopeless, 1, FRONT, lambda genome: at_least(1.0))) == hopeless[2:]
        assert router.spared == {hopeless[0].id, hopeless[1].id}


def searched(bench: Bench, name: str, stop_after: int | None = None, **search: object) -> StudyConfig:
    limits = Constraints(max_latency_s=2e-4)
    config = bench.but("pi1", **{"measurements": 22, "constraints": limits, **search})
    config = replace(config, study=config.study.with_name(name))
    device = FakeDevice(name="pi1")

    def stop(batch: Batch) -> None:
        if stop_after is not None and len(device.asked) > stop_after:
            raise KeyboardInterrupt

    device.on_batch = stop
    run_study(config, resume=True, listener=bench.events.append, connect=connecting(device))
    return config


def rows(config: StudyConfig) -> list[tuple[object, ...]]:
    with sqlite3.connect(config.study / "study.sqlite") as file:
        routes = file.execute("SELECT * FROM routes ORDER BY generation, candidate").fetchall()
        measured = "SELECT round, candidate FROM traces JOIN batches USING (request_key) ORDER BY number, position"
        return [*routes, *file.execute(measured)]


def test_what_a_study_spares_costs_no_budget_and_stays_when_it_is_killed_at_any_batch(bench: Bench) -> None:
    whole = searched(bench, "whole")
    front = read_fronts(whole.study).devices[0]
    assert front.measured == 22
    assert front.sparing is not None
    assert front.sparing.candidates > 0
    spared = {row[2] for row in rows(whole) if "spared" in row}
    assert len(spared) == front.sparing.candidates
    assert not spared & {point.candidate.id for point in (*front.front, *front.others)}
    pieces = None
    for _ in range(30):
        try:
            pieces = searched(bench, "pieces", stop_after=1)
        except KeyboardInterrupt:
            continue
        break
    assert pieces is not None
    assert rows(pieces) == rows(whole)
    assert read_fronts(pieces.study).devices[0] == front


def test_an_audit_counts_once_it_is_measured_and_was_wrong_where_its_genome_is_on_the_front_in_any_version() -> None:
    right, wrong, unmeasured, spared, below = (scored(number, 0.5) for number in (1, 2, 3, 4, 5))
    everyone = {candidate.id: candidate for candidate in (right, wrong, unmeasured, spared, below)}
    routes = [(c.id, Route.AUDITED) for c in (right, wrong, unmeasured)] + [
        (spared.id, Route.SPARED),
        (below.id, Route.BELOW),
    ]
    found = sparing(routes, {right.id, wrong.id}, {wrong.genome}, everyone)
    assert found == Sparing(below=1, candidates=1, audited=2, on_front=1)
    assert sparing([(right.id, Route.SENT)], {right.id}, set(), everyone) is None


def test_a_study_of_before_goes_on_without_sparing_anything(bench: Bench) -> None:
    config = searched(bench, "before", measurements=14)
    with sqlite3.connect(config.study / "study.sqlite") as file:
        file.execute("UPDATE devices SET record = replace(record, '\"spares\": true', '\"spares_once\": true')")
        file.execute("DELETE FROM routes")
    searched(bench, "before", measurements=22)
    front = read_fronts(config.study).devices[0]
    assert (front.measured, front.sparing) == (22, None)


def test_a_study_whose_models_were_repaired_otherwise_is_not_gone_on_with(bench: Bench) -> None:
    config = searched(bench, "repaired", measurements=8)
    with sqlite3.connect(config.study / "study.sqlite") as file:
        file.execute("UPDATE meta SET value = replace(value, '\"recovery\": 2}', '\"recovery\": 1}')")
    with pytest.raises(StudyError, match=r"recovery 1, here 2.*search again under another --study"):
        searched(bench, "repaired", measurements=22)
    assert read_fronts(config.study).devices[0].measured == 8
