"""The command `edgepareto-agent`: settings -> board -> server, until it is told to end."""

from __future__ import annotations

import contextlib
import ctypes
import json
import logging
import os
import select
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from edgepareto.agent import grpc_log, systemd
from edgepareto.agent.batch_run import ProfileBatch
from edgepareto.agent.clock import SystemClock
from edgepareto.agent.conditions import ClockFixer, ClockModes, OwnSetter, ServiceSetter, offered_modes
from edgepareto.agent.credentials import CredentialFolder
from edgepareto.agent.device_info import DeviceInfo, agent_version, boot_id_of, installed_runtimes, read_device_info
from edgepareto.agent.engine_store import EngineStore
from edgepareto.agent.errors import ConfigError
from edgepareto.agent.output_run import ComputeOutputs
from edgepareto.agent.power import MeterDescription
from edgepareto.agent.power.discovery import MeterCandidate, find_candidates
from edgepareto.agent.power.registry import describe_fault
from edgepareto.agent.profiling import Board, MeterSetting, compute_outputs, profile_batch
from edgepareto.agent.profiling.meter_survey import best_of, check_meter, none_works, survey, survey_text, tested
from edgepareto.agent.server import AgentServer, checked_address, holding_state
from edgepareto.agent.settings import AUTO_METER, AgentSettings, read_settings
from edgepareto.agent.systemd import Watchdog
from edgepareto.agent.wire import Device
from edgepareto.agent.worker import ServiceSpawn

__all__ = ["run"]

PR_SET_PDEATHSIG = 1  # prctl(2)
PARENT_ENDED = signal.SIGUSR1
END_DEADLINE_S = 20.0  # after which the process ends whatever hangs
ROOT = Path("/")
RAPL = MeterSetting(kind="rapl")

log = logging.getLogger(__name__)


def run(arguments: Sequence[str]) -> int:
    """Serve until a signal, or the parent's end, says so. Returns the exit code. Raises AgentError."""
    settings = read_settings(arguments)
    if settings.list_meters:
        return _print_meters(settings)
    checked_address(settings.listen, secured=settings.credentials is not None)
    credentials = None if settings.credentials is None else CredentialFolder(settings.credentials)
    ending = _Ending(settings.die_with_parent)
    with ExitStack() as stack:
        stack.enter_context(holding_state(settings.state))
        if credentials is not None:
            stack.enter_context(grpc_log.readable())
        board, clocks, device = _simulated(settings, settings.simulate) if settings.simulate else _real(settings)
        server = AgentServer(
            device=device,
            board=board,
            state=settings.state,
            profile_batch=_profile_batch(settings),
            compute_outputs=_compute_outputs(settings),
            blob_quota_bytes=settings.blob_quota_bytes,
            clocks=clocks,
            credentials=None if settings.listen.startswith("unix:") else credentials,
        )
        watch = _self_check(server, stack)
        if device.meter is not None and device.meter.fault is not None:
            log.warning("the power meter cannot be used: %s", device.meter.fault)
        listening = server.start(settings.listen)
        sys.stdout.write(json.dumps({"listening": listening, "board": device.info.board}) + "\n")
        sys.stdout.flush()
        systemd.notify("READY=1", f"STATUS={device.info.board}, listening on {listening}")
        watchdog = None if watch is None else Watchdog(*watch)
        code = ending.wait()
        if watchdog is not None:
            watchdog.stop()  # from here on no answer is no fault
        systemd.notify("STOPPING=1", "STATUS=ending")
        last_resort = threading.Timer(END_DEADLINE_S, os._exit, (1,))
        last_resort.daemon = True
        last_resort.start()
        server.stop()
        if settings.die_with_parent:
            _remove_socket(listening)  # a host that was killed cannot
    return code


def _self_check(server: AgentServer, stack: ExitStack) -> tuple[float, Callable[[], bool]] | None:
    """The service manager's interval, and whether the server answers. None: nobody waits for a sign of life.

    It asks on a socket of its own: over TLS it would need a host's certificate.
    """
    interval_s = systemd.watchdog_interval_s()
    if interval_s is None:
        return None
    folder = Path(stack.enter_context(TemporaryDirectory(prefix="edgepareto-agent-")))
    return interval_s, server.answers_on(folder / "health.sock", timeout_s=interval_s / 4)


def _profile_batch(settings: AgentSettings) -> ProfileBatch:
    """What measures, with its workers started by whom agent.toml says."""
    if settings.workers_socket is None:
        return profile_batch
    return partial(profile_batch, spawn_worker=ServiceSpawn(settings.workers_socket))


def _compute_outputs(settings: AgentSettings) -> ComputeOutputs:
    """By the same."""
    if settings.workers_socket is None:
        return compute_outputs
    return partial(compute_outputs, spawn_worker=ServiceSpawn(settings.workers_socket))


def _clock_modes(
    settings: AgentSettings, sys_root: Path, wanted: Sequence[str]
) -> tuple[ClockModes | None, tuple[str, ...]]:
    """Those that a host may ask for, None where there are none; and a line about each that was wanted and is not."""
    own = OwnSetter(sys_root, settings.state / "clock-mode.json")
    own.release()  # what a killed agent left, also where no mode is allowed any more
    if not wanted:
        return None, ()
    service = settings.clocks.socket
    setter = own if service is None else ServiceSetter(service)
    offered, problems = offered_modes(sys_root, wanted, setter)
    return ClockModes(sys_root, offered, setter) if offered else None, problems


def _clocks(settings: AgentSettings) -> ClockFixer | None:
    """What fixes them. None: nobody allows it, or it cannot be done here, which the log says."""
    fixer = ClockFixer(settings.sys_root, settings.state / "clocks.json", power_mode=settings.clocks.power_mode)
    fixer.restore()  # what a killed agent left, also where fixing is not allowed any more
    if not settings.clocks.fix:
        return None
    obstacle = fixer.obstacle()
    if obstacle is not None:
        log.warning("clocks are not fixed: %s", obstacle)
        return None
    return fixer


def _real(settings: AgentSettings) -> tuple[Board, ClockFixer | None, Device]:
    cores = os.cpu_count() or 1
    if settings.threads > cores:
        raise ConfigError(f"agent.toml: threads is {settings.threads}, wanted 1 to {cores}: this board's cores")
    modes, problems = _clock_modes(settings, settings.sys_root, settings.clocks.modes)
    for problem in problems:
        log.warning("%s", problem)
    clocks = _clocks(settings)  # after the modes: a batch's was set over the fixed clocks
    meter = settings.meter or (RAPL if settings.local else None)
    meter, found = _tested(meter, settings.sys_root)
    if settings.meter is None and found is not None and found.fault is not None:
        meter = found = None  # nobody asked for this one; usual where only root may read the counter
    board = Board(
        clock=SystemClock(),
        sys_root=settings.sys_root,
        meter=meter,
        default_threads=settings.threads,
        shared=settings.shared,
        engines=EngineStore(settings.state / "blobs" / "engines"),
        clock_modes=modes,
    )
    info = read_device_info(
        settings.sys_root,
        default_threads=settings.threads,
        shares_host_cores=settings.local,
        fixes_clocks=clocks is not None,
        clock_modes=() if modes is None else modes.names,
    )
    return board, clocks, Device(info=info, meter=found)


def _simulated(settings: AgentSettings, profile: str) -> tuple[Board, None, Device]:
    from edgepareto.agent.simulation.board import create_board

    simulated = create_board(
        profile, settings.state / "board", seed=settings.seed, faults=settings.faults, pace=settings.pace
    )
    device = simulated.device
    modes, problems = _clock_modes(settings, simulated.sys_root, settings.clocks.modes or device.clock_modes)
    if problems:
        raise ConfigError(f"{profile}: {problems[0]}")
    meter = MeterSetting(kind="ina219") if device.has_meter else None
    board = Board(
        clock=simulated.clock,
        sys_root=simulated.sys_root,
        meter=meter,
        default_threads=device.default_threads,
        shared=False,
        simulation=simulated.folder,
        clock_modes=modes,
    )
    info = DeviceInfo(
        agent_version=agent_version(),
        board_id=device.board_id,
        boot_id=device.boot_id,
        board=device.board,
        simulated=True,
        architecture="simulated",
        os="simulated",
        cpu_count=device.cpu_count,
        memory_bytes=device.memory_bytes,
        # Installed, for the outputs are real; and with figures of this board, which names other providers.
        runtimes=tuple(
            replace(runtime, providers=tuple(device.figures[runtime.name]), figures=device.figures[runtime.name])
            for runtime in installed_runtimes()
            if runtime.name in device.figures
        ),
        default_threads=device.default_threads,
        shares_host_cores=False,  # its time is virtual: the host's load does not reach its numbers
        profile_note=device.note,
        host_boot_id=boot_id_of(ROOT),
        clock_modes=() if modes is None else modes.names,
    )
    found = None if meter is None else check_meter(meter, sys_root=simulated.sys_root, simulation=simulated.folder)
    return board, None, Device(info=info, meter=found)


def _tested(meter: MeterSetting | None, sys_root: Path) -> tuple[MeterSetting | None, MeterDescription | None]:
    """The meter and what its self-test says. "auto" becomes the best that works, or none and the reason."""
    if meter is None or meter.kind != AUTO_METER:
        return meter, None if meter is None else check_meter(meter, sys_root=sys_root, simulation=None)
    readings = tested(_shunted(find_candidates(sys_root), meter), sys_root=sys_root)
    best = best_of(readings)
    if best is not None:
        return best.setting, best.description
    return None, describe_fault(meter, simulated=False, fault=none_works(readings))


def _print_meters(settings: AgentSettings) -> int:
    """What agent.toml names comes as it stands there, in place of what was found at the same place."""
    candidates = find_candidates(settings.sys_root)
    if settings.meter is not None and settings.meter.kind == AUTO_METER:
        candidates = _shunted(candidates, settings.meter)
    elif settings.meter is not None:
        others = [one for one in candidates if _place(one.setting) != _place(settings.meter)]
        candidates = (MeterCandidate(setting=settings.meter), *others)
    readings = survey(candidates, clock=SystemClock(), sys_root=settings.sys_root)
    sys.stdout.write(survey_text(readings))
    return 0


def _shunted(candidates: Sequence[MeterCandidate], told: MeterSetting) -> tuple[MeterCandidate, ...]:
    """With the shunt that agent.toml tells: the kernel assumes one, and a wrong one scales every number."""
    return tuple(
        replace(candidate, setting=replace(candidate.setting, shunt_ohm=told.shunt_ohm)) for candidate in candidates
    )


def _place(meter: MeterSetting) -> tuple[str, int, int]:
    return meter.kind, meter.bus, meter.address


def _remove_socket(listening: str) -> None:
    """And its folder, where nothing else is in it."""
    if listening.startswith("unix:"):
        path = Path(listening.removeprefix("unix:"))
        path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            path.parent.rmdir()


class _Ending:
    """Waits for what ends the agent: SIGTERM, SIGINT, and with die_with_parent a closed stdin or the parent's end.

    Both of the latter: a process forked by the host may keep the other end of stdin open, and the kernel's signal comes
    when the parent's *thread* that started us ends (prctl(2), PR_SET_PDEATHSIG), so it is heeded only when the parent's
    process is gone.
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
