"""The energy protocol through the whole of profile_batch, on a virtual clock and at known powers."""

from __future__ import annotations

import statistics
from dataclasses import replace
from pathlib import Path

import pytest
from edgepareto.agent.errors import MeterStatus, Status
from edgepareto.agent.profiling import CandidateTrace
from edgepareto.agent.profiling.energy_window import idle_drifted
from edgepareto.agent.profiling.trace import PowerWindow
from fakes.virtual_board import VirtualBoard


def measure(board: VirtualBoard, *names: str) -> tuple[CandidateTrace, ...]:
    return board.measure(replace(board.request(*names), measure_energy=True))


def test_windows_hold_the_seconds_the_samples_and_the_inferences_of_the_preset(tmp_path: Path) -> None:
    board = VirtualBoard(tmp_path, latency_s=lambda candidate, _: 0.3 if candidate == "slow" else 0.005)
    for trace in measure(board, "dense", "slow"):
        busy = [window for window in trace.windows if window.busy]
        assert [window.round for window in busy] == [0, 1, 2]
        for window in busy:
            assert window.end_ns - window.start_ns >= 5e9
            assert len(window.power_uw) >= 500
            assert window.inferences >= 30
            assert set(window.power_uw) == {4_000_000}, "the guards keep the edges out"
        for window in trace.windows:
            assert window.busy or set(window.power_uw) == {2_500_000}


def test_the_range_is_fixed_once_by_the_anchor_after_the_latency_rounds(tmp_path: Path) -> None:
    with_meter, without = VirtualBoard(tmp_path / "a"), VirtualBoard(tmp_path / "b")
    metered = measure(with_meter, "dense", "a")
    unmetered = without.measure(without.request("dense", "a"))
    assert with_meter.ranged_w == [4.0]
    for trace in metered:
        assert trace.meter is not None
        assert trace.meter.config == 0x09DF, "the one that was in force"
        assert "RANGED" in trace.tags, "what the meter says of its numbers goes with every one"
    assert [trace.blocks for trace in metered] == [trace.blocks for trace in unmetered], "latency knows no meter"


@pytest.mark.parametrize(("drift_w", "tagged"), [(0.10, False), (0.25, True), (-0.25, True)])
def test_idle_power_that_drifts_by_a_tenth_of_the_dynamic_power_is_tagged(
    tmp_path: Path, drift_w: float, tagged: bool
) -> None:
    """Dynamic power is 1.5 W; a round lasts about 11 s."""
    board = VirtualBoard(tmp_path, idle_w=lambda now_ns: 2.5 + (drift_w if now_ns > 20e9 else 0.0))
    for trace in measure(board, "dense", "a"):
        assert (trace.status, trace.meter_status) == (Status.OK, MeterStatus.OK)
        assert ("IDLE_DRIFT" in trace.tags) == tagged
        levels = {round(statistics.fmean(window.power_uw)) for window in trace.windows if not window.busy}
        assert len(levels) == 2, "the step lies between two idle windows"


@pytest.mark.parametrize("shared", [False, True])
def test_a_step_of_5_percent_in_the_energy_rounds_raises_anchor_drift(tmp_path: Path, shared: bool) -> None:
    """The latency rounds end after 9 s, the energy rounds after 51 s."""
    board = VirtualBoard(tmp_path, latency_s=lambda _, now_ns: 0.00525 if now_ns > 30e9 else 0.005)
    request = replace(board.request("dense", "a"), measure_energy=True)
    for trace in board.measure(request, shared=shared):
        assert trace.status is (Status.OK if shared else Status.ANCHOR_DRIFT)
        assert trace.tags == ({"RANGED", "ANCHOR_DRIFT"} if shared else {"RANGED"})
        assert shared or "in its energy windows drifted by +5.0%" in trace.message


def test_a_board_that_drifted_in_the_latency_rounds_wastes_no_energy_rounds(tmp_path: Path) -> None:
    board = VirtualBoard(tmp_path, latency_s=lambda _, now_ns: 0.00525 if now_ns > 6e9 else 0.005)
    for trace in measure(board, "dense", "a"):
        assert (trace.status, trace.windows) == (Status.ANCHOR_DRIFT, ())
    assert "energy" not in {step.stage for step in board.steps}


def window(power_uw: int, *, busy: bool) -> PowerWindow:
    return PowerWindow(
        busy=busy, round=0, start_ns=0, end_ns=1, inferences=0, timestamp_ns=(1,), power_uw=(power_uw,), bus_uv=()
    )


@pytest.mark.parametrize(
    ("before", "busy", "after", "drifted"),
    [
        (2_500, 3_500, 2_500, False),
        (2_500, 3_500, 2_590, False),  # 90 of 955
        (2_500, 3_500, 2_610, True),
        (2_610, 3_500, 2_500, True),
        (2_500, 2_500, 2_500, False),  # nothing above idle, nothing drifted
        (2_500, 2_500, 2_501, True),  # and the least drift is more than that
        (3_000, 2_500, 3_100, True),
    ],
)
def test_idle_drift_is_judged_by_what_the_model_draws_above_idle(
    before: int, busy: int, after: int, drifted: bool
) -> None:
    seen = idle_drifted(window(before, busy=False), window(busy, busy=True), window(after, busy=False))
    assert seen is drifted
