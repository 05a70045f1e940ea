"""One owner at a time, for as long as it renews."""

from __future__ import annotations

import pytest
from edgepareto.agent.errors import LeaseError, RequestError
from edgepareto.agent.lease import LeaseBook


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
