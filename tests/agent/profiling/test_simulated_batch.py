"""The same protocol on a simulated board: everything but clock, runtime and bus is what measures a real one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from edgepareto.agent.errors import MeterStatus, Status
from edgepareto.agent.profiling import PRESETS, Board, CandidateTrace, MeterSetting, profile_batch
from edgepareto.agent.profiling.trace import BatchRequest
from edgepareto.agent.simulation.board import create_board

if TYPE_CHECKING:
    from conftest import Bench

CHANNELS = 2048  # milliseconds on the board; of a model of microseconds a window would hold 100,000 runs


def measure(request: BatchRequest, folder: Path, *faults: str) -> tuple[CandidateTrace, ...]:
    simulated = create_board("raspberry-pi-4b", folder, seed=3, faults=faults)
    board = Board(
        clock=simulated.clock,
        sys_root=simulated.sys_root,
        meter=MeterSetting(kind="ina219"),
        default_threads=simulated.device.default_threads,
        shared=False,
        simulation=folder,
    )
    request = replace(request, preset="quick")
    return tuple(profile_batch(request, board, on_progress=lambda step: None, cancelled=lambda: False, presets=PRESETS))


def test_a_candidates_numbers_depend_on_neither_the_batch_nor_the_order_nor_the_study(
    bench: Bench, tmp_path: Path
) -> None:
    dense, a, b = (bench.spec(name, channels=CHANNELS) for name in ("dense", "a", "b"))
    together = measure(bench.request(dense, a, b), tmp_path / "1")
    alone = measure(replace(bench.request(dense, b), order_seed=99, request_key="other"), tmp_path / "2")
    assert all(t.status is Status.OK and t.meter_status is MeterStatus.OK for t in (*together, *alone))
    for one, other in ((together[0], alone[0]), (together[2], alone[1])):
        assert [block.run_ns for block in one.blocks] == [block.run_ns for block in other.blocks]
        assert one.first_run_ns == other.first_run_ns
    assert together[1].blocks[0].run_ns != together[2].blocks[0].run_ns, "each job has noise of its own"
    assert measure(bench.request(dense, a, b), tmp_path / "3") == together, "to the last sample"


def test_what_this_machine_needs_for_a_model_is_not_told_as_the_boards(bench: Bench, tmp_path: Path) -> None:
    (trace,) = measure(bench.request(bench.spec("dense", channels=CHANNELS)), tmp_path / "board")
    assert (trace.load_ns, trace.peak_rss_bytes) == (None, None)
    assert trace.runtime is not None
    assert "cpu_affinity" not in trace.runtime.options


@pytest.mark.parametrize(
    ("fault", "verdict"),
    [("meter_clipped", MeterStatus.CLIPPED), ("meter_stuck", MeterStatus.STUCK), ("meter_reset", MeterStatus.RESET)],
)
def test_a_faulty_meter_costs_the_energy_and_says_why(
    fault: str, verdict: MeterStatus, bench: Bench, tmp_path: Path
) -> None:
    traces = measure(
        bench.request(*(bench.spec(name, channels=CHANNELS) for name in ("dense", "a"))), tmp_path / "board", fault
    )
    assert [t.status for t in traces] == [Status.OK, Status.OK]
    assert [t.meter_status for t in traces] == [verdict, verdict]
    assert all(t.message and len(t.blocks) == 3 for t in traces)
