"""One owner at a time, for as long as it renews."""

from __future__ import annotations

import threading
import time

import pytest
from edgepareto.agent.errors import LeaseError, RequestError
from edgepareto.agent.lease import LeaseBook

DEADLINE_S = 10


class Hand:
    """A clock moved by hand, in seconds."""

    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def test_a_held_board_is_refused_to_another_owner_with_the_holders_name_and_time_left():
    hand = Hand()
    book = LeaseBook(hand)
    book.acquire("ann", 30)
    hand.now_s += 10
    refusal = book.acquire("bob", 30)
    assert (refusal.granted, refusal.lease_id, refusal.owner, refusal.expires_in_s) == (False, "", "ann", 20.0)


def test_the_same_owner_takes_its_own_lease_over_at_once_and_the_old_id_is_void():
    book = LeaseBook(Hand())
    old = book.acquire("ann", 30)
    new = book.acquire("ann", 30)
    assert new.granted
    assert book.owner_of(new.lease_id) == "ann"
    with pytest.raises(LeaseError, match="held by ann for 30 s more"):
        book.owner_of(old.lease_id)
    assert not book.renew(old.lease_id, 30).granted


def test_a_lease_lasts_until_its_ttl_and_not_longer():
    hand = Hand()
    book = LeaseBook(hand)
    lease = book.acquire("ann", 30)
    hand.now_s += 29.9
    assert book.is_held_by("ann")
    assert book.renew(lease.lease_id, 30).granted
    hand.now_s += 30
    assert not book.is_held_by("ann")
    assert not book.renew(lease.lease_id, 30).granted
    assert book.acquire("bob", 30).granted
    with pytest.raises(LeaseError, match="held by bob"):
        book.owner_of(lease.lease_id)


def test_only_the_holder_releases():
    book = LeaseBook(Hand())
    old = book.acquire("ann", 30)
    new = book.acquire("ann", 30)
    book.release(old.lease_id)
    assert book.is_held_by("ann")
    book.release(new.lease_id)
    assert book.acquire("bob", 30).granted


@pytest.mark.parametrize("ttl_s", [0, -1, 601])
def test_a_lease_that_would_block_the_board_or_never_begin_is_refused(ttl_s: int):
    with pytest.raises(RequestError, match=f"asked for {ttl_s} s"):
        LeaseBook(Hand()).acquire("ann", ttl_s)


class Board:
    """What a lease does to a board, in the order of time."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.free = threading.Event()

    def on_held(self) -> None:
        self.said.append("held")

    def on_free(self) -> None:
        self.said.append("free")
        self.free.set()

    def book(self, hand: Hand | None = None) -> LeaseBook:
        return LeaseBook(hand or time.monotonic, on_held=self.on_held, on_free=self.on_free)


def test_a_board_is_held_before_its_lease_is_granted_and_free_when_it_was_released():
    board = Board()
    book = board.book()
    lease = book.acquire("ann", 30)
    assert board.said == ["held"]
    book.renew(lease.lease_id, 30)
    book.acquire("ann", 30)
    book.release(lease.lease_id)
    assert board.said == ["held"]
    book.release(book.acquire("ann", 30).lease_id)
    assert board.said == ["held", "free"]
    book.acquire("bob", 30)
    book.close()
    book.close()
    assert board.said == ["held", "free", "held", "free"]


def test_a_lease_that_expires_frees_the_board_without_any_call():
    board = Board()
    book = board.book()
    lease = book.acquire("ann", 30)
    assert book.renew(lease.lease_id, 0.01).granted
    assert board.free.wait(DEADLINE_S)
    assert board.said == ["held", "free"]
    assert book.acquire("bob", 30).granted
    assert board.said == ["held", "free", "held"]
    book.close()


def test_a_board_that_changes_hands_at_the_moment_of_expiry_stays_as_it_is():
    hand = Hand()
    board = Board()
    book = board.book(hand)
    book.acquire("ann", 30)
    hand.now_s += 31
    book.acquire("bob", 30)
    assert board.said == ["held"]
    book.close()
    assert board.said == ["held", "free"]


def test_a_refused_lease_does_nothing_to_the_board():
    board = Board()
    book = board.book()
    with pytest.raises(RequestError):
        book.acquire("ann", 601)
    assert board.said == []
