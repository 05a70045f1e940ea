"""The acceptance tests of docs/measurement.md on the chip model: T1 to T7 and T9 to T13."""

from __future__ import annotations

import itertools
import random
import sys
from collections.abc import Sequence
from math import pi, sin, sqrt

import pytest
from edgepareto.agent.errors import MeterError, MeterStatus
from edgepareto.agent.power import MeterQuality
from edgepareto.agent.power.ina219 import CNVR_NOT_CLEARING, CONFIG, Ina219, calibration_word
from edgepareto.agent.simulation.chip import Ina219Chip
from edgepareto.agent.simulation.profile import Supply

MS = 1_000_000
REMOTE_IO = 121
CHIP_CLOCKS = (0.95, 1.0, 1.1)


class SteadyCurrent:
    def __init__(self, supply: Supply, current_a: float) -> None:
        self.supply = supply
        self._current_a = current_a

    def mean_current_a(self, start_ns: float, end_ns: float) -> float:
        return self._current_a


def steady(power_w: float, seconds: float = 10) -> list[tuple[int, float]]:
    return [(round(seconds * 1e9), power_w)]


def square(period_ms: float, duty: float, phase: float, seconds: float) -> list[tuple[int, float]]:
    """2.6 W and 5.4 W, a Pi 4B at rest and with all cores busy."""
    period_ns = period_ms * MS
    edges = [(0.0, 2.6)]
    for cycle in itertools.count():
        start = (cycle - phase) * period_ns
        if start > seconds * 1e9:
            return [(round(end), power) for end, power in edges if end > 0]
        edges += [(start + duty * period_ns, 5.4), (start + period_ns, 2.6)]


def test_t1_the_datasheets_example_comes_out_of_the_registers_to_the_bit():
    supply = Supply(open_circuit_v=11.98 + 10 * 0.002, source_ohm=0.0, shunt_ohm=0.002)
    chip = Ina219Chip(SteadyCurrent(supply, 10.0))
    chip.write(0, 0x019F, 0)
    chip.write(5, calibration_word(0.001, 0.002), 0)
    at_ns = 20 * MS
    assert chip.read(5, at_ns) == 0x5000
    assert chip.read(1, at_ns) == 0x07D0
    assert chip.read(2, at_ns) & 0xFFFC == 0x5D98
    assert chip.read(4, at_ns) == 0x2710
    assert chip.read(3, at_ns) == 0x1766


@pytest.mark.parametrize("swapped_calls", [("read",), ("read", "write")])
def test_t1_swapped_bytes_show_at_the_start(bench_of, swapped_calls):
    bench = bench_of(steady(3.0))

    class Swapping:
        def read_i2c_block_data(self, i2c_addr: int, register: int, length: int) -> list[int]:
            return bench.bus.read_i2c_block_data(i2c_addr, register, length)[::-1]

        def write_i2c_block_data(self, i2c_addr: int, register: int, data: Sequence[int]) -> None:
            swapped = data[::-1] if "write" in swapped_calls else data
            bench.bus.write_i2c_block_data(i2c_addr, register, swapped)

    with pytest.raises(MeterError, match="config reads 0x") as caught:
        Ina219(Swapping(), 0x40, 0.1, bench.clock)
    assert caught.value.status is MeterStatus.IO


@pytest.mark.parametrize(("config", "samples_per_s"), [(0x19DF, 209), (0x19E7, 110), (0x399F, 940)])
def test_t2_a_config_word_converts_at_the_rate_it_is_said_to(config, samples_per_s):
    chip = Ina219Chip(SteadyCurrent(Supply(open_circuit_v=5.0, source_ohm=0.0, shunt_ohm=0.1), 1.0))
    chip.write(0, config, 0)
    conversions = 0
    for at_ns in range(0, 1_000 * MS, MS // 10):
        if chip.read(2, at_ns) & 0b10:
            conversions += 1
            chip.read(3, at_ns)
    assert conversions == pytest.approx(samples_per_s, abs=1)


def test_t2_the_driver_sets_16_v_320_mv_8x_on_the_shunt_and_once_on_the_bus():
    assert CONFIG == 0b0_0_0_11_0011_1011_111
    # The current LSB is 0.1 mA at 0.1 ohm.
    assert calibration_word(1e-4, 0.1) == 4096


@pytest.mark.parametrize("chip_clock", CHIP_CLOCKS)
@pytest.mark.parametrize("power_w", [2.5, 5.9])
def test_t3_steady_power_is_read_within_three_thousandths(bench_of, power_w, chip_clock):
    samples = bench_of(steady(power_w), chip_clock=chip_clock).window(2)
    assert max(abs(sample.power_w / power_w - 1) for sample in samples) <= 0.003


def test_a_conversion_is_neither_missed_nor_read_twice_on_any_chip_clock(bench_of):
    for chip_clock in (0.9, 1.0, 1.1):
        samples = bench_of(steady(3.0), chip_clock=chip_clock).window(5)
        periods = [(b.timestamp_ns - a.timestamp_ns) * chip_clock / 4.792e6 for a, b in itertools.pairwise(samples)]
        assert min(periods) > 0.85
        assert max(periods) < 1.15


def square_wave_errors(bench_of, seconds: float, measure) -> list[float]:
    """measure(bench): the relative error of one window."""
    randomness = random.Random(7)
    return [
        measure(bench_of(square(period_ms, duty, randomness.random(), seconds + 0.2), chip_clock=chip_clock))
        for period_ms in (1, 2, 3.7, 5, 10, 20, 47, 100, 230, 500)
        for duty in (0.2, 0.5, 0.8)
        for chip_clock in CHIP_CLOCKS
    ]


@pytest.mark.parametrize(("seconds", "worst", "root_mean_square"), [(5, 0.010, 0.004), (2, 0.025, 0.025)])
def test_t4_square_waves_of_1_to_500_ms_are_integrated(bench_of, seconds, worst, root_mean_square, capsys):
    errors = square_wave_errors(bench_of, seconds, lambda bench: bench.relative_error(bench.window(seconds)))
    rms = sqrt(sum(error**2 for error in errors) / len(errors))
    with capsys.disabled():
        sys.stdout.write(f"\nINA219, square waves, {seconds} s: worst {max(map(abs, errors)):.2%}, rms {rms:.2%}\n")
    assert max(map(abs, errors)) <= worst
    assert rms <= root_mean_square


def test_t5_a_naive_10_hz_sampler_fails_the_same_test(bench_of, capsys):
    def poll_at_10_hz(bench) -> float:
        powers, start_ns = [], bench.clock.now_ns()
        while bench.clock.now_ns() < start_ns + 5e9:
            bench.clock.sleep(0.1)
            shunt, bus = (bench.bus.chip.read(register, bench.clock.now_ns()) for register in (1, 2))
            powers.append((bus >> 3) * 4e-3 * shunt * 1e-5 / 0.1)
        return sum(powers) / len(powers) / bench.true_mean_w(start_ns, bench.clock.now_ns()) - 1

    errors = square_wave_errors(bench_of, 5, poll_at_10_hz)
    with capsys.disabled():
        sys.stdout.write(f"\n10 Hz polling, square waves, 5 s: worst {max(map(abs, errors)):.1%}\n")
    assert max(map(abs, errors)) > 0.10


@pytest.mark.parametrize(
    "power_of",
    [
        pytest.param(lambda second: 2.6 if second < 2.1 else 5.4, id="step"),
        pytest.param(lambda second: 2.0 + 0.8 * second, id="ramp"),
        pytest.param(lambda second: 4.0 + 1.4 * sin(2 * pi * 50 * second), id="50 Hz"),
        pytest.param(lambda second: 4.0 + 1.4 * sin(2 * pi * 100 * second), id="100 Hz"),
    ],
)
def test_t6_steps_ramps_and_mains_hum_stay_within_one_percent(bench_of, power_of):
    step_s = 2e-4
    segments = [(round(i * step_s * 1e9), power_of((i - 0.5) * step_s)) for i in range(1, 26_000)]
    bench = bench_of(segments)
    assert abs(bench.relative_error(bench.window(5))) <= 0.01


@pytest.mark.parametrize("period_ms", [1, 500])
def test_t7_the_bias_of_mean_volts_times_mean_amperes_is_that_of_the_sagging_supply(bench_of, period_ms):
    """Faster than a conversion, a load is averaged before volts and amperes are multiplied; slower, the mean of the
    products is right and the product of the means wrong. Both by R_sag x Var(I).
    """
    supply = Supply(open_circuit_v=5.3, source_ohm=0.4, shunt_ohm=0.1)
    bench = bench_of(square(period_ms, 0.5, 0.0, 5.3), supply=supply)
    samples = bench.window(5)
    low_a, high_a = supply.current_a(2.6), supply.current_a(5.4)
    expected_w = supply.resistance_ohm * ((high_a - low_a) / 2) ** 2
    volts = [sample.bus_v for sample in samples]
    amperes = [sample.power_w / sample.bus_v for sample in samples]
    mean_w = sum(sample.power_w for sample in samples) / len(samples)
    if period_ms < 4:
        bias_w = mean_w - bench.true_mean_w(samples[0].timestamp_ns, samples[-1].timestamp_ns)
    else:
        bias_w = sum(volts) / len(volts) * sum(amperes) / len(amperes) - mean_w
    assert expected_w > 0.01 * mean_w
    assert abs(bias_w - expected_w) <= 0.002 * mean_w


def test_t9_four_amperes_at_a_tenth_of_an_ohm_are_told_as_clipped(bench_of):
    power_w = 4.0 * (5.1 - 4.0 * 0.15)
    assert all(sample.clipped for sample in bench_of(steady(power_w)).window(0.1))
    assert not any(sample.clipped for sample in bench_of(steady(12.0)).window(0.1))


def test_t10_a_chip_that_was_reset_within_a_window_is_told_after_it_and_works_in_the_next(bench_of):
    bench = bench_of(steady(3.0))
    bench.meter.begin_window()
    bench.meter.read()
    bench.bus.chip.reset(bench.clock.now_ns())
    with pytest.raises(MeterError, match="calibration 0x0000") as caught:
        bench.meter.end_window()
    assert caught.value.status is MeterStatus.RESET
    assert bench.window(0.5)[-1].power_w == pytest.approx(3.0, rel=0.003)


def test_t11_one_missing_acknowledge_is_recovered_and_counted(bench_of):
    bench = bench_of(steady(3.0))
    bench.meter.begin_window()
    bench.bus.failing = [0, REMOTE_IO]
    assert bench.meter.read().power_w == pytest.approx(3.0, rel=0.003)
    assert bench.meter.i2c_errors == 1


@pytest.mark.parametrize(("failing", "errors"), [([REMOTE_IO] * 5, 4), ([5], 1)])
def test_t11_a_bus_that_keeps_failing_is_an_io_error(bench_of, failing, errors):
    bench = bench_of(steady(3.0))
    bench.bus.failing = failing
    with pytest.raises(MeterError, match=f"errno {failing[0]}") as caught:
        bench.meter.begin_window()
    assert caught.value.status is MeterStatus.IO
    assert bench.meter.i2c_errors == errors


def test_t12_a_ready_bit_that_never_comes_is_told_within_a_second(bench_of):
    bench = bench_of(steady(3.0))
    bench.meter.begin_window()
    bench.meter.read()
    bench.bus.hold_ready = True
    start_ns = bench.clock.now_ns()
    with pytest.raises(MeterError) as caught:
        bench.meter.read()
    assert caught.value.status is MeterStatus.STUCK
    assert bench.clock.now_ns() - start_ns < 1e9


def test_t13_power_that_flows_back_is_negative(bench_of):
    samples = bench_of(steady(-1.5)).window(0.1)
    assert samples[-1].power_w == pytest.approx(-1.5, rel=0.005)


class Registers:
    """i2c-stub as smbus2 shows it through word transfers: what is written stays, and nothing happens by itself."""

    def __init__(self, words: dict[int, int]) -> None:
        self.words = words
        self.writes = 0

    def read_i2c_block_data(self, i2c_addr: int, register: int, length: int) -> list[int]:
        word = self.words.get(register, 0)
        return [word >> 8, word & 0xFF]

    def write_i2c_block_data(self, i2c_addr: int, register: int, data: Sequence[int]) -> None:
        self.words[register] = data[0] << 8 | data[1]
        self.writes += 1


@pytest.mark.parametrize("clears_ready", [True, False])
def test_registers_that_all_read_0_fail_the_self_test_before_anything_is_written(bench_of, clears_ready):
    empty = Registers({})
    with pytest.raises(MeterError, match="all registers read 0") as caught:
        Ina219(empty, 0x40, 0.1, bench_of(steady(1.0)).clock, clears_ready=clears_ready)
    assert caught.value.status is MeterStatus.IO
    assert empty.writes == 0


def test_a_stub_that_never_clears_its_ready_bit_is_paced_by_the_clock_and_says_so(bench_of):
    stub = Registers({0: 0x399F, 1: 5000, 2: 1250 << 3 | 0b10})  # 50 mV, 5 V
    clock = bench_of(steady(1.0)).clock
    meter = Ina219(stub, 0x40, 0.1, clock, quality=MeterQuality.SIMULATED, clears_ready=False)
    assert meter.description.tags == (CNVR_NOT_CLEARING,) == ("CNVR_NOT_CLEARING",)
    assert meter.description.quality is MeterQuality.SIMULATED
    meter.begin_window()
    samples = [meter.read() for _ in range(5)]
    clock.sleep(0.05)  # late, as on an emulated board, and there is no conversion to miss
    samples += [meter.read() for _ in range(5)]
    meter.end_window()
    assert [sample.power_w for sample in samples] == pytest.approx([2.5] * 10)
    stamps = [sample.timestamp_ns for sample in samples]
    assert [b - a for a, b in itertools.pairwise(stamps)] == pytest.approx([20e6] * 9)


def test_the_first_sample_of_a_window_lies_within_it(bench_of):
    """Else what the board drew before the guard would be in the window."""
    bench = bench_of([(2_000 * MS, 2.6), (9_000 * MS, 5.4)])
    bench.meter.begin_window()
    bench.meter.read()
    bench.clock.sleep(3)
    bench.meter.begin_window()
    start_ns = bench.clock.now_ns()
    first = bench.meter.read()
    assert first.timestamp_ns > start_ns
    assert first.power_w == pytest.approx(5.4, rel=0.003)
