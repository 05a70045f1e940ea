"""Raw traces and jobs made by hand, with known answers."""

from __future__ import annotations

from dataclasses import replace

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
    Status,
    reduce_trace,
)

INA219 = Meter(kind="ina219", quality=MeterQuality.MEASURED, shunt_ohm=0.1, config=0x19DF)


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


def job(latency_s: float, candidate: str = "c", half_s: float = 0.0, *, is_anchor: bool = False) -> Job:
    interval = Interval(value=latency_s, low=latency_s - half_s, high=latency_s + half_s)
    return replace(
        reduce_trace(replace(TRACE, windows=())),
        candidate=CandidateId(candidate),
        is_anchor=is_anchor,
        latency=JobLatency(
            median_s=interval,
            floor_s=latency_s,
            p90_s=None,
            p99_s=None,
            runs=1,
            blocks=1,
            mean_s=latency_s,
            minimum_s=latency_s,
            block_medians_s=(latency_s,),
            between_block_cv=None,
            drift=None,
        ),
    )
