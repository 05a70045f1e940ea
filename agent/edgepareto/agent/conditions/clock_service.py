"""The one program of a board that runs as root: sets a clock mode out of a list for as long as the agent wants it.

Started by systemd for each connection of the agent (edgepareto-clocks@.service), with the connection as its input. It
takes one line, "modes" or "set NAME", of at most 64 bytes. NAME must stand in a list that is root's alone; what it then
writes is decided by clock_modes.py and never by what came. When the connection ends, whatever ended the agent, all is
put back; where this program itself was killed, its next start, or --restore by the unit, does that.
"""

from __future__ import annotations

import argparse
import fcntl
import logging
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from edgepareto.agent.conditions.clock_modes import MODE_NAME, ClockModes
from edgepareto.agent.conditions.clock_setters import OwnSetter
from edgepareto.agent.errors import ClockError

__all__ = ["allowed_modes", "main"]

LONGEST_REQUEST_BYTES = 64
REQUEST_S = 10.0
WAIT_S = 5.0  # for an earlier one that still puts back
LONGEST_LIST_BYTES = 4096

log = logging.getLogger(__name__)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description="Sets a clock mode for the agent at its standard input. Run by systemd."
    )
    parser.add_argument("--allowed", type=Path, required=True, help="the modes, one a line; root's alone")
    parser.add_argument("--saved", type=Path, required=True, help="where it is kept what to put back")
    parser.add_argument("--sys-root", type=Path, default=Path("/"))
    parser.add_argument("--restore", action="store_true", help="only put back what a killed one left")
    told = parser.parse_args(arguments)
    logging.basicConfig(stream=sys.stderr, format="edgepareto-clocks: %(message)s")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    setter = OwnSetter(told.sys_root, told.saved)
    if told.restore:
        with suppress(ClockError), _alone(told.saved, wait_s=0.0):  # who serves already has put back first
            setter.release()
        return 0
    with socket.socket(fileno=os.dup(0)) as channel:
        try:
            with _alone(told.saved):
                setter.release()
                _serve(channel, told.sys_root, told.allowed, setter)
        except ClockError as error:
            log.warning("%s", error)
            _say(channel, f"refused {' '.join(str(error).split())}")
            return 1
    return 0


def allowed_modes(path: Path) -> tuple[str, ...]:
    """The list that is root's alone. Raises ClockError where it is not, or cannot be read."""
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            data = file.read(LONGEST_LIST_BYTES)
    except OSError as error:
        raise ClockError(f"{path} cannot be read: {error.strerror}; host deploy writes it") from error
    if status.st_uid not in (0, os.geteuid()) or status.st_mode & 0o022:
        raise ClockError(f"{path} must belong to root and be writable by root alone; it allows nothing as it is")
    names = data.decode("ascii", errors="replace").split("\n")
    return tuple(name for name in names if MODE_NAME.fullmatch(name))


def _serve(channel: socket.socket, root: Path, allowed: Path, setter: OwnSetter) -> None:
    """Raises ClockError for what it will not do."""
    request = _request(channel)
    names = allowed_modes(allowed)
    if request == "modes":
        _say(channel, " ".join(("ok", *names)))
        return
    verb, _, name = request.partition(" ")
    if verb != "set" or name not in names:
        raise ClockError(
            f"{request[:LONGEST_REQUEST_BYTES]!r} is not allowed; allowed are {', '.join(names) or 'none'}"
        )
    modes = ClockModes(root, names, setter)
    try:
        modes.set(name)
        deviation = modes.deviation()
        if deviation is not None:
            raise ClockError(f"clock mode {name} was not taken: {deviation}")
        _say(channel, "ok")
        _wait_for_end(channel)
    finally:
        modes.release()
    _say(channel, "restored")


def _request(channel: socket.socket) -> str:
    data = b""
    deadline_s = time.monotonic() + REQUEST_S
    while not data.endswith(b"\n"):
        ready, _, _ = select.select([channel], [], [], max(0.0, deadline_s - time.monotonic()))
        piece = channel.recv(LONGEST_REQUEST_BYTES + 1 - len(data)) if ready else b""
        data += piece
        if not piece or len(data) > LONGEST_REQUEST_BYTES:
            raise ClockError(f"what came is no request: one line of at most {LONGEST_REQUEST_BYTES} bytes is")
    return data.decode("ascii", errors="replace").rstrip("\n")


def _wait_for_end(channel: socket.socket) -> None:
    """Of the connection. More than was asked ends it as well."""
    select.select([channel], [], [])


def _say(channel: socket.socket, line: str) -> None:
    try:
        channel.sendall(f"{line}\n".encode())
    except OSError as error:
        log.info("the agent did not hear %s: %s", line, error.strerror)


@contextmanager
def _alone(saved: Path, *, wait_s: float = WAIT_S) -> Iterator[None]:
    """One at a time. Raises ClockError."""
    with saved.with_name("lock").open("w") as lock:
        deadline_s = time.monotonic() + wait_s
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if time.monotonic() > deadline_s:
                    raise ClockError("the clocks are being set for another agent; one at a time") from error
                time.sleep(0.05)
        yield


if __name__ == "__main__":
    sys.exit(main())
