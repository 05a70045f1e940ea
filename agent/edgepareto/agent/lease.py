"""Who may use the board: one owner at a time, for as long as it renews.

RPC liveness is no proof of a living host, so a lease ends by time. Time is always the real monotonic clock.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from edgepareto.agent.errors import LeaseError, RequestError

__all__ = ["LONGEST_TTL_S", "Grant", "LeaseBook"]

LONGEST_TTL_S = 600  # a host that died must not block a board for longer


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """The answer to acquire and renew. Not granted: `owner` holds it for `expires_in_s` more; lease_id is empty."""

    granted: bool
    lease_id: str
    owner: str
    expires_in_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Lease:
    id: str
    owner: str
    expires_at_s: float


class LeaseBook:
    """The board's one lease. Thread-safe; nothing here waits but for on_held and on_free.

    on_held: called before a free board's lease is granted. on_free: when it was released, has expired (then by a thread
    of its own, without any call) or `close` ends it. The two alternate; a lease that goes on or changes hands without a
    gap calls neither.
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
        self._is_held = False  # on_held was called and on_free not since
        self._watch: threading.Timer | None = None

    def acquire(self, owner: str, ttl_s: float) -> Grant:
        """A free, an expired or the caller's own lease is granted at once, under a new id; the old id is void then."""
        if not owner:
            raise RequestError("a lease needs an owner; seen an empty name")
        with self._lock:
            held = self._current()
            if held is not None and held.owner != owner:
                return self._refusal(held)
            return self._grant(secrets.token_hex(16), owner, ttl_s)

    def renew(self, lease_id: str, ttl_s: float) -> Grant:
        """Not granted where this id is void or expired: acquire again."""
        with self._lock:
            held = self._current()
            if held is None:
                return Grant(granted=False, lease_id="", owner="", expires_in_s=0.0)
            return self._grant(held.id, held.owner, ttl_s) if held.id == lease_id else self._refusal(held)

    def release(self, lease_id: str) -> None:
        """Releasing what is not held changes nothing."""
        with self._lock:
            if self._lease is not None and self._lease.id == lease_id:
                self._free()

    def close(self) -> None:
        """End the lease that is held, whoever holds it. No lease is asked for any more."""
        with self._lock:
            self._free()

    def owner_of(self, lease_id: str) -> str:
        """The owner of a lease that is held now. Raises LeaseError."""
        with self._lock:
            held = self._current()
            if held is not None and held.id == lease_id:
                return held.owner
        holder = "nobody" if held is None else f"{held.owner} for {held.expires_at_s - self._now_s():.0f} s more"
        raise LeaseError(
            f"this lease is not held any more (it expired or was taken over); the board is held by {holder}"
        )

    def is_held_by(self, owner: str) -> bool:
        with self._lock:
            held = self._current()
            return held is not None and held.owner == owner

    def _current(self) -> _Lease | None:
        if self._lease is not None and self._lease.expires_at_s <= self._now_s():
            self._lease = None
        return self._lease

    def _grant(self, lease_id: str, owner: str, ttl_s: float) -> Grant:
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

    def _refusal(self, held: _Lease) -> Grant:
        left_s = held.expires_at_s - self._now_s()
        return Grant(granted=False, lease_id="", owner=held.owner, expires_in_s=left_s)

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
