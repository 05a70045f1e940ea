"""What the agent tells systemd (sd_notify(3)): that it serves, how it is, that it ends, and that it is alive.

Without a service manager that listens, nothing is told.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections.abc import Callable, Mapping

__all__ = ["Watchdog", "notify", "watchdog_interval_s"]

log = logging.getLogger(__name__)


def notify(*lines: str, environment: Mapping[str, str] = os.environ) -> None:
    """Each line is one assignment, as "READY=1". A service manager that does not take it is none of our trouble."""
    address = environment.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return
    if address.startswith("@"):
        address = "\0" + address[1:]  # an abstract socket
    text = "\n".join(line.replace("\n", " ") for line in lines)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
        try:
            channel.sendto(text.encode(), address)
        except OSError as error:
            log.warning("systemd was not told %s: %s", lines[0], error.strerror)


def watchdog_interval_s(environment: Mapping[str, str] = os.environ) -> float | None:
    """How long the service manager waits for a sign of life; None: it does not wait for any from this process."""
    told = environment.get("WATCHDOG_USEC", "")
    if not told.isdigit() or int(told) == 0 or environment.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    return int(told) / 1e6


class Watchdog:
    """Tells systemd that the agent is alive as long as `is_alive`, asked twice in each interval, says so.

    An agent that hangs is thereby restarted by systemd. `is_alive` must return within a quarter of the interval.
    """

    def __init__(self, interval_s: float, is_alive: Callable[[], bool]) -> None:
        self._period_s = interval_s / 2
        self._is_alive = is_alive
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        while True:
            if self._is_alive():
                notify("WATCHDOG=1")
            else:
                log.warning("the server does not answer its own health check")
            if self._ended.wait(self._period_s):
                return
