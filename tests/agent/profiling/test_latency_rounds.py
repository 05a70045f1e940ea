"""The latency protocol through the whole of profile_batch, on a virtual clock and with models of known latency."""

from __future__ import annotations

import random
import statistics
from dataclasses import replace
from pathlib import Path

import pytest
from edgepareto.agent.errors import Status
from edgepareto.agent.profiling import AnchorBaseline, CandidateTrace
from fakes.virtual_board import BOOT_ID, GOVERNOR, VirtualBoard

LATENCY_S = 0.005


def noisy(sd: float, *, seed: int = 0, outliers: float = 0.0):
    """Every run scatters by itself; a share of them takes 20 times as long."""
    generator = random.Random(seed)

    def latency_s(candidate: str, now_ns: int) -> float:
        factor = 20.0 if generator.random() < outliers else 1.0
        return LATENCY_S * factor * (1 + generator.gauss(0, sd))

    return latency_s


def scattered_blocks(sd: float, names: str):
    """Those candidates' level changes every 0.8 s of the clock, about once a block."""

    def latency_s(candidate: str, now_ns: int) -> float:
        level = random.Random(f"{candidate} {now_ns // 800_000_000}").gauss(0, sd) if candidate in names else 0.0
        return LATENCY_S * (1 + level)

    return latency_s


def median_s(trace: CandidateTrace) -> float:
    return statistics.median(statistics.median(block.run_ns) for block in trace.blocks) * 1e-9


def baseline(factor: float = 1.0, *, boot_id: str = BOOT_ID, governor: str = "performance") -> AnchorBaseline:
    return AnchorBaseline(latency_ns=round(LATENCY_S * factor * 1e9), boot_id=boot_id, governor=governor)


def test_a_model_of_5_ms_is_measured_to_1_percent(tmp_path: Path) -> None:
    """T16."""
    board = VirtualBoard(tmp_path, latency_s=noisy(0.02))
    for trace in board.measure(board.request("dense", "a")):
        assert (trace.status, trace.tags) == (Status.OK, frozenset())
        assert median_s(trace) == pytest.approx(LATENCY_S, rel=0.01)


def test_a_tenth_of_the_runs_at_twenty_times_the_latency_leaves_the_median(tmp_path: Path) -> None:
    """T16."""
    board = VirtualBoard(tmp_path, latency_s=noisy(0.01, outliers=0.1))
    traces = board.measure(board.request("dense", "a"))
    for trace in traces:
        runs = [ns for block in trace.blocks for ns in block.run_ns]
        assert statistics.fmean(runs) > 2 * LATENCY_S * 1e9, "the mean is useless"
        assert median_s(trace) == pytest.approx(LATENCY_S, rel=0.01)


@pytest.mark.parametrize("at_s", [2, 4, 8, 10.5, 11.5])
@pytest.mark.parametrize("shared", [False, True])
def test_a_step_of_5_percent_raises_anchor_drift_or_not_converged(tmp_path: Path, at_s: float, shared: bool) -> None:
    """T16."""
    board = VirtualBoard(tmp_path, latency_s=lambda _, now_ns: LATENCY_S * (1.05 if now_ns > at_s * 1e9 else 1.0))
    for trace in board.measure(board.request("dense", "a", "b"), shared=shared):
        raised = {trace.status.value, *trace.tags}
        assert raised & {"ANCHOR_DRIFT", "NOT_CONVERGED"}
        assert shared or trace.status is Status.ANCHOR_DRIFT
        assert not shared or (trace.status is Status.OK and "ANCHOR_DRIFT" in trace.tags)


def test_each_candidate_stops_when_it_is_settled_and_the_anchor_times_every_round(tmp_path: Path) -> None:
    board = VirtualBoard(tmp_path, latency_s=scattered_blocks(0.013, "b"))
    dense, steady, restless = board.measure(board.request("dense", "a", "b"))
    assert len(steady.blocks) == 5
    assert 5 < len(restless.blocks) < 15
    assert [block.round for block in dense.blocks] == [block.round for block in restless.blocks]
    assert [block.round for block in dense.blocks] == list(range(len(dense.blocks)))
    assert {block.position for block in restless.blocks[5:]} == {1}, "places are counted among those still measured"
    assert not any("NOT_CONVERGED" in trace.tags for trace in (dense, steady, restless))
    rounds = [(step.round, step.rounds) for step in board.steps if step.stage == "latency"]
    assert {most for round, most in rounds if round < 5} == {5}
    assert {most for round, most in rounds if round >= 5} == {15}


def test_a_candidate_that_never_settles_is_used_with_a_tag_after_the_last_round(tmp_path: Path) -> None:
    board = VirtualBoard(tmp_path, latency_s=scattered_blocks(0.06, "b"))
    dense, steady, restless = board.measure(board.request("dense", "a", "b"))
    assert (restless.status, len(restless.blocks), restless.tags) == (Status.OK, 15, {"NOT_CONVERGED"})
    assert (len(steady.blocks), steady.tags) == (5, frozenset())
    assert (len(dense.blocks), dense.tags) == (15, frozenset())


@pytest.mark.parametrize(("preset", "fewest"), [("quick", 3), ("standard", 5), ("audit", 9)])
def test_a_steady_board_needs_the_fewest_rounds_of_the_preset(tmp_path: Path, preset: str, fewest: int) -> None:
    board = VirtualBoard(tmp_path)
    traces = board.measure(board.request("dense", "a", preset=preset))
    assert [(len(trace.blocks), trace.preset) for trace in traces] == [(fewest, preset)] * 2


@pytest.mark.parametrize("shared", [False, True])
def test_a_board_that_is_off_its_baseline_is_void_before_the_candidates_cost_much(tmp_path: Path, shared: bool) -> None:
    board = VirtualBoard(tmp_path)
    traces = board.measure(board.request("dense", "a", "b", baseline=baseline(1.04)), shared=shared)
    assert all(trace.anchor_ratio == pytest.approx(1 / 1.04, rel=1e-6) for trace in traces)
    if shared:
        assert all((trace.status, trace.tags) == (Status.OK, {"ANCHOR_DRIFT"}) for trace in traces)
        assert [len(trace.blocks) for trace in traces] == [5, 5, 5]
    else:
        assert [trace.status for trace in traces] == [Status.ANCHOR_DRIFT] * 3
        assert all("-3.8%" in trace.message and "allowed 3%" in trace.message for trace in traces)
        assert len(traces[0].blocks) == 3


def test_a_board_at_its_baseline_is_measured_and_tells_the_ratio(tmp_path: Path) -> None:
    board = VirtualBoard(tmp_path)
    for trace in board.measure(board.request("dense", "a", baseline=baseline(0.98))):
        assert (trace.status, trace.tags) == (Status.OK, frozenset())
        assert trace.anchor_ratio == pytest.approx(1 / 0.98, rel=1e-6)


def test_one_disturbed_block_of_the_anchor_does_not_void_a_board_at_its_baseline(tmp_path: Path) -> None:
    def latency_s(candidate: str, now_ns: int) -> float:
        return LATENCY_S * (1.2 if candidate == "dense" and 2.0e9 < now_ns < 3.0e9 else 1.0)

    board = VirtualBoard(tmp_path, latency_s=latency_s)
    dense, a = board.measure(board.request("dense", "a", baseline=baseline()))
    assert max(statistics.median(block.run_ns) for block in dense.blocks) > 1.1 * LATENCY_S * 1e9
    assert (dense.status, a.status) == (Status.OK, Status.OK)


@pytest.mark.parametrize("other", [baseline(2.0, boot_id="boot-2"), baseline(2.0, governor="powersave"), None])
def test_a_baseline_of_another_boot_or_governor_is_not_compared(tmp_path: Path, other: AnchorBaseline | None) -> None:
    board = VirtualBoard(tmp_path)
    for trace in board.measure(board.request("dense", "a", baseline=other)):
        assert (trace.status, trace.anchor_ratio) == (Status.OK, None)


def test_a_fan_that_changed_voids_energy_and_is_told_with_latency(tmp_path: Path) -> None:
    fan = "sys/class/thermal/cooling_device0"
    board = VirtualBoard(tmp_path)
    board.show(f"{fan}/type", "pwm-fan")

    def turn(now_ns: int) -> float:
        board.show(f"{fan}/cur_state", "1" if now_ns > 8e9 else "0")
        return 50.0

    board.temperature_c = turn
    request = board.request("dense", "a")
    assert [trace.tags for trace in board.measure(request)] == [{"FAN_CHANGED"}] * 2
    for trace in board.measure(replace(request, measure_energy=True)):
        assert trace.status is Status.ANCHOR_DRIFT
        assert "the fan level changed from 0 to 1" in trace.message


def test_a_governor_that_changes_in_the_batch_voids_it(tmp_path: Path) -> None:
    board = VirtualBoard(tmp_path)

    def change(now_ns: int) -> float:
        board.show(GOVERNOR, "powersave" if now_ns > 8e9 else "performance")
        return 50.0

    board.temperature_c = change
    for trace in board.measure(board.request("dense", "a")):
        assert trace.status is Status.ANCHOR_DRIFT
        assert "from performance to powersave" in trace.message
