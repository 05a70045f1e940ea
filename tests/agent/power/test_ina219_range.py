"""The range: chosen once, by what the anchor draws, and never within a window."""

from __future__ import annotations

import pytest
from edgepareto.agent.errors import MeterError, MeterStatus
from edgepareto.agent.power.ina219 import CONFIG
from edgepareto.agent.simulation.profile import Supply

MS = 1_000_000


def steady(power_w: float) -> list[tuple[int, float]]:
    return [(10_000 * MS, power_w)]


@pytest.mark.parametrize(
    ("power_w", "config"),
    [(1.2, 0x01DF), (2.6, 0x09DF), (4.0, 0x11DF), (6.0, 0x19DF), (12.0, 0x19DF)],
    ids=["24 mV in 40", "52 mV in 80", "81 mV in 160", "124 mV in 320", "270 mV in 320"],
)
def test_the_range_is_the_smallest_with_half_as_much_again_and_stays(bench_of, power_w, config):
    bench = bench_of(steady(power_w))
    assert bench.meter.description.config == CONFIG
    bench.meter.fix_range(bench.window(0.2))
    assert bench.meter.description.config == config
    samples = bench.window(0.5)
    assert samples[-1].power_w == pytest.approx(power_w, rel=0.003)
    assert not any(sample.clipped for sample in samples)
    assert bench.bus.chip.read(0, bench.clock.now_ns()) == config


def test_ranging_changes_the_gain_and_bus_range_bits_alone():
    assert {config & ~0b0011_1000_0000_0000 for config in (0x01DF, 0x09DF, 0x11DF, 0x19DF, 0x39DF)} == {0x01DF}


def test_within_a_window_the_range_stays_even_where_the_load_leaves_it(bench_of):
    bench = bench_of([(1_000 * MS, 1.2), (9_000 * MS, 5.4)])
    bench.meter.fix_range(bench.window(0.2))
    samples = bench.window(2)
    assert bench.meter.description.config == 0x01DF
    assert not samples[0].clipped
    assert samples[-1].clipped


def test_a_later_ranging_window_that_was_clipped_goes_back_to_the_widest(bench_of):
    bench = bench_of([(500 * MS, 1.2), (9_000 * MS, 5.4)])
    bench.meter.fix_range(bench.window(0.2))
    bench.clock.sleep(0.5)
    bench.meter.fix_range(bench.window(0.2))
    assert bench.meter.description.config == CONFIG


def test_a_reset_after_ranging_is_judged_by_the_chosen_settings_and_they_are_written_again(bench_of):
    """T10"""
    bench = bench_of(steady(1.2))
    bench.meter.fix_range(bench.window(0.2))
    bench.meter.begin_window()
    bench.bus.chip.reset(bench.clock.now_ns())
    with pytest.raises(MeterError, match="0x01df and 0x1000 before it"):
        bench.meter.end_window()
    bench.window(0.1)
    assert bench.bus.chip.read(0, bench.clock.now_ns()) == 0x01DF


def test_more_than_the_widest_range_cannot_be_ranged(bench_of):
    """T9"""
    bench = bench_of(steady(4.0 * (5.1 - 4.0 * 0.15)))
    with pytest.raises(MeterError, match=r"draws 3\.20 A or more.*use a smaller shunt") as caught:
        bench.meter.fix_range(bench.window(0.1))
    assert caught.value.status is MeterStatus.CLIPPED


def test_without_a_sample_there_is_no_range(bench_of):
    with pytest.raises(MeterError, match="no sample"):
        bench_of(steady(1.0)).meter.fix_range([])


def test_a_supply_above_16_volts_is_clipped_until_the_32_volt_range_is_chosen(bench_of):
    supply = Supply(open_circuit_v=19.0, source_ohm=0.0, shunt_ohm=0.02)
    bench = bench_of(steady(12.0), supply=supply)
    before = bench.window(0.2)
    assert all(sample.clipped for sample in before)
    bench.meter.fix_range(before)
    after = bench.window(0.2)
    assert bench.meter.description.config == 0x21DF
    assert not any(sample.clipped for sample in after)
    assert after[-1].power_w == pytest.approx(12.0, rel=0.005)
    assert after[-1].bus_v == pytest.approx(19.0, abs=0.02)
