"""Wheels for a board, fetched by this machine's pip."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from edgepareto.host.deploy.board_platform import BoardPlatform
from edgepareto.host.errors import DeployError

__all__ = ["download_wheels"]

HEED_S = 0.2
NO_NETWORK = re.compile(r"NewConnectionError|Failed to establish|Name or service not known|Temporary failure in name|"
                        r"Max retries exceeded|ProxyError|ConnectTimeout", re.IGNORECASE)  # fmt: skip
NOT_FOUND = re.compile(r"No matching distribution found for (.+)")
CONFLICT = re.compile(r"Cannot install (.+) because these package versions have conflicting dependencies")


def download_wheels(board: BoardPlatform, requirements: Sequence[str], pool: Path, heed: Callable[[], None]) -> None:
    """Raises DeployError, in one line, for whatever keeps pip from it."""
    if importlib.util.find_spec("pip") is None:
        raise DeployError(
            f"the environment of {sys.executable} has no pip, which fetches the board's packages; install it there "
            "(uv pip install pip, pipx inject edgepareto pip), or give all wheels with --wheelhouse DIR"
        )
    command = [
        sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-input",
        "--only-binary=:all:", "--dest", str(pool), "--find-links", str(pool),
        "--implementation", "cp", "--python-version", board.python_text,
        "--abi", board.interpreter, "--abi", "abi3", "--abi", "none",
    ]  # fmt: skip
    for platform in (*board.platforms, f"linux_{board.architecture}"):
        command += ["--platform", platform]
    with subprocess.Popen(
        [*command, *requirements],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as pip:
        try:
            while True:
                with suppress(subprocess.TimeoutExpired):
                    told = pip.communicate(timeout=HEED_S)[1]
                    break
                heed()
        except BaseException:
            pip.kill()
            raise
    if pip.returncode != 0:
        raise DeployError(_pip_problem(told, board))


def _pip_problem(told: str, board: BoardPlatform) -> str:
    if NO_NETWORK.search(told):
        return (
            "the board's packages are not in the cache and the package index cannot be reached from this machine; "
            "connect it once, or give all wheels with --wheelhouse DIR"
        )
    match = NOT_FOUND.search(told)
    if match is not None:
        return (
            f"no wheel of {match.group(1).strip()} for {board.architecture}, Python {board.python_text}, glibc "
            f"{board.glibc[0]}.{board.glibc[1]}; give one with --wheelhouse DIR"
        )
    match = CONFLICT.search(told)
    if match is not None:
        return (
            f"the board's packages do not go together: {match.group(1).strip()}; "
            "change or leave out what --wheelhouse gives of them"
        )
    last = next((line for line in reversed(told.splitlines()) if line.startswith("ERROR")), "no reason given")
    return f"the board's packages cannot be fetched: {last.removeprefix('ERROR:').strip()}"
