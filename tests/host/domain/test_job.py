"""From a raw trace to numbers: known answers for every field that a result carries."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from edgepareto.host.domain import Conditions, Meter, MeterQuality, MeterStatus, Status, reduce_trace
from fakes.jobs import INA219, TRACE, block, window

EVEN = 2.0 * 3.0 / 100  # J: 3 W for 2 s over 100 inferences


def test_latency_is_the_median_of_block_medians_with_their_t_interval() -> None:
    latency = reduce_trace(TRACE).latency
    assert latency is not None
    assert latency.median_s.value == pytest.approx(0.012)
    # medians 11, 13, 12 ms: sd 1 ms, t(2, .975) = 4.302653
    assert latency.median_s.half_width == pytest.approx(4.302653 * 0.001 / np.sqrt(3), rel=1e-6)
    assert latency.block_medians_s == pytest.approx((0.011, 0.013, 0.012))
    assert latency.between_block_cv == pytest.approx(1 / 12)
    assert latency.drift == pytest.approx(1 / 11.5)  # the line through 11, 13, 12 is 11.5 + 0.5 i
    assert (latency.minimum_s, latency.mean_s) == pytest.approx((0.010, 0.97 / 7))
    assert (latency.runs, latency.blocks, latency.p90_s, latency.p99_s) == (7, 3, None, None)


def test_one_block_tells_neither_spread_nor_drift() -> None:
    latency = reduce_trace(replace(TRACE, blocks=(block(10, 20, 30),))).latency
    assert latency is not None
    assert (latency.between_block_cv, latency.drift, latency.median_s.half_width) == (None, None, 0)


def test_the_floor_is_the_25th_percentile_of_the_first_five_blocks_however_many_there_are() -> None:
    five = tuple(block(*range(1000 * i, 1000 * i + 100)) for i in range(1, 6))
    faster_later = tuple(block(1, 2, 3) for _ in range(10))
    few, many = (reduce_trace(replace(TRACE, blocks=b)).latency for b in (five, five + faster_later))
    assert few is not None
    assert many is not None
    assert few.floor_s == many.floor_s == pytest.approx(np.quantile([r for b in five for r in b.run_ns], 0.25) * 1e-9)


@pytest.mark.parametrize(
    ("runs", "p90", "p99"), [(99, False, False), (100, True, False), (999, True, False), (1000, True, True)]
)
def test_a_percentile_is_told_only_where_ten_runs_lie_beyond_it(runs: int, p90: bool, p99: bool) -> None:
    latency = reduce_trace(replace(TRACE, blocks=(block(*range(runs)),))).latency
    assert latency is not None
    assert (latency.p90_s is not None, latency.p99_s is not None) == (p90, p99)


def test_energy_is_watts_times_seconds_per_inference_and_dynamic_above_idle() -> None:
    energy = reduce_trace(replace(TRACE, meter=None)).energy
    assert energy is not None
    assert energy.total_j.value == pytest.approx(EVEN)
    assert energy.total_j.half_width == pytest.approx(0, abs=1e-12)  # equal windows, and no meter that says how good
    assert energy.dynamic_j is not None
    assert energy.dynamic_j.value == pytest.approx((3.0 - 1.25) * 0.02)
    assert (energy.mean_power_w, energy.idle_power_w, energy.peak_power_w) == pytest.approx((3.0, 1.25, 3.001))
    assert energy.lowest_bus_v == pytest.approx(4.896)
    assert energy.latency_s == pytest.approx(0.02)
    assert (energy.windows, energy.samples, energy.rate_hz) == (2, 4, pytest.approx(1.0))


def test_an_ina219_adds_what_its_datasheet_allows_and_its_offset_cancels_above_idle() -> None:
    """k = 2 over sqrt(3) of: shunt 1 %, current and bus 0.5 %; 200 uV of offset at PGA /8 over 0.1 ohm, at 4.973 V."""
    energy = reduce_trace(TRACE).energy
    assert energy is not None
    gain = 2 / 3**0.5 * (0.01**2 + 0.005**2 + 0.005**2) ** 0.5
    offset_w = 2 / 3**0.5 * 0.002 * np.mean([5.0, 4.996, 4.9, 4.896])
    assert energy.systematic_j == pytest.approx(np.hypot(gain * 3.0, offset_w) * 0.02)
    assert energy.total_j.half_width == pytest.approx(energy.systematic_j)
    assert energy.dynamic_systematic_j == pytest.approx(gain * (3.0 - 1.25) * 0.02)
    assert energy.statistical_j.half_width == pytest.approx(0, abs=1e-9)


def test_an_estimate_says_how_rough_it_is_and_a_counter_without_a_figure_says_nothing() -> None:
    windows = (window(busy=True, watts=3.0), window(busy=True, watts=3.3))
    pi5, rapl = (
        reduce_trace(replace(TRACE, windows=windows, meter=Meter(kind=kind, quality=quality))).energy
        for kind, quality in (("pi5_pmic", MeterQuality.ESTIMATE), ("rapl", MeterQuality.COUNTER))
    )
    assert pi5 is not None
    assert rapl is not None
    assert (rapl.systematic_j, rapl.dynamic_j, rapl.total_j) == (None, None, rapl.statistical_j)
    assert pi5.statistical_j.half_width == pytest.approx(rapl.total_j.half_width)
    assert pi5.systematic_j == pytest.approx(0.3 * pi5.total_j.value)


def test_a_counters_samples_weigh_by_the_time_they_stand_for() -> None:
    rapl = Meter(kind="rapl", quality=MeterQuality.COUNTER)
    uneven = replace(
        window(busy=True, watts=0.0), timestamp_ns=(1_010_000_000, 1_040_000_000), power_uw=(10**6, 3 * 10**6)
    )
    job = reduce_trace(replace(TRACE, windows=(uneven,), meter=rapl))
    assert job.energy is not None
    assert job.energy.mean_power_w == pytest.approx(2.5)
    job = reduce_trace(replace(TRACE, windows=(uneven,), meter=INA219))
    assert job.energy is not None
    assert job.energy.mean_power_w == pytest.approx(2.0)


def test_gaps_and_what_the_meter_missed_are_told() -> None:
    busy = replace(
        window(busy=True, watts=3.0),
        timestamp_ns=(900_000_000, 1_200_000_000, 2_400_000_000, 2_500_000_000),  # the first ends before the window
        power_uw=(3_000_000,) * 4,
        bus_uv=(5_000_000,) * 4,
        dropped=2,
        clipped=1,
        i2c_errors=3,
    )
    energy = reduce_trace(replace(TRACE, windows=(busy, busy))).energy
    assert energy is not None
    assert energy.largest_gap_s == pytest.approx(1.2)
    assert (energy.dropped, energy.clipped, energy.i2c_errors) == (4, 2, 6)


@pytest.mark.parametrize("status", [s for s in Status if s is not Status.OK])
def test_a_job_that_failed_has_no_number(status: Status) -> None:
    failed = reduce_trace(replace(TRACE, status=status))
    assert (failed.usable, failed.latency, failed.energy) == (False, None, None)


def test_a_meter_that_failed_costs_the_energy_alone() -> None:
    found = reduce_trace(replace(TRACE, meter_status=MeterStatus.STUCK))
    assert found.usable
    assert found.energy is None


def test_a_job_carries_who_measured_under_what_conditions() -> None:
    before, after = (
        Conditions(temperature_c=41.0, throttle_bits=0),
        Conditions(temperature_c=60.0, throttle_bits=1 << 18),
    )
    trace = replace(
        TRACE,
        build_ns=42_000_000_000,
        load_ns=5_000_000,
        first_run_ns=30_000_000,
        before=before,
        after=after,
        peak_rss_bytes=61 << 20,
        anchor_ratio=1.01,
        voided=2,
    )
    found = reduce_trace(trace)
    assert (found.build_s, found.load_s, found.first_run_s) == pytest.approx((42, 0.005, 0.03))
    assert (found.before, found.after) == (before, after)
    assert (found.peak_rss_bytes, found.anchor_ratio, found.voided) == (61 << 20, 1.01, 2)
    assert (found.board_id, found.boot_id, found.attempt, found.purpose) == ("b", "b", 0, trace.purpose)
