"""One owner at a time, for as long as it renews."""

from __future__ import annotations

import threading
import time

import pytest
from edgepareto.agent.errors import LeaseError, RequestError
from edgepareto.agent.lease import Grant, Holder, LeaseBook, Owner

DEADLINE_S = 10
CERTIFICATE = "ab" * 32
ANN, BOB, EVE = (Owner(name=name, fingerprint=CERTIFICATE) for name in ("ann@desk study", "bob@desk study", "eve"))


class Hand:
    """A clock moved by hand, in seconds."""

    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def test_a_held_board_is_refused_to_another_owner_with_the_holders_name_and_time_left():
    hand = Hand()
    book = LeaseBook(hand)
    book.acquire(ANN, 30)
    hand.now_s += 10
    refusal = book.acquire(BOB, 30)
    assert refusal == Grant(granted=False, owner=ANN, expires_in_s=20.0)


def test_the_same_owner_takes_its_own_lease_over_at_once_and_the_old_id_is_void():
    book = LeaseBook(Hand())
    old = book.acquire(ANN, 30)
    new = book.acquire(ANN, 30)
    assert new.granted
    assert book.owner_of(new.lease_id, CERTIFICATE) == ANN
    with pytest.raises(LeaseError, match="held by ann@desk study for 30 s more"):
        book.owner_of(old.lease_id, CERTIFICATE)
    assert not book.renew(old.lease_id, CERTIFICATE, 30).granted


def test_a_lease_lasts_until_its_ttl_and_not_longer():
    hand = Hand()
    book = LeaseBook(hand)
    lease = book.acquire(ANN, 30)
    hand.now_s += 29.9
    assert book.is_held_by(ANN)
    assert book.renew(lease.lease_id, CERTIFICATE, 30).granted
    hand.now_s += 30
    assert not book.is_held_by(ANN)
    assert not book.renew(lease.lease_id, CERTIFICATE, 30).granted
    assert book.acquire(BOB, 30).granted
    with pytest.raises(LeaseError, match="held by bob@desk study"):
        book.owner_of(lease.lease_id, CERTIFICATE)


def test_only_the_holder_releases():
    book = LeaseBook(Hand())
    old = book.acquire(ANN, 30)
    new = book.acquire(ANN, 30)
    book.release(old.lease_id, CERTIFICATE)
    assert book.is_held_by(ANN)
    book.release(new.lease_id, CERTIFICATE)
    assert book.acquire(BOB, 30).granted


@pytest.mark.parametrize("ttl_s", [0, -1, 601])
def test_a_lease_that_would_block_the_board_or_never_begin_is_refused(ttl_s: int):
    with pytest.raises(RequestError, match=f"asked for {ttl_s} s"):
        LeaseBook(Hand()).acquire(ANN, ttl_s)


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
    lease = book.acquire(ANN, 30)
    assert board.said == ["held"]
    book.renew(lease.lease_id, CERTIFICATE, 30)
    book.acquire(ANN, 30)
    book.release(lease.lease_id, CERTIFICATE)
    assert board.said == ["held"]
    book.release(book.acquire(ANN, 30).lease_id, CERTIFICATE)
    assert board.said == ["held", "free"]
    book.acquire(BOB, 30)
    book.close()
    book.close()
    assert board.said == ["held", "free", "held", "free"]


def test_a_lease_that_expires_frees_the_board_without_any_call():
    board = Board()
    book = board.book()
    lease = book.acquire(ANN, 30)
    assert book.renew(lease.lease_id, CERTIFICATE, 0.01).granted
    assert board.free.wait(DEADLINE_S)
    assert board.said == ["held", "free"]
    assert book.acquire(BOB, 30).granted
    assert board.said == ["held", "free", "held"]
    book.close()


def test_a_board_that_changes_hands_at_the_moment_of_expiry_stays_as_it_is():
    hand = Hand()
    board = Board()
    book = board.book(hand)
    book.acquire(ANN, 30)
    hand.now_s += 31
    book.acquire(BOB, 30)
    assert board.said == ["held"]
    book.close()
    assert board.said == ["held", "free"]


def test_a_refused_lease_does_nothing_to_the_board():
    board = Board()
    book = board.book()
    with pytest.raises(RequestError):
        book.acquire(ANN, 601)
    assert board.said == []


def test_a_lease_id_of_another_certificate_is_void_in_every_call():
    thief = "cd" * 32
    book = LeaseBook(Hand())
    lease = book.acquire(ANN, 30)
    assert not book.renew(lease.lease_id, thief, 30).granted
    book.release(lease.lease_id, thief)
    with pytest.raises(LeaseError, match="this lease is not held"):
        book.owner_of(lease.lease_id, thief)
    assert book.owner_of(lease.lease_id, CERTIFICATE) == ANN


def test_the_same_name_under_another_certificate_is_another_owner():
    book = LeaseBook(Hand())
    book.acquire(ANN, 30)
    assert not book.acquire(Owner(name=ANN.name, fingerprint="cd" * 32), 30).granted


def test_a_freed_board_goes_to_the_first_in_line_only_and_each_is_told_its_place():
    book = LeaseBook(Hand())
    lease = book.acquire(ANN, 30)
    assert [book.acquire(owner, 30, wait=True).queue_position for owner in (BOB, EVE, BOB)] == [1, 2, 1]
    book.release(lease.lease_id, CERTIFICATE)
    assert book.acquire(EVE, 30, wait=True) == Grant(granted=False, owner=BOB, expires_in_s=6.0, queue_position=2)
    assert not book.acquire(ANN, 30).granted
    assert book.acquire(BOB, 30, wait=True).granted
    assert book.acquire(EVE, 30, wait=True).queue_position == 1


def test_who_stops_asking_loses_its_place():
    hand = Hand()
    book = LeaseBook(hand)
    book.acquire(ANN, 10)
    book.acquire(BOB, 30, wait=True)
    hand.now_s += 4
    book.acquire(EVE, 30, wait=True)
    assert book.holder() == Holder(owner=ANN, expires_in_s=6.0, waiting=2)
    hand.now_s += 2
    assert book.acquire(EVE, 30, wait=True).queue_position == 1
    hand.now_s += 4
    assert book.holder() is None
    assert book.acquire(EVE, 30, wait=True).granted


def test_one_certificate_has_eight_places_in_line_whatever_names_it_invents():
    book = LeaseBook(Hand())
    lease = book.acquire(ANN, 30)
    crowd = [Owner(name=f"eve{i}", fingerprint="ee" * 32) for i in range(70)]
    places = [book.acquire(owner, 30, wait=True).queue_position for owner in crowd]
    assert places == [*range(1, 9), *[9] * 62]
    assert book.acquire(BOB, 30, wait=True).queue_position == 9
    book.release(lease.lease_id, CERTIFICATE)
    assert book.acquire(crowd[0], 30, wait=True).granted
    assert [book.acquire(one, 30, wait=True).queue_position for one in (crowd[8], BOB)] == [9, 8]


def test_the_queue_is_bounded_and_its_last_places_are_told_as_one():
    book = LeaseBook(Hand())
    book.acquire(ANN, 30)
    crowd = [Owner(name="host", fingerprint=f"{i:064x}") for i in range(70)]
    places = [book.acquire(owner, 30, wait=True).queue_position for owner in crowd]
    assert places == [*range(1, 65), *[65] * 6]
    holder = book.holder()
    assert holder is not None
    assert holder.waiting == 64


def test_who_was_unlocked_is_told_by_whom_and_gets_the_board_back_only_after_a_while():
    hand = Hand()
    board = Board()
    book = board.book(hand)
    lease = book.acquire(ANN, 30)
    assert book.unlock("bob@desk") == Holder(owner=ANN, expires_in_s=30.0, waiting=0)
    assert (book.unlock("bob@desk"), board.said) == (None, ["held", "free"])
    assert book.renew(lease.lease_id, CERTIFICATE, 30) == Grant(granted=False, unlocked_by="bob@desk")
    with pytest.raises(LeaseError, match=r"\(unlocked by bob@desk\); the board is held by nobody"):
        book.owner_of(lease.lease_id, CERTIFICATE)
    refused = book.acquire(ANN, 30, wait=True)
    assert (refused.granted, refused.unlocked_by, refused.queue_position) == (False, "bob@desk", 1)
    book.release(book.acquire(BOB, 30).lease_id, CERTIFICATE)
    hand.now_s += 30
    assert book.acquire(ANN, 30).granted
    book.close()
