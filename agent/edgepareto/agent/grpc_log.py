"""What gRPC has to say, in the agent's log and in a form that can be read: above all why a TLS handshake failed.

gRPC tells neither side: the host sees "Socket closed", the agent nothing at all. Its C core writes the reason to file
descriptor 2 and nowhere else, so inside `readable` that descriptor is a pipe; what is no line of gRPC's passes as it
is. For each connection that failed the log has one line:

    WARNING refused a connection: REASON

where REASON is a value of REASONS, or the TLS library's own words. Hosts look for "refused a connection: "
(`host devices check`). The same reason comes at most once in QUIET_S; the next such line then ends with how many it
stands for, as in "refused a connection: it did not speak TLS (12 times)". No line holds a key or a certificate. gRPC
does not say who called.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["REASONS", "RefusalLog", "readable"]

QUIET_S = 10.0
MOST_REASONS = 32  # each is one key in memory, and a stranger could make gRPC invent more
LONGEST_LINE = 4096
LONGEST_REASON = 160

# A piece of what BoringSSL says -> what it means here. The first that fits counts.
REASONS = {
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": "it showed no certificate",
    "unable to get local issuer certificate": "its certificate is from no owner in the owners folder",
    "self-signed certificate": "its certificate is from no owner in the owners folder",
    "self signed certificate": "its certificate is from no owner in the owners folder",  # as BoringSSL spells it
    "certificate signature failure": "its certificate is from no owner in the owners folder",
    "unsupported certificate purpose": "its certificate is not made for a host (a board's own?)",
    "certificate has expired": "its certificate has expired",
    "certificate is not yet valid": "its certificate is not yet valid by this board's clock",
    "WRONG_VERSION_NUMBER": "it did not speak TLS",
    "HTTP_REQUEST": "it did not speak TLS",
    "NO_SHARED_CIPHER": "it shares no cipher with this agent",
    "UNSUPPORTED_PROTOCOL": "it speaks no TLS version that this agent takes",
}
# absl's prefix: severity, date, time, thread, place in the source. Older releases write seconds for the date.
_GRPC_LINE = re.compile(rb"^[IWEF]\d{4} \d\d:\d\d:[\d.]+ +\d+ [\w./]+:\d+\] +(?P<text>.*)$")
_GRPC_PREAMBLE = b"WARNING: All log messages before absl::InitializeLog() is called are written to STDERR"
_END = b"\0 end of refusals\n"
_HANDSHAKE = re.compile(r"Handshake failed with (?:fatal )?error \w+: (?:error:[0-9a-f]+:)?(?P<why>.*)")

log = logging.getLogger(__name__)


class RefusalLog:
    """Failed handshakes -> lines of the log. One thread."""

    def __init__(self, now_s: Callable[[], float] = time.monotonic) -> None:
        self._now_s = now_s
        self._told_s: dict[str, float] = {}
        self._untold: dict[str, int] = {}

    def take(self, line: bytes) -> bool:
        """Whether the line was gRPC's; what is worth telling of it, the log has."""
        if line.startswith(_GRPC_PREAMBLE):
            return True
        match = _GRPC_LINE.match(line)
        if match is None:
            return False
        handshake = _HANDSHAKE.match(match["text"].decode(errors="replace"))
        if handshake is not None:
            self._tell(_reason(handshake["why"]))
            return True
        return line[:1] in b"IW"  # errors of gRPC's pass as they are

    def _tell(self, reason: str) -> None:
        if reason not in self._told_s and len(self._told_s) >= MOST_REASONS:
            reason = "other reasons"
        count = self._untold.get(reason, 0) + 1
        now_s = self._now_s()
        if now_s - self._told_s.get(reason, now_s - QUIET_S) < QUIET_S:
            self._untold[reason] = count
            return
        self._told_s[reason] = now_s
        self._untold.pop(reason, None)
        log.warning("refused a connection: %s%s", reason, f" ({count} times)" if count > 1 else "")


@contextmanager
def readable() -> Iterator[None]:
    """Inside the block the log tells why connections are refused. One block per process at a time."""
    sys.stderr.flush()
    terminal = os.dup(2)
    reading, writing = os.pipe()
    with os.fdopen(terminal, "w", buffering=1) as stderr:
        # The log itself must not take the way through the pipe: its reader logs.
        moved = [h for h in logging.getLogger().handlers if isinstance(h, logging.StreamHandler)]
        moved = [handler for handler in moved if handler.stream is sys.stderr]
        for handler in moved:
            handler.setStream(stderr)
        os.dup2(writing, 2)
        os.close(writing)
        reader = threading.Thread(target=_read, args=(reading, stderr.fileno()), name="grpc log", daemon=True)
        reader.start()
        try:
            yield
        finally:
            sys.stderr.flush()
            os.write(2, _END)  # a child may hold the pipe open for longer
            os.dup2(stderr.fileno(), 2)
            reader.join()
            for handler in moved:
                handler.setStream(sys.stderr)


def _read(pipe: int, terminal: int) -> None:
    refusals = RefusalLog()
    rest = b""
    with os.fdopen(pipe, "rb", buffering=0) as lines:
        while data := lines.read(LONGEST_LINE):
            before, end, _ = (rest + data).partition(_END)
            *whole, rest = before.split(b"\n")
            for line in whole:
                if not refusals.take(line):
                    _pass(line + b"\n", terminal)
            if end or len(rest) > LONGEST_LINE:
                _pass(rest, terminal)
                rest = b""
            if end:
                return


def _pass(line: bytes, terminal: int) -> None:
    """A terminal that is gone must not stop the reader: whoever writes to a full pipe would hang."""
    with contextlib.suppress(OSError):
        os.write(terminal, line)


def _reason(why: str) -> str:
    for piece, reason in REASONS.items():
        if piece in why:
            return reason
    return "".join(c if c.isprintable() else "?" for c in why.rpartition("OPENSSL_internal:")[2][:LONGEST_REASON])
