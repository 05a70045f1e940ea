"""A stored trace is the trace, to the last nanosecond, and small enough to keep."""

from __future__ import annotations

import json
import zlib

import numpy as np
import pytest
from edgepareto.host.domain import (
    CandidateId,
    Conditions,
    DeviceName,
    LatencyBlock,
    Meter,
    MeterQuality,
    MeterStatus,
    OperatorTime,
    PowerWindow,
    ProfileTrace,
    Purpose,
    RuntimeUsed,
    Status,
)
from edgepareto.host.errors import StudyError
from edgepareto.host.store.trace_codec import decode_trace, encode_trace
from hypothesis import given
from hypothesis import strategies as st

integers = st.integers(-(2**63), 2**63 - 1)
counts = st.integers(0, 2**31)
text = st.text(max_size=8)
maybe_float = st.none() | st.floats(allow_nan=False)
series = st.lists(integers | st.integers(0, 300), max_size=6).map(tuple)

conditions = st.builds(
    Conditions,
    temperature_c=maybe_float,
    governor=st.none() | text,
    throttle_bits=st.none() | counts,
    contention=maybe_float,
    power_mode=st.none() | text,
    time_in_state=st.lists(st.tuples(counts, counts), max_size=3).map(tuple),
    clocks_fixed=st.none() | st.booleans(),
    gpu_frequency_hz=st.none() | st.floats(0, 1e12),
    memory_frequency_hz=st.none() | st.floats(0, 1e12),
)
operators = st.builds(OperatorTime, name=text, op_type=text, total_ns=counts, runs=counts)
meters = st.builds(
    Meter,
    kind=text,
    quality=st.sampled_from(MeterQuality),
    address=st.none() | counts,
    shunt_ohm=maybe_float,
    fault=st.none() | text,
)
runtimes = st.builds(
    RuntimeUsed,
    name=text,
    version=text,
    provider=text,
    threads=counts,
    options=st.lists(st.tuples(text, text), max_size=3).map(tuple),
)
blocks = st.builds(LatencyBlock, round=counts, position=counts, start_ns=integers, run_ns=series)
windows = st.builds(
    PowerWindow,
    busy=st.booleans(),
    round=counts,
    start_ns=integers,
    end_ns=integers,
    inferences=counts,
    timestamp_ns=series,
    power_uw=series,
    bus_uv=series,
    i2c_errors=counts,
)
traces = st.builds(
    ProfileTrace,
    candidate=text.map(CandidateId),
    device=text.map(DeviceName),
    job_id=text,
    purpose=st.sampled_from(Purpose),
    attempt=counts,
    is_anchor=st.booleans(),
    model_sha256=text,
    status=st.sampled_from(Status),
    message=text,
    tags=st.frozensets(text, max_size=3),
    preset=text,
    board_id=text,
    boot_id=text,
    agent_version=text,
    simulated=st.booleans(),
    order_seed=st.integers(0, 2**64 - 1),
    runtime=st.none() | runtimes,
    load_ns=st.none() | counts,
    first_run_ns=st.none() | counts,
    output_error=maybe_float,
    blocks=st.lists(blocks, max_size=3).map(tuple),
    meter_status=st.sampled_from(MeterStatus),
    meter=st.none() | meters,
    windows=st.lists(windows, max_size=3).map(tuple),
    before=conditions,
    after=conditions,
    peak_rss_bytes=st.none() | counts,
    operators=st.lists(operators, max_size=2).map(tuple),
    anchor_ratio=maybe_float,
    voided=counts,
    protocol=counts,
)


@given(traces)
def test_every_field_of_a_trace_survives_and_the_bytes_are_deterministic(trace: ProfileTrace) -> None:
    data = encode_trace(trace)
    assert decode_trace(data) == trace
    assert encode_trace(decode_trace(data)) == data


def standard_trace(seed: int = 0) -> ProfileTrace:
    """What the standard preset gives: 15 blocks of 30 runs, three busy windows of 5 s and four idle ones of 3 s."""
    random = np.random.default_rng(seed)

    def run_ns(count: int) -> tuple[int, ...]:
        return tuple(int(v) for v in random.normal(10_000_000, 100_000, count))

    def window(busy: bool, start_s: float, seconds: float) -> PowerWindow:
        n = int(209 * seconds)
        stamps = start_s * 1e9 + np.cumsum(random.normal(4.78e6, 2e5, n))
        return PowerWindow(
            busy=busy,
            round=0,
            start_ns=int(start_s * 1e9),
            end_ns=int((start_s + seconds) * 1e9),
            inferences=500 if busy else 0,
            timestamp_ns=tuple(int(v) for v in stamps),
            power_uw=tuple(int(v) * 2000 for v in random.normal(2900 if busy else 1300, 6, n)),
            bus_uv=tuple(int(v) * 4000 for v in random.normal(1280, 1, n)),
        )

    return ProfileTrace(
        candidate=CandidateId("a1b2c3d4e5f6"),
        device=DeviceName("pi1"),
        job_id="j",
        purpose=Purpose.SEARCH,
        attempt=0,
        is_anchor=False,
        model_sha256="0" * 64,
        status=Status.OK,
        message="",
        tags=frozenset(),
        preset="standard",
        board_id="board",
        boot_id="boot",
        agent_version="0.1.0",
        simulated=True,
        order_seed=1,
        runtime=None,
        load_ns=1,
        first_run_ns=1,
        output_error=0.0,
        blocks=tuple(LatencyBlock(round=r, position=0, start_ns=r * 10**9, run_ns=run_ns(30)) for r in range(15)),
        meter_status=MeterStatus.OK,
        meter=None,
        windows=tuple(window(i % 2 == 1, 20.0 + 5 * i, 5.0 if i % 2 else 3.0) for i in range(7)),
        before=Conditions(),
        after=Conditions(),
        peak_rss_bytes=None,
    )


def test_a_trace_of_the_standard_preset_takes_at_most_50_kb() -> None:
    assert len(encode_trace(standard_trace())) <= 50_000


@pytest.mark.parametrize("cut", [0, 3, -1])
def test_damaged_bytes_are_a_study_error_in_one_line(cut: int) -> None:
    with pytest.raises(StudyError, match=r"^a stored trace cannot be read .*$"):
        decode_trace(encode_trace(standard_trace())[:cut])


def test_a_trace_of_before_protocols_were_kept_is_of_the_first() -> None:
    raw = zlib.decompress(encode_trace(standard_trace()))
    end = 4 + int.from_bytes(raw[:4], "little")
    header = json.loads(raw[4:end])
    del header["trace"]["protocol"]
    text = json.dumps(header).encode()
    older = zlib.compress(len(text).to_bytes(4, "little") + text + raw[end:])
    assert decode_trace(older) == standard_trace()
    assert decode_trace(older).protocol == 1
