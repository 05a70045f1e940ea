"""Whose fault it is that a batch has no numbers."""

from __future__ import annotations

from dataclasses import replace

import pytest
from edgepareto.host.domain import Job, Status, reduce_trace
from edgepareto.host.study.verdict import board_fault, why_void
from fakes.jobs import TRACE

OK, OOM, HOT, DRIFT, CRASH = Status.OK, Status.OOM, Status.TOO_HOT, Status.ANCHOR_DRIFT, Status.WORKER_CRASHED


def batch(*statuses: Status) -> list[Job]:
    """The anchor's job first."""
    return [reduce_trace(replace(TRACE, status=status, is_anchor=i == 0)) for i, status in enumerate(statuses)]


@pytest.mark.parametrize(
    ("statuses", "is_void"),
    [
        ((OK, OK, OK), False),
        ((OK, HOT, HOT), False),  # the anchor vouches for the board: these candidates heat it
        ((OK,), False),
        ((HOT, HOT, HOT), True),
        ((HOT,), True),
        ((HOT, OOM, HOT), True),
        ((OOM, DRIFT, DRIFT), True),  # nothing vouches for the board
        ((CRASH, DRIFT), True),
        ((OOM, OK), False),
        ((OOM, OOM), False),
        ((OOM,), False),  # the model itself
    ],
)
def test_a_batch_is_void_where_nothing_was_measured_for_no_fault_of_the_candidates(statuses, is_void: bool):
    jobs = batch(*statuses)
    assert board_fault(jobs) is (jobs[0] if is_void else None)


def test_every_condition_that_voids_comes_with_something_to_do_and_is_told_it_once():
    conditions = (
        *(Status.THROTTLED, Status.UNDERVOLTAGE, Status.TOO_HOT),
        *(Status.CONTENDED, Status.ANCHOR_DRIFT, Status.WRONG_PROVIDER, Status.WRONG_CLOCK),
    )
    for status in conditions:
        silent, advising = (
            reduce_trace(replace(TRACE, status=status, message=message))
            for message in ("the supply sagged", "the supply sagged; buy another")
        )
        assert why_void(silent, advised=True).startswith(f"{status.value} the supply sagged; ")
        assert why_void(silent) == f"{status.value} the supply sagged"
        assert why_void(advising, advised=True) == f"{status.value} the supply sagged; buy another"
