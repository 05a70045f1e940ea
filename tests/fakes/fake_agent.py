"""An agent whose server, blobs and journal are the real ones and whose measuring is fake; also as a process of its own.

python fake_agent.py ADDRESS STATE HOLD     is held in its batch while the file HOLD exists
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from edgepareto.agent.clock import SystemClock
from edgepareto.agent.credentials import CredentialFolder
from edgepareto.agent.device_info import DeviceInfo, InstalledRuntime
from edgepareto.agent.profiling.board import Board
from edgepareto.agent.server import AgentServer
from edgepareto.agent.wire import Device
from fakes.measuring import METER, FakeMeasuring, hold_while

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
    runtimes=(InstalledRuntime(name="onnxruntime", version="1.23", providers=("CPUExecutionProvider",)),),
    default_threads=1,
    shares_host_cores=True,
    profile_note="made up",
    host_boot_id="boot-of-the-host",
    fixes_clocks=True,
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
) -> AgentServer:
    return AgentServer(
        device=device,
        board=BOARD,
        state=state,
        profile_batch=measuring,
        blob_quota_bytes=blob_quota_bytes,
        credentials=credentials,
    )


def main(address: str, state: str, hold: str) -> None:
    measuring = FakeMeasuring(held=hold_while(Path(hold)))
    server = fake_server(Path(state), measuring)
    sys.stdout.write(json.dumps({"listening": server.start(address)}) + "\n")
    sys.stdout.flush()
    for line in sys.stdin:  # asks what was measured; ends with stdin
        assert line.strip() == "measured"
        sys.stdout.write(json.dumps(measuring.measured) + "\n")
        sys.stdout.flush()
    server.stop()


if __name__ == "__main__":
    main(*sys.argv[1:])
