"""The host makes and scores candidates while the boards measure, and no board waits for another's measurements.

Neither a batch nor an order depends on who is ready first, so `serially` gives the same rows; it is what the pipeline
is compared with.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from edgepareto.host.domain import MAXIMUM_BATCH, CandidateId, Genome, Recipe
from edgepareto.host.study.device_course import DeviceCourse, Wanted
from edgepareto.host.study.workshop import Workshop

__all__ = ["Follow", "pipelined", "serially"]

LOOK_EVERY_S = 1.0  # whether a board that others wait for has vanished meanwhile

Follow = Callable[[Workshop, ThreadPoolExecutor, Sequence[DeviceCourse]], None]


@dataclass(eq=False, slots=True, kw_only=True)
class _Leg:
    """What a device has to do before it can be asked again. board: None before the device is at it."""

    course: DeviceCourse
    names: Sequence[CandidateId]
    work: Callable[[], None]
    board: Future[None] | None = None


def pipelined(workshop: Workshop, threads: ThreadPoolExecutor, courses: Sequence[DeviceCourse]) -> None:
    """Follow every device to its end. Raises at once what ended a device or the preparation.

    Devices whose numbers the host's own work would spoil measure alone, one after the other and the host at rest: then
    all the others wait, but for a real board that has vanished and is looked for, which nobody waits for.
    """
    _follow(workshop, threads, courses, scores_first=False)


def serially(workshop: Workshop, threads: ThreadPoolExecutor, courses: Sequence[DeviceCourse]) -> None:
    """As `pipelined`, with nothing measured before everything that was begun is made and scored."""
    _follow(workshop, threads, courses, scores_first=True)


def _follow(
    workshop: Workshop, threads: ThreadPoolExecutor, courses: Sequence[DeviceCourse], *, scores_first: bool
) -> None:
    idle = list(courses)
    alone: list[_Leg] = []
    legs: list[_Leg] = []
    watched: set[Future[None]] = set()
    while True:
        if not alone:
            for leg in _begun(workshop, idle):
                (alone if leg.course.device.computes_on_the_host else legs).append(leg)
            idle = []
            if scores_first:
                workshop.wait()
            for leg in legs:
                leg.board = leg.board or threads.submit(leg.work)
                watched.add(leg.board)
            watched |= workshop.in_work
        if not alone and not legs:
            return
        if alone and not workshop.in_work and all(leg.course.device.is_out_of_the_way for leg in legs):
            leg = alone.pop(0)
            threads.submit(leg.work).result()
            leg.course.settle()
            idle.append(leg.course)
            continue
        done, watched = wait(watched, LOOK_EVERY_S if alone else None, FIRST_COMPLETED)
        for future in done:
            with suppress(CancelledError):  # forgotten
                future.result()
        if not alone and all(leg.board is not None and leg.board.done() for leg in legs):
            _forget_what_nobody_needs(workshop, courses)
        for leg in [leg for leg in legs if _is_over(leg, workshop)]:
            legs.remove(leg)
            leg.course.settle()
            idle.append(leg.course)


def _begun(workshop: Workshop, courses: Sequence[DeviceCourse]) -> Iterator[_Leg]:
    """The next legs of those that are not at their end."""
    asked = [(course, wanted) for course in courses if (wanted := course.ask()) is not None]
    for genome, recipe, is_awaited in _first_batches_first([wanted for _, wanted in asked]):
        workshop.begin([genome], recipe, is_awaited=is_awaited)
    for course, wanted in asked:
        names = [name for recipe in wanted.recipes for name in workshop.begin(wanted.genomes, recipe)]
        planned = course.plan(names)
        if planned:
            ready = workshop.scored(planned) if wanted.is_awaited else workshop.made(planned)
            yield _Leg(course=course, names=names, work=partial(course.measure, ready))


def _first_batches_first(asked: Sequence[Wanted]) -> Iterator[tuple[Genome, Recipe, bool]]:
    """Every device's first batch, then every one's second: no board waits for another's."""
    each = [[(g, recipe, wanted.is_awaited) for recipe in wanted.recipes for g in wanted.genomes] for wanted in asked]
    for start in range(0, max(map(len, each), default=0), MAXIMUM_BATCH):
        for one in each:
            yield from one[start : start + MAXIMUM_BATCH]


def _is_over(leg: _Leg, workshop: Workshop) -> bool:
    return leg.board is not None and leg.board.done() and workshop.is_settled(leg.names)


def _forget_what_nobody_needs(workshop: Workshop, courses: Sequence[DeviceCourse]) -> None:
    """Where all are lost or out of time what was measured is worth its score, the rest is not worth making."""
    devices = [course.device for course in courses]
    if not any(device.is_searching for device in devices):
        workshop.forget(frozenset().union(*(device.batches.by_candidate for device in devices)))
