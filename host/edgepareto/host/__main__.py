"""The command `host`: one place turns our errors into one line and an exit code.

0 done, 1 failed, 2 wrong use, 130 after Ctrl-C or SIGTERM. Results go to stdout, the line to stderr. `--debug` adds
the traceback.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
import threading
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING

from edgepareto.host.errors import EdgeParetoError

if TYPE_CHECKING:
    from edgepareto.host.cli import Session

__all__ = ["main"]

FAILED, INTERRUPTED = 1, 130
# Before numpy is loaded: OpenBLAS gives other bits with two threads, and a resumed search must give the same.
ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line, sys.argv's by default; returns the exit code."""
    for variable in ONE_THREAD:
        os.environ[variable] = "1"
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # read when it is imported; what it logs, our one line tells
    try:
        from edgepareto.host.cli import Session, run
    except ModuleNotFoundError as error:
        return _tell(f"{error.name} is not installed; pip install 'edgepareto[host]'", FAILED)
    session = Session()
    try:
        with _terminated_as_by_ctrl_c():
            code = run(sys.argv[1:] if arguments is None else arguments, session)
        sys.stdout.flush()
    except EdgeParetoError as error:
        return _tell(str(error), error.exit_code, debug=session.debug)
    except KeyboardInterrupt:
        return _tell(_interruption(session), INTERRUPTED, debug=session.debug)
    except BrokenPipeError:  # the reader of our output has gone: `host front | head -1`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except OSError as error:
        return _tell(_os_message(error), FAILED, debug=session.debug)
    except Exception as error:  # noqa: BLE001  the last resort of the command, no traceback for a user
        kind = type(error).__name__
        hint = "this is a mistake of ours, please report it with what the same command prints with --debug"
        return _tell(f"unexpected {kind}: {error}; {hint}", FAILED, debug=session.debug)
    if code == INTERRUPTED:  # typer turns Ctrl-C into this code on its own
        return _tell(_interruption(session), INTERRUPTED)
    return code


@contextmanager
def _terminated_as_by_ctrl_c() -> Iterator[None]:
    """SIGTERM ends the command in order, so that its boards are free at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:
        on_ctrl_c = signal.getsignal(signal.SIGINT)
        if callable(on_ctrl_c):
            on_ctrl_c(number, frame)
        else:  # a shell's background job ignores Ctrl-C
            raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _tell(message: str, code: int, *, debug: bool = False) -> int:
    if debug:
        traceback.print_exc()
    line = " ".join(message.split())
    # What a board, a card or a project's file says must not steer the terminal.
    sys.stderr.write(f"host: {''.join(letter if letter.isprintable() else '?' for letter in line)}\n")
    return code


def _interruption(session: Session) -> str:
    return "interrupted; go on with --resume" if session.can_resume else "interrupted"


def _os_message(error: OSError) -> str:
    where = f"{error.filename}: " if error.filename else ""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"{where}the disk is full; make room and run it again (a search with --resume, its batches are kept)"
    return f"{where}{error.strerror or error}"


if __name__ == "__main__":
    sys.exit(main())
