"""An agent whose server, blobs and journal are the real ones and whose measuring is fake; also as a process of its own.

python fake_agent.py ADDRESS STATE HOLD [--boot-id ...]     is held in its batch while the file HOLD exists
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from edgepareto.agent import model_store, wire
from edgepareto.agent.clock import SystemClock
from edgepareto.agent.credentials import CredentialFolder
from edgepareto.agent.device_info import DeviceInfo, InstalledRuntime
from edgepareto.agent.errors import MeterStatus
from edgepareto.agent.output_run import ComputeOutputs
from edgepareto.agent.profiling import compute_outputs
from edgepareto.agent.profiling.board import Board
from edgepareto.agent.server import AgentServer
from edgepareto.agent.wire import Device
from fakes.measuring import METER, FakeMeasuring, hold_while
from fakes.old_agent import speak_protocol

INFO = DeviceInfo(
    agent_version="1.2.3",
    board_id="b0a4d",
    boot_id="boot-1",
    board="fake board",
    simulated=True,
    architecture="aarch64",
    os="Fake OS 1",
    cpu_count=4,
    memory_bytes=4 << 30,
    runtimes=(
        InstalledRuntime(
            name="onnxruntime",
            version="1.23",
            providers=("CPUExecutionProvider",),
            figures={"CPUExecutionProvider": ("fp32", "fp16")},
        ),
    ),
    default_threads=1,
    shares_host_cores=True,
    profile_note="made up",
    host_boot_id="boot-of-the-host",
    fixes_clocks=True,
    clock_modes=("15W", "25W"),
)
DEVICE = Device(info=INFO, meter=METER)
BOARD = Board(clock=SystemClock(), sys_root=Path("/"), meter=None, default_threads=1, shared=True)


def fake_server(
    state: Path,
    measuring: FakeMeasuring,
    *,
    device: Device = DEVICE,
    blob_quota_bytes: int = 64 << 20,
    credentials: CredentialFolder | None = None,
    compute_outputs: ComputeOutputs = compute_outputs,
) -> AgentServer:
    """Outputs are really computed, by a worker on this machine."""
    return AgentServer(
        device=device,
        board=BOARD,
        state=state,
        profile_batch=measuring,
        compute_outputs=compute_outputs,
        blob_quota_bytes=blob_quota_bytes,
        credentials=credentials,
    )


class FakeBoard:
    """What a test can tell an agent's process on its stdin, one command a line; each is answered by one line of JSON.

    measured            the request keys that this process began to measure, in order
    wall-clock SECONDS  the board's clock jumps, as when its battery is empty or the network gives the time
    disk full|free      the disk holds no byte more, or does again
    meter lost          it answers no more
    later SECONDS       so much time passes for leases
    running             whether a batch is being measured
    """

    def __init__(self, measuring: FakeMeasuring, server: AgentServer) -> None:
        self._leases = server._leases
        self._servicer = server._servicer
        self._measuring = measuring
        self._wall_s = time.time

    def obey(self, line: str) -> object:
        command, _, argument = line.strip().partition(" ")
        if command == "measured":
            return self._measuring.measured
        if command == "wall-clock":
            offset_s = float(argument)
            time.time = lambda: self._wall_s() + offset_s
            time.time_ns = lambda: int(time.time() * 1e9)
        elif command == "disk":
            model_store.FREE_DISK_BYTES = 1 << 60 if argument == "full" else 64 << 20
        elif command == "meter":
            self._measuring.meter_status = MeterStatus.IO
        elif command == "later":
            seconds = float(argument)
            self._leases._now_s = lambda: time.monotonic() + seconds
        elif command == "running":
            run = self._servicer._run
            return run is not None and not run.finished
        else:
            raise ValueError(line)
        return "done"


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("address")
    parser.add_argument("state", type=Path)
    parser.add_argument("hold", type=Path)
    parser.add_argument("--boot-id", default=INFO.boot_id)
    parser.add_argument("--board-id", default=INFO.board_id)
    parser.add_argument("--protocol", type=int, default=wire.PROTOCOL_VERSION)
    parser.add_argument("--credentials", type=Path)
    chosen = parser.parse_args(arguments)
    speak_protocol(chosen.protocol)
    info = replace(INFO, boot_id=chosen.boot_id, board_id=chosen.board_id)
    device = replace(DEVICE, info=info, meter=replace(METER, fault=None))
    measuring = FakeMeasuring(held=hold_while(chosen.hold), log=chosen.state / "measured")
    credentials = None if chosen.credentials is None else CredentialFolder(chosen.credentials)
    server = fake_server(chosen.state, measuring, device=device, credentials=credentials)
    board = FakeBoard(measuring, server)
    sys.stdout.write(json.dumps({"listening": server.start(chosen.address)}) + "\n")
    sys.stdout.flush()
    for line in sys.stdin:  # ends with stdin
        sys.stdout.write(json.dumps(board.obey(line)) + "\n")
        sys.stdout.flush()
    server.stop()


if __name__ == "__main__":
    main(sys.argv[1:])
