"""Throttling through the whole of profile_batch: what it touched is void and measured again after a cool-down."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from edgepareto.agent.errors import MeterStatus, Status
from edgepareto.agent.profiling import PRESETS, Board, CandidateTrace, profile_batch
from edgepareto.agent.profiling.board_watch import COOL_DOWN_S, MAXIMUM_TRIES, throttling
from edgepareto.agent.simulation.board import create_board
from fakes.virtual_board import VirtualBoard
from hypothesis import given
from hypothesis import strategies as st

SIMULATED_MODEL = 2048  # channels: milliseconds on the board


def at(start_s: float, end_s: float, now: int) -> Callable[[int], int]:
    """Those bits in that time, and their sticky ones from then on."""

    def bits(now_ns: int) -> int:
        since_boot = now << 16 if now_ns >= start_s * 1e9 else 0
        return since_boot | (now if start_s * 1e9 <= now_ns < end_s * 1e9 else 0)

    return bits


def assert_clean(traces: tuple[CandidateTrace, ...], start_s: float, end_s: float) -> None:
    """No run of any trace was timed while the board was throttled."""
    for trace in traces:
        for block in trace.blocks:
            assert block.start_ns + sum(block.run_ns) <= start_s * 1e9 or block.start_ns >= end_s * 1e9
        for window in trace.windows:
            assert window.end_ns <= start_s * 1e9 or window.start_ns >= end_s * 1e9


@pytest.mark.parametrize(
    ("before", "after", "status"),
    [
        (0, 0, None),
        (None, None, None),
        (0x50000, 0x50000, None),  # it was, before: not now
        (0, 0x50000, Status.UNDERVOLTAGE),  # and is over again
        (0x50000, 0x50005, Status.UNDERVOLTAGE),
        (0, 0x20000, Status.THROTTLED),
        (0, 0x40004, Status.THROTTLED),
        (0x40000, 0xC0000, Status.TOO_HOT),
        (None, 0x80008, Status.TOO_HOT),
        (None, 0x80000, None),  # nobody knows since when
    ],
)
def test_a_bit_set_now_or_a_new_one_since_boot_is_throttling(
    before: int | None, after: int | None, status: Status | None
) -> None:
    seen = throttling(before, after)
    assert (None if seen is None else seen.status) is status
    assert seen is None or f"{after:#x}" in seen.seen


BITS = st.integers(0, 15).map(lambda bits: bits | bits << 16)


@given(BITS, BITS)
def test_no_throttling_passes_and_none_is_made_up(before: int, after: int) -> None:
    """after: of a firmware that keeps since boot what it shows now."""
    now = after & 0xF
    after |= before & 0xF0000
    assert (throttling(before, after) is not None) == bool(now)
    over = after & 0xF0000
    assert (throttling(before, over) is not None) == bool(over & ~before)
    assert throttling(over, over) is None


@pytest.mark.parametrize(("start_s", "end_s"), [(3.0, 3.05), (3.0, 3.3), (4.0, 9.0)])
def test_a_throttled_block_is_void_and_measured_again(tmp_path: Path, start_s: float, end_s: float) -> None:
    """T25."""
    board = VirtualBoard(tmp_path, throttle_bits=at(start_s, end_s, 0b0100))
    traces = board.measure(board.request("dense", "a", "b"))
    assert [(trace.status, trace.message) for trace in traces] == [(Status.OK, "")] * 3
    assert [len(trace.blocks) for trace in traces] == [5, 5, 5]
    assert sum(trace.voided for trace in traces) == 1
    assert_clean(traces, start_s, end_s)
    pauses = [step.round for step in board.steps if step.stage == "cool-down"]
    assert pauses == list(range(0, 2 * len(pauses), 2)), "seconds, told again and again"
    assert len(pauses) >= (end_s - start_s - 0.9) // 2


@pytest.mark.parametrize("start_s", [17.0, 25.0])
def test_a_throttled_energy_window_is_void_and_measured_again(tmp_path: Path, start_s: float) -> None:
    """T25: an idle window, and a busy one."""
    board = VirtualBoard(tmp_path, throttle_bits=at(start_s, start_s + 0.5, 0b0001))
    request = replace(board.request("dense", "a", "b"), measure_energy=True)
    traces = board.measure(request)
    for trace in traces:
        assert (trace.status, trace.meter_status) == (Status.OK, MeterStatus.OK)
        assert [window.round for window in trace.windows if window.busy] == [0, 1, 2]
        assert [window.round for window in trace.windows if not window.busy] == [0, 1, 2, 3]
    assert any(trace.voided for trace in traces)
    assert_clean(traces, start_s, start_s + 0.5)


@pytest.mark.parametrize(
    ("bit", "status"), [(0b0001, Status.UNDERVOLTAGE), (0b0010, Status.THROTTLED), (0b1000, Status.TOO_HOT)]
)
def test_a_block_that_is_throttled_again_and_again_voids_the_batch(tmp_path: Path, bit: int, status: Status) -> None:
    board = VirtualBoard(tmp_path)
    board.throttle_bits = lambda now_ns: bit if board.segments[-1][1] > 3 else 0  # under load alone
    dense, a = board.measure(board.request("dense", "a"))
    assert (dense.status, a.status) == (status, status)
    assert (dense.voided, a.voided) == (MAXIMUM_TRIES, 0)
    assert dense.blocks == a.blocks == ()
    assert f"{bit:#x}" in dense.message
    assert "3 tries of a latency block of dense" in dense.message
    assert "\n" not in dense.message


def test_a_hot_board_cools_down_before_anything_is_timed(tmp_path: Path) -> None:
    board = VirtualBoard(tmp_path, temperature_c=lambda now_ns: max(60.0, 83.0 - now_ns * 1e-9 / 20))
    dense, _ = board.measure(board.request("dense", "a"))
    assert dense.status is Status.OK
    assert dense.before.temperature_c is not None
    assert dense.before.temperature_c < 78.5, "below the limit of 80 by 2 K, or it would be there again at once"
    cooled_s = [step.round for step in board.steps if step.stage == "cool-down"]
    assert cooled_s[-1] == pytest.approx(100, abs=3)
    assert min(block.start_ns for block in dense.blocks) > 100e9


def test_a_board_that_does_not_cool_down_is_void_after_a_bounded_time(tmp_path: Path) -> None:
    board = VirtualBoard(tmp_path, temperature_c=lambda now_ns: 84.6)
    dense, a = board.measure(board.request("dense", "a"))
    assert (dense.status, a.status) == (Status.TOO_HOT, Status.TOO_HOT)
    assert "84.6 °C" in dense.message
    assert "80 °C" in dense.message
    assert board.now_ns == pytest.approx(COOL_DOWN_S * 1e9, rel=0.02)
    assert board.steps[-1].stage == "cool-down"


def test_a_board_without_throttle_bits_is_throttled_where_it_is_too_hot(tmp_path: Path) -> None:
    board = VirtualBoard(tmp_path, throttle_bits=lambda now_ns: None)
    board.temperature_c = lambda now_ns: 81.0 if 3e9 < now_ns < 4e9 else 60.0
    traces = board.measure(board.request("dense", "a"))
    assert [trace.status for trace in traces] == [Status.OK] * 2
    assert sum(trace.voided for trace in traces) >= 1
    assert_clean(traces, 3.5, 4.0)


def measure_simulated(bench, folder: Path, *faults: str) -> tuple[CandidateTrace, ...]:
    simulated = create_board("raspberry-pi-4b", folder, seed=3, faults=faults)
    board = Board(
        clock=simulated.clock,
        sys_root=simulated.sys_root,
        meter=None,
        default_threads=4,
        shared=False,
        simulation=folder,
    )
    request = bench.request(*(bench.spec(name, channels=SIMULATED_MODEL) for name in ("dense", "a")))
    request = replace(request, preset="quick", measure_energy=False)
    return tuple(profile_batch(request, board, on_progress=lambda _: None, cancelled=lambda: False, presets=PRESETS))


def test_on_a_simulated_board_a_throttled_block_leaves_the_numbers_as_if_nothing_had_been(
    bench, tmp_path: Path
) -> None:
    """T25, with the clock falling for 0.7 s in the middle of a block."""
    steady = measure_simulated(bench, tmp_path / "steady")
    throttled = measure_simulated(bench, tmp_path / "throttled", "throttle_mid_block=2.0")
    assert [trace.status for trace in throttled] == [Status.OK] * 2
    assert sum(trace.voided for trace in throttled) == 1
    for one, other in zip(steady, throttled, strict=True):
        slowest, usual = (max(ns for block in trace.blocks for ns in block.run_ns) for trace in (other, one))
        assert slowest < 1.3 * usual


def test_a_simulated_supply_that_sags_under_load_voids_the_batch(bench, tmp_path: Path) -> None:
    traces = measure_simulated(bench, tmp_path / "board", "undervoltage")
    assert [trace.status for trace in traces] == [Status.UNDERVOLTAGE] * 2
    assert all("stronger supply" in trace.message for trace in traces)
