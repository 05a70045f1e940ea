"""Who may use the board: one owner at a time, for as long as it renews, and who waits for it.

RPC liveness is no proof of a living host, so a lease ends by time, and a place in the queue with the asking. Time is
always the real monotonic clock.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from edgepareto.agent.errors import LeaseError, RequestError

__all__ = ["LONGEST_TTL_S", "Grant", "Holder", "LeaseBook", "Owner"]

LONGEST_TTL_S = 600  # a host that died must not block a board for longer
FORGOTTEN_AFTER_S = 6.0  # a waiting host asks every 2 s
LONGEST_QUEUE = 64
PLACES_OF_ONE = 8  # certificate: more than a person's searches, and no host fills the queue with names that it invents
BARRED_S = 30.0  # who was unlocked must not win the race for the board that was freed from it


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """name: in words, as the host tells it. fingerprint: of its certificate; "" where there are no credentials.

    Two are the same owner where both are the same: a name alone could be claimed by anyone.
    """

    name: str
    fingerprint: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """Who holds the board, for how long unless it renews, and how many others wait for it."""

    owner: Owner
    expires_in_s: float
    waiting: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """The answer to acquire and renew.

    Not granted: `owner` holds the board, or is next to hold it, for `expires_in_s` more (None: nobody), and lease_id is
    empty. queue_position: 1 is next; None for who does not wait. unlocked_by: who ended the asker's lease just now.
    """

    granted: bool
    lease_id: str = ""
    owner: Owner | None = None
    expires_in_s: float = 0.0
    queue_position: int | None = None
    unlocked_by: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Lease:
    id: str
    owner: Owner
    expires_at_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Unlocked:
    """The lease that was ended, and until when its owner gets no other."""

    lease: _Lease
    by: str
    until_s: float


class LeaseBook:
    """The board's one lease and the queue for it. Thread-safe; nothing here waits but for on_held and on_free.

    A lease id is void for any other fingerprint than its owner's: who has seen one can do nothing with it.

    on_held: called before a free board's lease is granted. on_free: when it was released, unlocked, has expired (then
    by a thread of its own, without any call) or `close` ends it. The two alternate; a lease that goes on or changes
    hands without a gap calls neither.
    """

    def __init__(
        self,
        now_s: Callable[[], float] = time.monotonic,
        *,
        on_held: Callable[[], None] | None = None,
        on_free: Callable[[], None] | None = None,
    ) -> None:
        self._now_s = now_s
        self._on_held = on_held
        self._on_free = on_free
        self._lock = threading.Lock()
        self._lease: _Lease | None = None
        self._queue: dict[Owner, float] = {}  # first in line first: when each asked last
        self._unlocked: _Unlocked | None = None
        self._is_held = False  # on_held was called and on_free not since
        self._watch: threading.Timer | None = None

    def acquire(self, owner: Owner, ttl_s: float, *, wait: bool = False) -> Grant:
        """A free board goes to the first in line, the caller's own lease to the caller at once, under a new id; the old
        id is void then. wait: not granted, keep a place in line for who asks again within FORGOTTEN_AFTER_S."""
        if not owner.name:
            raise RequestError("a lease needs an owner; seen an empty name")
        with self._lock:
            held = self._current()
            self._forget_who_left()
            unlocked = self._unlocked
            if unlocked is not None and unlocked.lease.owner == owner and unlocked.until_s > self._now_s():
                return self._refusal(held, len(self._queue) + 1 if wait else None, unlocked.by)
            is_mine = held.owner == owner if held is not None else self._next() in (None, owner)
            if is_mine:
                grant = self._grant(secrets.token_hex(16), owner, ttl_s)
                self._queue.pop(owner, None)
                return grant
            return self._refusal(held, self._place_of(owner) if wait else None)

    def renew(self, lease_id: str, fingerprint: str, ttl_s: float) -> Grant:
        """Not granted where this id is void or expired: acquire again."""
        with self._lock:
            held = self._current()
            if held is not None and _opens(held, lease_id, fingerprint):
                return self._grant(held.id, held.owner, ttl_s)
            return self._refusal(held, None, self._unlocked_by(lease_id, fingerprint))

    def release(self, lease_id: str, fingerprint: str) -> None:
        """Releasing what is not held changes nothing."""
        with self._lock:
            if self._lease is not None and _opens(self._lease, lease_id, fingerprint):
                self._free()

    def unlock(self, by: str) -> Holder | None:
        """End the lease, whoever holds it, and give its owner none for BARRED_S. None: nobody held it."""
        with self._lock:
            ended = self._current()
            if ended is None:
                return None
            holder = self._holder(ended)
            self._unlocked = _Unlocked(lease=ended, by=by, until_s=self._now_s() + BARRED_S)
            self._free()
            return holder

    def holder(self) -> Holder | None:
        """Who holds the board now; None: it is free."""
        with self._lock:
            held = self._current()
            return None if held is None else self._holder(held)

    def close(self) -> None:
        """End the lease that is held, whoever holds it. No lease is asked for any more."""
        with self._lock:
            self._free()

    def owner_of(self, lease_id: str, fingerprint: str) -> Owner:
        """The owner of a lease that is held now. Raises LeaseError."""
        with self._lock:
            held = self._current()
            if held is not None and _opens(held, lease_id, fingerprint):
                return held.owner
            by = self._unlocked_by(lease_id, fingerprint)
        why = "it expired or was taken over" if by is None else f"unlocked by {by}"
        holder = "nobody" if held is None else f"{held.owner.name} for {held.expires_at_s - self._now_s():.0f} s more"
        raise LeaseError(f"this lease is not held any more ({why}); the board is held by {holder}")

    def is_held_by(self, owner: Owner) -> bool:
        with self._lock:
            held = self._current()
            return held is not None and held.owner == owner

    def _current(self) -> _Lease | None:
        if self._lease is not None and self._lease.expires_at_s <= self._now_s():
            self._lease = None
        return self._lease

    def _grant(self, lease_id: str, owner: Owner, ttl_s: float) -> Grant:
        if not 0 < ttl_s <= LONGEST_TTL_S:
            raise RequestError(f"a lease lasts more than 0 and at most {LONGEST_TTL_S} s; asked for {ttl_s:g} s")
        if not self._is_held:
            self._is_held = True
            if self._on_held is not None:
                self._on_held()  # takes its time, so the lease begins after it
        self._lease = _Lease(id=lease_id, owner=owner, expires_at_s=self._now_s() + ttl_s)
        if self._on_free is not None:
            self._watch_for(ttl_s)
        return Grant(granted=True, lease_id=lease_id, owner=owner, expires_in_s=float(ttl_s))

    def _refusal(self, held: _Lease | None, position: int | None, unlocked_by: str | None = None) -> Grant:
        """The board is held, or free for the first in line, or free for nobody that we know of."""
        owner = self._next() if held is None else held.owner
        until_s = self._now_s()
        if held is not None:
            until_s = held.expires_at_s
        elif owner is not None:
            until_s = self._queue[owner] + FORGOTTEN_AFTER_S
        return Grant(
            granted=False,
            owner=owner,
            expires_in_s=until_s - self._now_s(),
            queue_position=position,
            unlocked_by=unlocked_by,
        )

    def _holder(self, held: _Lease) -> Holder:
        self._forget_who_left()
        return Holder(owner=held.owner, expires_in_s=held.expires_at_s - self._now_s(), waiting=len(self._queue))

    def _place_of(self, owner: Owner) -> int:
        """Its place in line, kept from now on; one behind the last where the queue, or its share of it, is full."""
        has_room = len(self._queue) < LONGEST_QUEUE and self._places_of(owner.fingerprint) < PLACES_OF_ONE
        if owner in self._queue or has_room:
            self._queue[owner] = self._now_s()
        return [*self._queue, owner].index(owner) + 1

    def _places_of(self, fingerprint: str) -> int:
        return sum(owner.fingerprint == fingerprint for owner in self._queue)

    def _next(self) -> Owner | None:
        return next(iter(self._queue), None)

    def _forget_who_left(self) -> None:
        left = self._now_s() - FORGOTTEN_AFTER_S
        self._queue = {owner: asked_s for owner, asked_s in self._queue.items() if asked_s > left}

    def _unlocked_by(self, lease_id: str, fingerprint: str) -> str | None:
        unlocked = self._unlocked
        return unlocked.by if unlocked is not None and _opens(unlocked.lease, lease_id, fingerprint) else None

    def _free(self) -> None:
        self._lease = None
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        if self._is_held:
            self._is_held = False
            if self._on_free is not None:
                self._on_free()

    def _watch_for(self, seconds: float) -> None:
        """Expiry is otherwise only noticed by the next call, which may never come."""
        if self._watch is not None:
            self._watch.cancel()
        self._watch = threading.Timer(seconds, self._look_for_expiry)
        self._watch.name = "lease"
        self._watch.daemon = True
        self._watch.start()

    def _look_for_expiry(self) -> None:
        with self._lock:
            if threading.current_thread() is not self._watch:
                return  # renewed, or released and granted anew, while this thread waited for the lock
            held = self._current()
            if held is None:
                self._free()
            else:
                self._watch_for(held.expires_at_s - self._now_s())


def _opens(lease: _Lease, lease_id: str, fingerprint: str) -> bool:
    return secrets.compare_digest(lease.id.encode(), lease_id.encode()) and lease.owner.fingerprint == fingerprint
