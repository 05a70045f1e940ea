from __future__ import annotations

from dataclasses import replace

from edgepareto.host.domain import Candidate, CandidateId, Constraints, Genome, Recipe
from edgepareto.host.study.distillation_remarks import distillation_remarks
from edgepareto.host.study.estimates import estimate_all
from fakes.jobs import job

PLAIN = Recipe(images=1024)
DISTILLED = replace(PLAIN, distil_steps=200)
DENSE = "dense"


def candidate(name: str, width: int, recipe: Recipe, accuracy: float | None, failure: str | None = None) -> Candidate:
    return Candidate(
        id=CandidateId(name), genome=Genome(widths=(width,)), recipe=recipe, accuracy=accuracy, failure=failure
    )


def remarks(latencies_s: dict[str, tuple[float, float]], *found: Candidate) -> list[str]:
    """latencies_s: of two jobs each."""
    candidates = {one.id: one for one in (candidate(DENSE, 16, PLAIN, 0.95), *found)}
    jobs = [
        job(seconds, name, half_s=1e-5, is_anchor=name == DENSE)
        for name, pair in latencies_s.items()
        for seconds in pair
    ]
    estimates = estimate_all(jobs, candidates, energy=None, constraints=Constraints())
    return list(distillation_remarks(estimates, estimates.front(candidates), candidates))


def test_a_front_tells_which_members_are_distilled_and_why_others_are_not():
    pruned, better = candidate("plain", 8, PLAIN, 0.8), candidate("better", 8, DISTILLED, 0.85)
    other, odd = candidate("other", 4, PLAIN, 0.7), candidate("odd", 4, DISTILLED, None, "not distilled: no operator X")
    elsewhere = candidate("elsewhere", 2, DISTILLED, None, "not distilled: of another device")
    latencies = {
        DENSE: (0.0100, 0.0101),
        "plain": (0.0050, 0.0051),
        "better": (0.0051, 0.0050),
        "other": (0.003, 0.003),
    }
    assert remarks(latencies, pruned, better, other, odd, elsewhere) == [
        "1 of 3 front members are distilled: better",
        "1 finalist has no distilled version: not distilled: no operator X",
    ]


def test_a_distilled_version_that_runs_at_another_speed_is_told():
    pruned, slower = candidate("plain", 8, PLAIN, 0.8), candidate("slower", 8, DISTILLED, 0.85)
    latencies = {DENSE: (0.0100, 0.0101), "plain": (0.0050, 0.0051), "slower": (0.0070, 0.0070)}
    *_, told = remarks(latencies, pruned, slower)
    assert told.startswith(
        "slower was distilled from plain, has the same shapes and takes 1.386 times as long, allowed"
    )
    assert not any(
        "times as long" in line for line in remarks({**latencies, "slower": (0.0050, 0.0051)}, pruned, slower)
    )
