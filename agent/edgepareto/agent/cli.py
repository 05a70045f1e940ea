"""The command `edgepareto-agent`: settings -> board -> server, until it is told to end."""

from __future__ import annotations

import ctypes
import json
import logging
import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from edgepareto.agent import wire
from edgepareto.agent.clock import SystemClock
from edgepareto.agent.device_info import DeviceInfo, agent_version, boot_id_of, installed_runtimes, read_device_info
from edgepareto.agent.errors import ConfigError
from edgepareto.agent.power.power_meter import MeterDescription, MeterQuality
from edgepareto.agent.profiling import profile_batch
from edgepareto.agent.profiling.board import Board, MeterSetting
from edgepareto.agent.server import AgentServer, checked_address, holding_state
from edgepareto.agent.settings import AgentSettings, read_settings

__all__ = ["run"]

PR_SET_PDEATHSIG = 1  # prctl(2)
PARENT_ENDED = signal.SIGUSR1
END_DEADLINE_S = 20.0  # after which the process ends whatever hangs
METER_TEST_S = 10.0
ROOT = Path("/")


def run(arguments: Sequence[str]) -> int:
    """Serve until a signal, or the parent's end, says so. Returns the exit code. Raises AgentError."""
    settings = read_settings(arguments)
    if settings.list_meters:
        return _print_meters()
    checked_address(settings.listen)
    ending = _Ending(settings.die_with_parent)
    with holding_state(settings.state):
        board, info = _simulated(settings) if settings.simulate else _real(settings)
        device = wire.Device(info=info, meter=None if board.meter is None else _tested(board.meter, board.simulation))
        server = AgentServer(
            device=device,
            board=board,
            state=settings.state,
            profile_batch=profile_batch,
            blob_quota_bytes=settings.blob_quota_bytes,
        )
        listening = server.start(settings.listen)
        sys.stdout.write(json.dumps({"listening": listening, "board": info.board}) + "\n")
        sys.stdout.flush()
        code = ending.wait()
        last_resort = threading.Timer(END_DEADLINE_S, os._exit, (1,))
        last_resort.daemon = True
        last_resort.start()
        server.stop()
    return code


def _real(settings: AgentSettings) -> tuple[Board, DeviceInfo]:
    info = read_device_info(ROOT, default_threads=settings.threads, shares_host_cores=settings.local)
    board = Board(
        clock=SystemClock(),
        sys_root=ROOT,
        meter=settings.meter,
        default_threads=settings.threads,
        shared=settings.shared,
    )
    return board, info


def _simulated(settings: AgentSettings) -> tuple[Board, DeviceInfo]:
    from edgepareto.agent.simulation.board import create_board

    assert settings.simulate is not None
    folder = settings.state / "board"
    simulated = create_board(settings.simulate, folder, seed=settings.seed, faults=settings.faults, pace=settings.pace)
    device = simulated.device
    info = DeviceInfo(
        agent_version=agent_version(),
        board_id=device.board_id,
        boot_id=device.boot_id,
        board=device.board,
        simulated=True,
        architecture=device.architecture,
        os=device.os,
        cpu_count=device.cpu_count,
        memory_bytes=device.memory_bytes,
        runtimes=installed_runtimes(),
        default_threads=device.default_threads,
        shares_host_cores=False,  # its time is virtual: the host's load does not reach its numbers
        profile_note=device.note,
        host_boot_id=boot_id_of(ROOT),
    )
    board = Board(
        clock=simulated.clock,
        sys_root=folder / "sys",
        meter=settings.meter or (MeterSetting(kind="ina219") if device.has_meter else None),
        default_threads=device.default_threads,
        shared=False,
        simulation=folder,
    )
    return board, info


def _tested(meter: MeterSetting, board: Path | None) -> MeterDescription:
    """What the sampler says of the meter after its self-test. A meter that cannot be used carries its fault."""
    command = [sys.executable, "-m", "edgepareto.agent.power.sampler", "--meter", meter.kind, "--bus", str(meter.bus)]
    command += ["--address", str(meter.address), "--shunt-ohm", str(meter.shunt_ohm)]
    command += [] if board is None else ["--board", str(board)]
    unusable = MeterDescription(kind=meter.kind, quality=MeterQuality.MEASURED, address=meter.address)
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=METER_TEST_S, check=False
        )
    except subprocess.TimeoutExpired:
        return replace(unusable, fault=f"the self-test did not end within {METER_TEST_S:g} s")
    first, _, _ = done.stdout.partition("\n")
    try:
        answer = json.loads(first)
    except ValueError:
        last_words = done.stderr.strip().rpartition("\n")[2] or f"exit code {done.returncode}"
        return replace(unusable, fault=f"the sampler did not start: {last_words}")
    if not answer["ready"]:
        return replace(unusable, fault=f"{answer['status']}: {answer['message']}")
    fields = dict(answer["meter"])
    return MeterDescription(**{**fields, "quality": MeterQuality(fields["quality"])})


class _Ending:
    """Waits for what ends the agent: SIGTERM, SIGINT, and with die_with_parent a closed stdin or the parent's end.

    Both of the latter, because a process forked by the host may keep the other end of stdin open, and because the kernel's
    signal is bound to the parent's *thread* that started us (prctl(2), PR_SET_PDEATHSIG): it is heeded only when the
    parent's process is gone.
    """

    def __init__(self, die_with_parent: bool) -> None:
        self._parent = os.getppid()
        self._wake, wake_write = os.pipe()
        os.set_blocking(wake_write, False)
        signal.set_wakeup_fd(wake_write)
        self._watched = [self._wake]
        for number in (signal.SIGTERM, signal.SIGINT, PARENT_ENDED):
            signal.signal(number, lambda *_: None)
        if die_with_parent:
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, PARENT_ENDED)
            self._watched.append(sys.stdin.fileno())

    def wait(self) -> int:
        """The exit code: 130 after Ctrl-C, else 0."""
        while True:
            ready, _, _ = select.select(self._watched, [], [])
            if self._wake in ready:
                number = os.read(self._wake, 1)[0]
                if number != PARENT_ENDED or os.getppid() != self._parent:
                    return 130 if number == signal.SIGINT else 0
            elif not os.read(sys.stdin.fileno(), 4096):
                return 0
