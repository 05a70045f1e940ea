"""From traces to numbers: known answers, and that the widened interval holds what it says."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from edgepareto.host.domain import (
    CandidateId,
    Conditions,
    DeviceName,
    Interval,
    Job,
    JobLatency,
    LatencyBlock,
    Meter,
    MeterQuality,
    MeterStatus,
    PowerWindow,
    ProfileTrace,
    Purpose,
    Repeatability,
    Status,
    pool,
    reduce_trace,
    repeatability,
)
from hypothesis import given
from hypothesis import strategies as st

INA219 = Meter(kind="ina219", quality=MeterQuality.MEASURED)
NO_LIMITS = Repeatability(latency=0, energy=0, repeats=0)


def block(*run_ns: int) -> LatencyBlock:
    return LatencyBlock(round=0, position=0, start_ns=0, run_ns=run_ns)


def window(*, busy: bool, watts: float, seconds: float = 2.0, inferences: int = 100, bus_v: float = 5.0) -> PowerWindow:
    return PowerWindow(
        busy=busy,
        round=0,
        start_ns=1_000_000_000,
        end_ns=1_000_000_000 + int(seconds * 1e9),
        inferences=inferences if busy else 0,
        timestamp_ns=(1_500_000_000, 2_000_000_000),
        power_uw=(int(watts * 1e6) - 1000, int(watts * 1e6) + 1000),
        bus_uv=(int(bus_v * 1e6), int(bus_v * 1e6) - 4000),
    )


TRACE = ProfileTrace(
    candidate=CandidateId("c"),
    device=DeviceName("pi1"),
    job_id="j",
    purpose=Purpose.SEARCH,
    attempt=0,
    is_anchor=False,
    model_sha256="",
    status=Status.OK,
    message="",
    tags=frozenset(),
    preset="quick",
    board_id="b",
    boot_id="b",
    agent_version="0",
    simulated=True,
    order_seed=0,
    runtime=None,
    load_ns=None,
    first_run_ns=None,
    output_error=None,
    blocks=(
        block(10_000_000, 12_000_000, 11_000_000),
        block(
            13_000_000,
        ),
        block(900_000_000, 12_000_000, 12_000_000),
    ),
    meter_status=MeterStatus.OK,
    meter=INA219,
    windows=(
        window(busy=False, watts=1.0),
        window(busy=True, watts=3.0),
        window(busy=True, watts=3.0, bus_v=4.9),
        window(busy=False, watts=1.5),
    ),
    before=Conditions(),
    after=Conditions(),
    peak_rss_bytes=None,
)


def job(latency_s: float, candidate: str = "c", half_s: float = 0.0) -> Job:
    interval = Interval(value=latency_s, low=latency_s - half_s, high=latency_s + half_s)
    return replace(
        reduce_trace(replace(TRACE, windows=())),
        candidate=CandidateId(candidate),
        latency=JobLatency(median_s=interval, floor_s=latency_s, p90_s=None, p99_s=None, runs=1, blocks=1),
    )


def test_latency_is_the_median_of_block_medians_with_their_t_interval() -> None:
    latency = reduce_trace(TRACE).latency
    assert latency is not None
    assert latency.median_s.value == pytest.approx(0.012)
    # medians 11, 13, 12 ms: sd 1 ms, t(2, .975) = 4.302653
    assert latency.median_s.half_width == pytest.approx(4.302653 * 0.001 / np.sqrt(3), rel=1e-6)
    assert (latency.runs, latency.blocks, latency.p90_s, latency.p99_s) == (7, 3, None, None)


def test_energy_is_watts_times_seconds_per_inference_and_dynamic_above_idle() -> None:
    energy = reduce_trace(TRACE).energy
    assert energy is not None
    assert energy.total_j.value == pytest.approx(3.0 * 2.0 / 100)
    assert energy.total_j.half_width == pytest.approx(
        0.016 * 0.06
    )  # equal windows: the meter's own uncertainty is left
    assert energy.dynamic_j == pytest.approx((3.0 - 1.25) * 0.02)
    assert energy.lowest_bus_v == pytest.approx(4.896)
    assert (energy.windows, energy.samples) == (2, 4)


@pytest.mark.parametrize("jobs", [1, 100])
def test_no_number_of_repeats_makes_the_meters_own_error_smaller(jobs: int) -> None:
    pooled = pool([reduce_trace(TRACE)] * jobs, Repeatability(latency=0, energy=2.77 * 0.01, repeats=9))
    assert pooled is not None
    assert pooled.energy_j is not None
    between = 1.96 * 0.01 / np.sqrt(jobs)
    assert pooled.energy_j.half_width == pytest.approx(np.hypot(0.016, between) * pooled.energy_j.value)


def test_a_counter_without_a_published_figure_has_a_statistical_interval_alone() -> None:
    windows = (window(busy=True, watts=3.0), window(busy=True, watts=3.3))
    rapl = reduce_trace(replace(TRACE, windows=windows, meter=Meter(kind="rapl", quality=MeterQuality.COUNTER))).energy
    ina219 = reduce_trace(replace(TRACE, windows=windows)).energy
    assert rapl is not None
    assert ina219 is not None
    assert (rapl.systematic_j, rapl.total_j) == (0.0, rapl.statistical_j)
    assert ina219.statistical_j.half_width == pytest.approx(rapl.total_j.half_width)
    assert ina219.total_j.half_width == pytest.approx(np.hypot(rapl.total_j.half_width, 0.016 * 0.063))


@pytest.mark.parametrize("status", [s for s in Status if s is not Status.OK])
def test_a_job_that_failed_has_no_number(status: Status) -> None:
    failed = reduce_trace(replace(TRACE, status=status))
    assert (failed.usable, failed.latency, failed.energy) == (False, None, None)


def test_a_meter_that_failed_costs_the_energy_alone() -> None:
    found = reduce_trace(replace(TRACE, meter_status=MeterStatus.STUCK))
    assert found.usable
    assert found.energy is None


def test_repeatability_pools_the_variance_of_logarithms_over_candidates() -> None:
    jobs = [job(0.010, "a"), job(0.0102, "a"), job(0.020, "b"), job(0.0198, "b"), job(0.0201, "b"), job(5.0, "once")]
    a, b = np.log([0.010, 0.0102]), np.log([0.020, 0.0198, 0.0201])
    cv = np.sqrt((a.var(ddof=1) + 2 * b.var(ddof=1)) / 3)
    found = repeatability(jobs)
    assert found.latency == pytest.approx(2.77 * cv)
    assert (found.repeats, found.energy) == (3, 0.0)
    assert repeatability([job(1.0)]) == NO_LIMITS


def test_pooling_averages_jobs_and_narrows_the_between_job_part_only_with_their_number() -> None:
    limits = Repeatability(latency=2.77 * 0.01, energy=0, repeats=9)
    one, four = pool([job(1.0)], limits), pool([job(0.98), job(1.02), job(0.98), job(1.02)], limits)
    assert one is not None
    assert four is not None
    assert one.latency_s.half_width == pytest.approx(1.96 * 0.01)
    assert four.latency_s.value == pytest.approx(1.0)
    assert four.latency_s.half_width == pytest.approx(1.96 * 0.01 / 2)
    assert (one.jobs, four.jobs, four.energy_j) == (1, 4, None)


@pytest.mark.parametrize("tag", ["CONTENDED", "ANCHOR_DRIFT"])
def test_the_interval_of_a_disturbed_job_is_that_of_one_block_and_its_value_stays(tag: str) -> None:
    windows = (window(busy=True, watts=3.0), window(busy=True, watts=3.3))
    quiet = pool([reduce_trace(replace(TRACE, windows=windows, meter=None, tags=frozenset({"QUICK"})))], NO_LIMITS)
    tagged = pool([reduce_trace(replace(TRACE, windows=windows, meter=None, tags=frozenset({tag})))], NO_LIMITS)
    assert quiet is not None
    assert tagged is not None
    assert tagged.latency_s.value == quiet.latency_s.value
    assert tagged.latency_s.half_width == pytest.approx(4.302653 * 0.001, rel=1e-6)
    assert quiet.latency_s.half_width == pytest.approx(4.302653 * 0.001 / np.sqrt(3), rel=1e-6)
    assert quiet.energy_j is not None
    assert tagged.energy_j is not None
    assert tagged.energy_j.half_width == pytest.approx(quiet.energy_j.half_width * np.sqrt(2))


def test_pooling_leaves_failed_jobs_out_and_answers_none_without_any() -> None:
    failed = reduce_trace(replace(TRACE, status=Status.TIMEOUT))
    assert pool([failed], NO_LIMITS) is None
    found = pool([failed, job(2.0)], NO_LIMITS)
    assert found is not None
    assert (found.jobs, found.latency_s.value) == (1, 2.0)


def test_the_widened_interval_holds_the_truth_in_at_least_nine_of_ten_repeated_jobs() -> None:
    """T18: a between-job sd of 1 % and a far narrower one within; the interval within a job alone would hold few."""
    random = np.random.default_rng(0)
    jobs = [job(float(0.01 * np.exp(0.01 * random.standard_normal())), half_s=1e-6) for _ in range(200)]
    limits = repeatability(jobs)
    held = [m.latency_s.low <= 0.01 <= m.latency_s.high for j in jobs if (m := pool([j], limits)) is not None]
    assert np.mean(held) >= 0.9
    alone = [m.latency_s.low <= 0.01 <= m.latency_s.high for j in jobs if (m := pool([j], NO_LIMITS)) is not None]
    assert np.mean(alone) < 0.1


@given(st.lists(st.floats(1e-5, 10), min_size=1, max_size=8))
def test_a_pooled_value_lies_among_its_jobs_and_in_its_interval(latencies: list[float]) -> None:
    jobs = [job(value) for value in latencies]
    found = pool(jobs, repeatability(jobs))
    assert found is not None
    assert min(latencies) <= found.latency_s.value * (1 + 1e-12)
    assert found.latency_s.value <= max(latencies) * (1 + 1e-12)
    assert found.latency_s.low <= found.latency_s.value <= found.latency_s.high
