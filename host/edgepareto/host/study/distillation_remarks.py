"""What a reader of a front must know of its distilled members, from stored rows alone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from edgepareto.host.domain import Candidate, CandidateId, Estimate
from edgepareto.host.study.estimates import Estimates

__all__ = ["distillation_remarks"]

Candidates = Mapping[CandidateId, Candidate]


def distillation_remarks(estimates: Estimates, members: Sequence[Estimate], candidates: Candidates) -> Iterator[str]:
    """One line each: which members are distilled, which finalists are not and why, and who runs at another speed than
    what it was distilled from, though every shape is the same."""
    distilled = [member.candidate for member in members if candidates[member.candidate].recipe.is_distilled]
    if distilled:
        yield f"{len(distilled)} of {len(members)} front members are distilled: {', '.join(distilled)}"
    here = {candidates[name].genome for name in estimates.measurements}
    failed: dict[str, list[CandidateId]] = defaultdict(list)
    for candidate in candidates.values():
        if candidate.recipe.is_distilled and candidate.failure is not None and candidate.genome in here:
            failed[candidate.failure].append(candidate.id)
    for reason, names in failed.items():
        yield f"{len(names)} finalist{'s have' if len(names) > 1 else ' has'} no distilled version: {reason}"
    yield from _other_speeds(estimates, candidates)


def _other_speeds(estimates: Estimates, candidates: Candidates) -> Iterator[str]:
    limit = estimates.limits.latency
    measured = [candidates[name] for name in estimates.measurements]
    plain = {(c.genome, c.recipe): c.id for c in measured if not c.recipe.is_distilled}
    for candidate in measured:
        twin = plain.get((candidate.genome, candidate.recipe.undistilled)) if candidate.recipe.is_distilled else None
        if twin is None or not limit:
            continue
        mine, theirs = (estimates.measurements[name].latency_s for name in (candidate.id, twin))
        ratio = mine.value / theirs.value
        if max(ratio, 1 / ratio) > 1 + limit and (mine.low > theirs.high or mine.high < theirs.low):
            yield (
                f"{candidate.id} was distilled from {twin}, has the same shapes and takes {ratio:.3f} times as long, "
                f"allowed is {1 + limit:.3f}: measure both again with host remeasure"
            )
