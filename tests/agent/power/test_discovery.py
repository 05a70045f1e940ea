from __future__ import annotations

import errno
from collections.abc import Sequence
from pathlib import Path

import pytest
from edgepareto.agent.errors import MeterError, MeterStatus
from edgepareto.agent.power import METER_KINDS, MeterSetting
from edgepareto.agent.power.discovery import MeterCandidate, find_candidates
from edgepareto.agent.power.i2c import OpenedBus
from fakes.power_trees import hwmon, write


class Chips:
    """Register 0 of what sits on a bus. Any write fails the test."""

    def __init__(self, configs: dict[int, int]) -> None:
        self._configs = configs

    def read_i2c_block_data(self, i2c_addr: int, register: int, length: int) -> list[int]:
        assert (register, length) == (0, 2)
        config = self._configs.get(i2c_addr)
        if config is None:
            raise OSError(errno.EREMOTEIO, "Remote I/O error")
        if config < 0:
            raise OSError(-config, "Device or resource busy")
        return [config >> 8, config & 0xFF]

    def write_i2c_block_data(self, i2c_addr: int, register: int, data: Sequence[int]) -> None:
        pytest.fail(f"wrote to {i2c_addr:#04x}")


def candidates_on(root: Path, buses: dict[int, dict[int, int]]) -> list[MeterCandidate]:
    write(root / "dev", {f"i2c-{bus}": "" for bus in buses})
    found = find_candidates(root, open_bus=lambda bus, _: OpenedBus(bus=Chips(buses[bus]), is_stub=False))
    return [candidate for candidate in found if candidate.setting.kind == "ina219"]


def test_an_empty_machine_still_gets_a_line_for_every_kind(tmp_path: Path):
    found = find_candidates(tmp_path)
    assert tuple(candidate.setting.kind for candidate in found) == METER_KINDS


def test_chips_that_look_like_an_ina219_are_found_on_every_bus_and_nothing_is_written(tmp_path: Path):
    found = candidates_on(tmp_path, {1: {0x40: 0x399F, 0x45: 0x19DF}, 10: {0x41: 0x01DF}})
    assert [(one.setting.bus, one.setting.address, one.fault) for one in found] == [
        (1, 0x40, None),
        (1, 0x45, None),
        (10, 0x41, None),
    ]


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (0x4127, "an INA226, which the kernel's driver reads: echo ina226 0x40"),
        (0x7127, "register 0 holds 0x7127, 0x399f in an INA219 after power-on"),
        (-errno.EBUSY, "belongs to a driver of the kernel"),
    ],
)
def test_another_chip_at_the_same_address_is_left_alone_and_told(config: int, said: str, tmp_path: Path):
    (found,) = candidates_on(tmp_path, {1: {0x40: config}})
    assert found.fault is not None
    assert said in found.fault


def test_buses_without_an_answer_are_named_with_what_to_check(tmp_path: Path):
    (found,) = candidates_on(tmp_path, {0: {}, 1: {}})
    assert found.fault is not None
    assert "no chip answers at 0x40, 0x41, 0x44, 0x45 on /dev/i2c-0, /dev/i2c-1: check SDA" in found.fault


def test_a_bus_that_may_not_be_opened_is_a_line_of_its_own(tmp_path: Path):
    def refuse(bus: int, root: Path) -> OpenedBus:
        raise MeterError(MeterStatus.ABSENT, f"/dev/i2c-{bus} may not be opened: group i2c")

    write(tmp_path / "dev", {"i2c-1": ""})
    found = find_candidates(tmp_path, open_bus=refuse)[0]
    assert found.fault == "/dev/i2c-1 may not be opened: group i2c"


def test_hwmon_monitors_come_with_all_that_chooses_them_and_the_kernels_shunt(tmp_path: Path):
    hwmon(tmp_path, 0, "amdgpu", {"power1_input": 9})
    hwmon(tmp_path, 1, "ina226", {"power1_input": 9, "shunt_resistor": 2_000, "in1_label": "VDD"}, device="3-0044")
    found = [one.setting for one in find_candidates(tmp_path) if one.setting.kind == "hwmon"]
    assert found == [MeterSetting(kind="hwmon", chip="ina226", rail="VDD", bus=3, address=0x44, shunt_ohm=0.002)]
