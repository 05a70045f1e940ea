from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from edgepareto.agent.clock import SystemClock
from edgepareto.agent.conditions import Conditions
from edgepareto.agent.errors import Status
from edgepareto.agent.profiling.board import Board
from edgepareto.agent.profiling.preflight import (
    ContentionGauge,
    judge,
    judge_change,
    judge_level,
    look_around,
)
from edgepareto.agent.profiling.trace import LatencyBlock

QUIET = Board(clock=SystemClock(), sys_root=Path("/"), meter=None, default_threads=1, shared=False)
SHARED = replace(QUIET, shared=True)
SIMULATED = replace(QUIET, simulation=Path("board"))


@pytest.mark.parametrize("contention", [None, 0.0, 0.049])
def test_a_quiet_board_and_one_that_does_not_tell_are_measured(contention: float | None) -> None:
    verdict = judge(Conditions(contention=contention), when="now", board=QUIET)
    assert (verdict.status, verdict.tags) == (Status.OK, frozenset())


def test_a_busy_board_gives_no_number_and_a_shared_one_gives_it_with_a_tag() -> None:
    verdict = judge(Conditions(contention=0.31), when="before the batch", board=QUIET)
    assert verdict.status is Status.CONTENDED
    assert "31%" in verdict.message
    assert "5%" in verdict.message
    shared = judge(Conditions(contention=0.31), when="before the batch", board=SHARED)
    assert (shared.status, shared.tags) == (Status.OK, {"CONTENDED"})


@pytest.mark.parametrize(
    ("board", "said", "unsaid"),
    [
        (QUIET, "shared = true in /etc/edgepareto/agent.toml (host deploy NAME --shared), for local", "simulated"),
        (SIMULATED, "take what disturbs it out of its faults", "shared"),
    ],
)
def test_the_advice_can_be_followed_on_a_board_of_this_kind(board: Board, said: str, unsaid: str) -> None:
    here = Conditions(contention=0.3)
    verdicts = [
        judge(here, when="before the batch", board=board),
        judge_change(here, here, blocks(1000, 1100), metered=True, board=board),
        judge_level(1.1, board=board),
    ]
    for verdict in verdicts:
        assert said in verdict.message
        assert unsaid not in verdict.message


def blocks(*median_ns: int) -> list[LatencyBlock]:
    return [LatencyBlock(round=i, position=0, start_ns=0, run_ns=(1, ns, 9 * ns)) for i, ns in enumerate(median_ns)]


@pytest.mark.parametrize(
    ("governors", "anchor", "said"),
    [
        (("performance", "performance"), blocks(1000, 5000, 1029), None),  # the middle is the candidates' business
        ((None, "performance"), blocks(1000), None),
        (("performance", "performance"), blocks(1000, 1031), "+3.1%"),
        (("performance", "performance"), blocks(1000, 960), "-4.0%"),
        (("performance", "powersave"), [], "from performance to powersave"),
    ],
)
def test_a_batch_in_which_the_board_changed_is_void_and_tagged_where_the_board_is_shared(
    governors: tuple[str | None, str | None], anchor: list[LatencyBlock], said: str | None
) -> None:
    before, after = (Conditions(governor=governor) for governor in governors)
    verdict = judge_change(before, after, anchor, metered=True, board=QUIET)
    shared = judge_change(before, after, anchor, metered=True, board=SHARED)
    assert verdict.status is (Status.OK if said is None else Status.ANCHOR_DRIFT)
    assert (said or "") in verdict.message
    assert (shared.status, shared.tags) == (Status.OK, frozenset() if said is None else {"ANCHOR_DRIFT"})


@pytest.mark.parametrize(
    ("levels", "metered", "verdict"),
    [
        ((2, 2), True, (Status.OK, frozenset())),
        ((2, 3), True, (Status.ANCHOR_DRIFT, frozenset())),
        ((2, 3), False, (Status.OK, {"FAN_CHANGED"})),
        ((None, 3), True, (Status.OK, frozenset())),
    ],
)
def test_a_fan_that_changed_voids_what_depends_on_it(
    levels: tuple[int | None, int], metered: bool, verdict: tuple[Status, set[str]]
) -> None:
    before, after = (Conditions(fan_level=level) for level in levels)
    seen = judge_change(before, after, [], metered=metered, board=QUIET)
    assert (seen.status, seen.tags) == verdict


def test_others_work_is_contention_and_our_workers_is_not(tmp_path: Path) -> None:
    def tell(busy: int, idle: int, worker: int) -> None:
        (tmp_path / "proc/7").mkdir(parents=True, exist_ok=True)
        (tmp_path / "proc/stat").write_text(f"cpu  {busy} 0 0 {idle} 0 0 0 0 0 0\n")
        (tmp_path / "proc/7/stat").write_text(f"7 (python) S {' '.join(['0'] * 10)} {worker} 0 0 0\n")

    tell(busy=100, idle=100, worker=0)
    board = Board(clock=_Still(), sys_root=tmp_path, meter=None, default_threads=1, shared=False)
    ours, everyone = ContentionGauge(board, [7]), ContentionGauge(board, [])
    tell(busy=5100, idle=5100, worker=4000)
    # The test's own few clock ticks are the agent's.
    assert ours.read() == pytest.approx(0.1, abs=0.01)
    assert everyone.read() == pytest.approx(0.5, abs=0.01)


def test_a_workers_work_is_ours_also_when_it_has_ended_meanwhile(tmp_path: Path) -> None:
    """A service's worker is no child of the agent, whose own times hold nothing of it."""
    (tmp_path / "proc/7").mkdir(parents=True)
    (tmp_path / "proc/stat").write_text("cpu  100 0 0 100 0 0 0 0 0 0\n")
    (tmp_path / "proc/7/stat").write_text(f"7 (python) S {' '.join(['0'] * 10)} 100 0 0 0\n")
    ended_ticks = [0]
    board = Board(clock=_Still(), sys_root=tmp_path, meter=None, default_threads=1, shared=False)
    gauge = ContentionGauge(board, [7], ended_ticks=lambda: ended_ticks[0])
    (tmp_path / "proc/stat").write_text("cpu  5100 0 0 5100 0 0 0 0 0 0\n")
    (tmp_path / "proc/7/stat").unlink()
    ended_ticks[0] = 4100
    assert gauge.read() == pytest.approx(0.1, abs=0.01)


def test_a_moment_is_too_short_to_tell_others_work(tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    stat = tmp_path / "proc/stat"
    stat.write_text("cpu  100 0 0 100 0 0 0 0 0 0\n")
    board = Board(clock=_Still(), sys_root=tmp_path, meter=None, default_threads=1, shared=False)
    gauge = ContentionGauge(board, [])
    stat.write_text("cpu  101 0 0 101 0 0 0 0 0 0\n")
    assert gauge.read() is None, "one tick of two is no half of the board"
    stat.write_text("cpu  150 0 0 150 0 0 0 0 0 0\n")
    assert gauge.read() == pytest.approx(0.5, abs=0.1)


def test_looking_around_tells_the_boards_memory_and_temperature(tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/meminfo").write_text("MemAvailable: 100 kB\n")
    board = Board(clock=_Still(), sys_root=tmp_path, meter=None, default_threads=1, shared=False)
    assert look_around(board, seconds=0.5) == Conditions(free_memory_bytes=102400)


class _Still(SystemClock):
    def sleep(self, seconds: float) -> None: ...
