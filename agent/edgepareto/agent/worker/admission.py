"""The worker's end of a connection that the system's service manager accepted: what may be started by it.

The agent's first line is the worker's argv, and with it comes the file that takes the worker's stderr, for the agent to
quote its last words. The answer is the process id, because the kernel only knows the listener's (SO_PEERCRED).
"""

from __future__ import annotations

import json
import os
import socket
from array import array

from edgepareto.agent.errors import AgentError

__all__ = ["WORKER_MODULE", "NotAdmitted", "take_request"]

WORKER_MODULE = "edgepareto.agent.worker"
LONGEST_REQUEST = 16384  # bytes
_STDERR = 2


class NotAdmitted(AgentError):
    """What came is no request for a worker, or its agent is gone."""


def take_request(stdin: int = 0, stdout: int = 1) -> list[str]:
    """The arguments for the worker. From here on stderr is the agent's file. Raises NotAdmitted."""
    with socket.socket(fileno=os.dup(stdin)) as connection:
        line = _first_line(connection)
    try:
        request = json.loads(line)
    except ValueError as error:
        raise NotAdmitted(f"the first line is not JSON: {error}") from error
    argv = request.get("argv") if isinstance(request, dict) else None
    if not isinstance(argv, list) or not all(isinstance(argument, str) for argument in argv):
        raise NotAdmitted('the first line is not {"argv": [text, ...]}')
    _write(stdout, json.dumps({"pid": os.getpid()}).encode() + b"\n")
    return argv


def _first_line(connection: socket.socket) -> bytes:
    """Byte by byte, because what follows is read by others."""
    line = bytearray()
    while not line.endswith(b"\n"):
        data, ancillary, _, _ = connection.recvmsg(1, socket.CMSG_SPACE(array("i").itemsize))
        for level, kind, content in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                (received,) = array("i", content)
                os.dup2(received, _STDERR)
                os.close(received)
        if not data:
            raise NotAdmitted("the connection ended before its first line")
        line += data
        if len(line) > LONGEST_REQUEST:
            raise NotAdmitted(f"the first line has more than {LONGEST_REQUEST} bytes")
    return bytes(line)


def _write(stdout: int, data: bytes) -> None:
    with os.fdopen(os.dup(stdout), "wb") as file:
        file.write(data)
