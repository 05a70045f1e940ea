from __future__ import annotations

import pytest
from edgepareto.agent.simulation import create_board
from edgepareto.agent.simulation.chip import Ina219Chip, SimulatedBus
from edgepareto.agent.simulation.clock import BoardTime, LaggingClock
from edgepareto.agent.simulation.profile import Supply

MS = 1_000_000
CONFIG, SHUNT, BUS = 0, 1, 2
FULL_SCALE_UV = {0: 40_000, 1: 80_000, 2: 160_000, 3: 320_000}


class SteadyCurrent:
    supply = Supply(open_circuit_v=5.1, source_ohm=0.0, shunt_ohm=0.1)

    def __init__(self, current_a: float) -> None:
        self._current_a = current_a

    def mean_current_a(self, start_ns: float, end_ns: float) -> float:
        return self._current_a


def shunt_uv(chip: Ina219Chip, gain: int = 3) -> int:
    """Signed, after 8 samples at this PGA setting."""
    chip.write(CONFIG, 0x01DF | gain << 11, 0)
    raw = chip.read(SHUNT, 20 * MS)
    return 10 * (raw - 0x10000 if raw & 0x8000 else raw)


@pytest.mark.parametrize("gain", FULL_SCALE_UV)
def test_every_pga_setting_clips_at_its_own_full_scale_and_resolves_ten_microvolts(gain: int):
    full_scale_uv = FULL_SCALE_UV[gain]
    just_below_a = (full_scale_uv - 10) * 1e-6 / 0.1
    assert shunt_uv(Ina219Chip(SteadyCurrent(just_below_a)), gain) == full_scale_uv - 10
    assert shunt_uv(Ina219Chip(SteadyCurrent(1.5 * just_below_a)), gain) == full_scale_uv
    assert shunt_uv(Ina219Chip(SteadyCurrent(-1.5 * just_below_a)), gain) == -full_scale_uv


def test_offset_gain_and_the_resistors_error_shift_what_the_chip_sees_and_not_what_flows():
    """T14 draws them at random, within the maxima of the datasheet's section 7.5."""
    chip = Ina219Chip(SteadyCurrent(1.0), shunt_offset_v=200e-6, gain=1.005, shunt_ohm_error=-0.01)
    assert shunt_uv(chip) == pytest.approx(1.005 * 99_000 + 200, abs=10)
    assert chip.read(BUS, 20 * MS) >> 3 == round(5.0 / 4e-3)
    assert shunt_uv(Ina219Chip(SteadyCurrent(0.0), shunt_offset_v=-100e-6), gain=0) == -100


def readings(folder, *faults: str, seed: int = 0) -> tuple[int, int]:
    """(shunt in uV, conversions in a second) on a board that draws 3.7 W."""
    create_board("raspberry-pi-4b", folder, seed=seed, faults=faults)
    BoardTime(folder).advance(2_000 * MS, 3.7)
    clock = LaggingClock(folder)
    bus = SimulatedBus(folder, clock)
    bus.write_i2c_block_data(0x40, CONFIG, [0x19, 0xDF])
    ready = 0
    while clock.now_ns() < 1_000 * MS:
        if bus.read_i2c_block_data(0x40, BUS, 2)[1] & 0b10:
            ready += 1
            bus.read_i2c_block_data(0x40, 3, 2)  # clears it
    high, low = bus.read_i2c_block_data(0x40, SHUNT, 2)
    return 10 * (high << 8 | low), ready


def test_a_boards_meter_can_be_given_its_errors_and_its_clock(tmp_path):
    plain_uv, plain_rate = readings(tmp_path / "plain", "chip_clock=1")
    wrong_uv, fast_rate = readings(tmp_path / "wrong", "chip_clock=1.1", "meter_offset_uv=-150", "meter_gain=0.995")
    assert plain_uv == pytest.approx(1e5 * SteadyCurrent.supply.current_a(3.7), rel=0.01)
    assert wrong_uv == pytest.approx(0.995 * plain_uv - 150, abs=10)
    assert plain_rate == pytest.approx(1 / 4.792e-3, abs=2)
    assert fast_rate == pytest.approx(1.1 / 4.792e-3, abs=3)


def test_the_chips_of_two_boards_run_at_different_speeds_within_the_datasheets_ten_percent(tmp_path):
    rates = [readings(tmp_path / str(seed), seed=seed)[1] for seed in range(6)]
    assert len(set(rates)) > 3
    assert all(0.89 < rate * 4.792e-3 < 1.11 for rate in rates)
