"""The real agent's command on a simulated board, with credentials and on TCP, as it stands on a board."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
from edgepareto.profiler.v1 import profiler_pb2_grpc
from fakes.certificates import BOARD_NAME, Authority, Certificate, write_credentials

__all__ = ["SecuredAgent", "dial", "profiler", "secured_agent"]

DEADLINE_S = 30
SILENCED = {"GRPC_VERBOSITY": "NONE"}  # as a host sets it for itself and for all that it starts


@dataclass
class SecuredAgent:
    """credentials: its folder; log: what it wrote to stderr, a file; ann: the owner whose hosts may use it."""

    process: subprocess.Popen[str]
    address: str
    credentials: Path
    state: Path
    log: Path
    ann: Authority

    def log_lines(self) -> list[str]:
        """Without their times."""
        return [" ".join(line.split()[2:]) for line in self.log.read_text().splitlines()]

    def resident_bytes(self) -> int:
        status = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmRSS:"))


@contextmanager
def secured_agent(
    folder: Path, *more_owners: Authority, toml: str = "", environment: dict[str, str] | None = None
) -> Iterator[SecuredAgent]:
    """Ends it in order, as systemd does."""
    ann = Authority()
    owners = {"ann": ann, **{f"owner{place}": owner for place, owner in enumerate(more_owners)}}
    credentials = write_credentials(folder / "credentials", ann.board(), owners)
    config, log, state = folder / "agent.toml", folder / "log", folder / "state"
    config.write_text(f'listen = "127.0.0.1:0"\nstate = "{state}"\n{toml}\n[credentials]\nfolder = "{credentials}"\n')
    command = [sys.executable, "-m", "edgepareto.agent", "--simulate", "raspberry-pi-4b", "--config", str(config)]
    with log.open("w") as stderr:
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            env={**os.environ, **SILENCED, **(environment or {})},
        )
    try:
        assert process.stdout is not None
        first = process.stdout.readline()
        assert first, log.read_text()
        yield SecuredAgent(process, json.loads(first)["listening"], credentials, state, log, ann)
    finally:
        process.terminate()
        process.communicate(timeout=DEADLINE_S)


@contextmanager
def dial(
    address: str, trusted: Authority, shown: Certificate | None, *, name: str = BOARD_NAME
) -> Iterator[grpc.Channel]:
    """shown None: no certificate of our own."""
    mine = () if shown is None else (shown.key, shown.certificate)
    credentials = grpc.ssl_channel_credentials(trusted.certificate, *mine)
    options = (("grpc.ssl_target_name_override", name), ("grpc.use_local_subchannel_pool", 1))
    with grpc.secure_channel(address, credentials, options=options) as channel:
        yield channel


def profiler(channel: grpc.Channel) -> profiler_pb2_grpc.ProfilerStub:
    return profiler_pb2_grpc.ProfilerStub(channel)
