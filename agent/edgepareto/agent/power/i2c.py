"""The board's I2C buses: opened through smbus2, or a line that says why not and what to do."""

from __future__ import annotations

import contextlib
import errno
import importlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, cast

from edgepareto.agent.errors import MeterError, MeterStatus
from edgepareto.agent.power.ina219 import I2cBus

__all__ = ["UDEV_RULE", "OpenedBus", "is_stub", "open_i2c", "owned_by_kernel", "refused_by_kernel_driver"]

UDEV_RULE = 'SUBSYSTEM=="i2c-dev", GROUP="i2c", MODE="0660"'
_STUB_NAME = "SMBus stub driver"  # drivers/i2c/i2c-stub.c, stub_adapter.name


class _WordBus(Protocol):
    """smbus2.SMBus's other pair of calls. Its words have the byte that came first in the lower half."""

    def read_word_data(self, i2c_addr: int, register: int) -> int: ...
    def write_word_data(self, i2c_addr: int, register: int, value: int) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedBus:
    """is_stub: there is no chip behind it, only the memory of the kernel's i2c-stub module."""

    bus: I2cBus
    is_stub: bool
    close: Callable[[], object] = lambda: None


def open_i2c(number: int, sys_root: Path) -> OpenedBus:
    """/dev/i2c-NUMBER. Raises MeterError(ABSENT) with what to do."""
    try:
        smbus2 = importlib.import_module("smbus2")
    except ImportError as error:
        raise MeterError(MeterStatus.ABSENT, "smbus2 is not installed: pip install 'edgepareto[agent]'") from error
    device = f"/dev/i2c-{number}"
    try:
        bus = smbus2.SMBus(number)
    except FileNotFoundError as error:
        raise MeterError(
            MeterStatus.ABSENT,
            f"{device} does not exist: switch I2C on (Raspberry Pi: sudo raspi-config nonint do_i2c 0; else the device "
            f"tree, and sudo modprobe i2c-dev), or name another bus",
        ) from error
    except PermissionError as error:
        raise MeterError(
            MeterStatus.ABSENT,
            f"{device} may not be opened: add the agent's user to group i2c (sudo usermod -aG i2c USER, then log in "
            f"again); where there is no such group, create it and put {UDEV_RULE} into "
            f"/etc/udev/rules.d/60-edgepareto-i2c.rules",
        ) from error
    except OSError as error:
        raise MeterError(MeterStatus.IO, f"{device}: {error.strerror or error} (errno {error.errno})") from error
    close = getattr(bus, "close", lambda: None)
    if is_stub(number, sys_root):
        return OpenedBus(bus=_StubBus(cast(_WordBus, bus)), is_stub=True, close=close)
    return OpenedBus(bus=cast(I2cBus, bus), is_stub=False, close=close)


@contextlib.contextmanager
def refused_by_kernel_driver(number: int, address: int) -> Iterator[None]:
    """Turns EBUSY, which means that a driver of the kernel owns the address, into what to do about it."""
    try:
        yield
    except MeterError as error:
        if not isinstance(error.__cause__, OSError) or error.__cause__.errno != errno.EBUSY:
            raise
        raise MeterError(MeterStatus.ABSENT, owned_by_kernel(number, address)) from error


def owned_by_kernel(number: int, address: int) -> str:
    """What to say and do about an address that a driver of the kernel has taken."""
    device = f"{number}-{address:04x}"
    return (
        f"address {address:#04x} on /dev/i2c-{number} belongs to a driver of the kernel (ina2xx): use kind = "
        f'"hwmon", or unbind it: echo {device} | sudo tee /sys/bus/i2c/devices/{device}/driver/unbind'
    )


def is_stub(number: int, sys_root: Path) -> bool:
    """Whether there is no bus behind this number, only the memory of the kernel's i2c-stub module."""
    # The first is gone from kernels without CONFIG_I2C_COMPAT.
    for folder in ("sys/class/i2c-adapter", "sys/bus/i2c/devices", "sys/class/i2c-dev"):
        with contextlib.suppress(OSError):
            return _STUB_NAME in (sys_root / folder / f"i2c-{number}" / "name").read_text(errors="replace")
    return False


class _StubBus:
    """i2c-stub keeps one 16-bit word per register, which only word transfers reach: a block read of two bytes takes
    the lower halves of two registers (stub_xfer, I2C_SMBUS_I2C_BLOCK_DATA). On the wire both look alike.
    """

    def __init__(self, bus: _WordBus) -> None:
        self._bus = bus

    def read_i2c_block_data(self, i2c_addr: int, register: int, length: int) -> Sequence[int]:
        word = self._bus.read_word_data(i2c_addr, register)
        return [word & 0xFF, word >> 8][:length]

    def write_i2c_block_data(self, i2c_addr: int, register: int, data: Sequence[int]) -> None:
        self._bus.write_word_data(i2c_addr, register, data[0] | data[1] << 8)
