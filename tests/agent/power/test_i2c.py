"""What stands between the driver and the bus: the kernel's refusals, and its stub that is no chip."""

from __future__ import annotations

import errno
import sys
from pathlib import Path
from types import ModuleType

import pytest
from edgepareto.agent.clock import SystemClock
from edgepareto.agent.errors import MeterError, MeterStatus
from edgepareto.agent.power import MeterQuality, MeterSetting, open_meter
from fakes.power_trees import write

INA219 = MeterSetting(kind="ina219", bus=5)


class StubMemory:
    """i2c-stub behind smbus2.SMBus: one word per register, and a block takes the lower bytes of several registers."""

    words: dict[int, int]

    def __init__(self, bus: int) -> None:
        assert bus == 5

    def read_word_data(self, i2c_addr: int, register: int) -> int:
        return self.words.get(register, 0)

    def write_word_data(self, i2c_addr: int, register: int, value: int) -> None:
        self.words[register] = value

    def read_i2c_block_data(self, i2c_addr: int, register: int, length: int) -> list[int]:
        return [self.words.get(register + i, 0) & 0xFF for i in range(length)]


def use_bus(monkeypatch: pytest.MonkeyPatch, bus: object) -> None:
    module = ModuleType("smbus2")
    module.SMBus = bus  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "smbus2", module)


def swapped(word: int) -> int:
    """As i2cset writes a word of a big-endian chip."""
    return (word & 0xFF) << 8 | word >> 8


@pytest.mark.parametrize("folder", ["sys/class/i2c-adapter/i2c-5", "sys/bus/i2c/devices/i2c-5"])
def test_the_kernels_stub_is_known_by_its_adapters_name(folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write(tmp_path / folder, {"name": "SMBus stub driver"})
    StubMemory.words = {0: swapped(0x399F), 1: swapped(4000), 2: swapped(1275 << 3 | 0b10)}
    use_bus(monkeypatch, StubMemory)
    meter = open_meter(INA219, clock=SystemClock(), sys_root=tmp_path)
    assert meter.description.quality is MeterQuality.SIMULATED
    assert meter.description.tags == ("CNVR_NOT_CLEARING",)
    meter.begin_window()
    assert meter.read().power_w == pytest.approx(0.4 * 5.1)
    meter.end_window()


def test_an_empty_stub_fails_the_self_test_each_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write(tmp_path / "sys/class/i2c-adapter/i2c-5", {"name": "SMBus stub driver"})
    StubMemory.words = {}
    use_bus(monkeypatch, StubMemory)
    for _ in range(2):
        with pytest.raises(MeterError, match="all registers read 0"):
            open_meter(INA219, clock=SystemClock(), sys_root=tmp_path)


def test_an_address_that_a_driver_of_the_kernel_holds_says_how_to_read_or_free_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    class Taken(StubMemory):
        def read_i2c_block_data(self, i2c_addr: int, register: int, length: int) -> list[int]:
            raise OSError(errno.EBUSY, "Device or resource busy")

    use_bus(monkeypatch, Taken)
    with pytest.raises(MeterError) as caught:
        open_meter(INA219, clock=SystemClock(), sys_root=tmp_path)
    assert caught.value.status is MeterStatus.ABSENT
    assert 'use kind = "hwmon"' in str(caught.value)
    assert "echo 5-0040 | sudo tee /sys/bus/i2c/devices/5-0040/driver/unbind" in str(caught.value)


@pytest.mark.parametrize(
    ("refusal", "said"),
    [
        (FileNotFoundError(errno.ENOENT, "No such file"), "/dev/i2c-5 does not exist: switch I2C on"),
        (PermissionError(errno.EACCES, "Permission denied"), "add the agent's user to group i2c"),
        (PermissionError(errno.EACCES, "Permission denied"), 'SUBSYSTEM=="i2c-dev", GROUP="i2c"'),
        (OSError(errno.ENOTTY, "Inappropriate ioctl"), "/dev/i2c-5: Inappropriate ioctl"),
    ],
)
def test_a_bus_that_cannot_be_opened_says_what_to_do(
    refusal: OSError, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def refuse(bus: int) -> None:
        raise refusal

    use_bus(monkeypatch, refuse)
    with pytest.raises(MeterError) as caught:
        open_meter(INA219, clock=SystemClock(), sys_root=tmp_path)
    assert said in str(caught.value)
