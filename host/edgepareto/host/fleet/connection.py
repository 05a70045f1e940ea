"""From device configurations to connected clients, and back to nothing left behind."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from edgepareto.host.config import DeviceConfig
from edgepareto.host.domain import DeviceInfo, DeviceName
from edgepareto.host.domain.deployment import ON_A_DEVICE
from edgepareto.host.errors import Unfit
from edgepareto.host.fleet.channel import ask_device_info, channel_for, open_channel, open_stub
from edgepareto.host.fleet.lease import WAIT_S, HeldLease
from edgepareto.host.fleet.line import Line
from edgepareto.host.fleet.local_agent import LocalAgent
from edgepareto.host.fleet.patience import SYSTEM_TIME, ServiceTime
from edgepareto.host.fleet.profiler_client import ProfilerClient

__all__ = ["connect", "probe"]

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@contextmanager
def connect(
    devices: Sequence[DeviceConfig],
    *,
    owner: str,
    state: Path | None,
    wait_s: float = WAIT_S,
    tell: Callable[[str], None] = lambda text: None,
    time: ServiceTime = SYSTEM_TIME,
) -> Iterator[dict[DeviceName, ProfilerClient]]:
    """A client per device, its lease held, inside the block; all or none. The devices are dialled side by side.

    owner: who holds the boards, for example "user@machine study"; the same owner takes its own leases over at once.
    state: folder of the embedded agents' blobs and journals, one subfolder each, kept between runs; None:
    a throw-away one. wait_s: in line for a board that another host uses. tell: who that is, a line for the user; any
    thread may call it. Raises Unreachable, Refused, WrongProtocol, DeviceError, ConfigError: the first device's that
    cannot be had, as soon as that is known.
    """
    with ExitStack() as stack:
        # All agents first: they start side by side.
        agents = {device.name: _started(device, state, stack) for device in devices}
        cancelled = threading.Event()

        def opened(device: DeviceConfig, own: ExitStack) -> ProfilerClient:
            return _connected(
                device, agents[device.name], owner, own, wait_s=wait_s, tell=tell, time=time, cancelled=cancelled
            )

        # One stack per device, for a stack is no thread's but its own.
        stacks = [ExitStack() for _ in devices]
        stack.callback(_close_side_by_side, stacks)
        threads = stack.enter_context(ThreadPoolExecutor(max(1, len(devices)), thread_name_prefix="connect"))
        stack.callback(cancelled.set)
        dialled = [threads.submit(opened, *both) for both in zip(devices, stacks, strict=True)]
        done, _ = wait(dialled, return_when=FIRST_EXCEPTION)
        for one in dialled:
            if one in done:
                one.result()
        yield {client.info.name: client for client in (one.result() for one in dialled)}


def probe(device: DeviceConfig, state: Path | None = None) -> DeviceInfo:
    """What a device's agent says of itself, without a lease: also while another host uses it.

    state: folder of an embedded agent; None: a throw-away one. Raises Unreachable, WrongProtocol, DeviceError.
    """
    with ExitStack() as stack:
        agent = _started(device, state, stack)
        target = _target(device, agent)
        channel = channel_for(device) if agent is None else open_channel(target)
        stack.callback(channel.close)
        return ask_device_info(open_stub(channel), DeviceName(device.name), target, host_boot_id=_host_boot_id())


def _started(device: DeviceConfig, state: Path | None, stack: ExitStack) -> LocalAgent | None:
    if device.address is not None:
        return None
    folder = Path(stack.enter_context(TemporaryDirectory(prefix="edgepareto-"))) if state is None else state
    agent = LocalAgent(device, folder / device.name, log_is_kept=state is not None)
    stack.callback(agent.close)
    return agent


def _close_side_by_side(stacks: Sequence[ExitStack]) -> None:
    """A board that is silent takes two deadlines to give up on: one for a call in flight, one for its lease."""
    with ThreadPoolExecutor(max(1, len(stacks)), thread_name_prefix="hang up") as threads:
        for closed in [threads.submit(own.close) for own in stacks]:
            closed.result()


def _connected(
    device: DeviceConfig,
    agent: LocalAgent | None,
    owner: str,
    stack: ExitStack,
    *,
    wait_s: float,
    tell: Callable[[str], None],
    time: ServiceTime,
    cancelled: threading.Event,
) -> ProfilerClient:
    name = DeviceName(device.name)
    target = _target(device, agent)
    line = Line(lambda: channel_for(device) if agent is None else open_channel(target))
    stack.callback(line.close)
    host_boot_id = _host_boot_id()
    info = ask_device_info(line.stub, name, target, host_boot_id=host_boot_id)
    _check_runtime(device, info)
    _check_threads(device, info)
    lease = HeldLease(line, name, owner, time=time)
    lease.acquire(cancelled=cancelled, wait_s=wait_s, tell=lambda text: tell(f"{name}: {text}"))
    client = ProfilerClient(
        info=info,
        target=target,
        line=line,
        lease=lease,
        agent=agent,
        host_boot_id=host_boot_id,
        lease_wait_s=wait_s,
        time=time,
    )
    stack.callback(client.close)
    return client


def _target(device: DeviceConfig, agent: LocalAgent | None) -> str:
    if agent is None:
        assert device.address is not None, device
        return device.address
    agent.wait_ready()
    return agent.target


def _check_runtime(device: DeviceConfig, info: DeviceInfo) -> None:
    if info.runtime(device.runtime) is not None:
        return
    known = ", ".join(runtime.name for runtime in info.runtimes) or "none"
    if info.simulated:
        raise Unfit(
            f"{device.name}: a simulated {info.board} has no runtime {device.runtime} (it has {known}); choose one "
            f"of its own under [devices.{device.name}]"
        )
    name, provider = ON_A_DEVICE[device.runtime]
    without_gpu = info.runtime(name)
    if without_gpu is not None:
        raise Unfit(
            f"{device.name}: runtime {device.runtime}: its {name} {without_gpu.version} lacks {provider} (it has "
            f"{', '.join(without_gpu.providers)}); give the wheel that is made for this board's GPU, for a Jetson "
            f"NVIDIA's: host deploy {device.name} --wheelhouse FOLDER (docs/runtimes.md)"
        )
    raise Unfit(
        f"{device.name}: its agent has no runtime {device.runtime} (it has {known}); "
        "install it there: pip install 'edgepareto[agent]'"
    )


def _check_threads(device: DeviceConfig, info: DeviceInfo) -> None:
    if device.threads is not None and device.threads > info.cpu_count:
        raise Unfit(
            f"{device.name}: threads is {device.threads}, this board has {info.cpu_count} cores; "
            f"set 1 to {info.cpu_count} under [devices.{device.name}]"
        )


def _host_boot_id() -> str | None:
    try:
        return BOOT_ID.read_text().strip() or None
    except OSError:
        return None
