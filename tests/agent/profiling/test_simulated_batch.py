"""The same protocol on a simulated board: everything but clock, runtime and bus is what measures a real one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from edgepareto.agent.errors import MeterStatus, Status
from edgepareto.agent.profiling import PRESETS, Board, CandidateTrace, Deadline, MeterSetting, profile_batch
from edgepareto.agent.profiling.trace import BatchRequest
from edgepareto.agent.profiling.worker_client import DEADLINE
from edgepareto.agent.simulation import BOARD_NAMES, create_board

if TYPE_CHECKING:
    from conftest import Bench

CHANNELS = 2048  # milliseconds on the board; of a model of microseconds a window would hold 100,000 runs


def measure(
    request: BatchRequest, folder: Path, *faults: str, profile: str = "raspberry-pi-4b", deadline: Deadline = DEADLINE
) -> tuple[CandidateTrace, ...]:
    simulated = create_board(profile, folder, seed=3, faults=faults)
    board = Board(
        clock=simulated.clock,
        sys_root=simulated.sys_root,
        meter=MeterSetting(kind="ina219"),
        default_threads=simulated.device.default_threads,
        shared=False,
        simulation=folder,
    )
    request = replace(request, preset="quick")
    traces = profile_batch(
        request, board, on_progress=lambda step: None, cancelled=lambda: False, presets=PRESETS, deadline=deadline
    )
    return tuple(traces)


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


@pytest.mark.parametrize("profile", BOARD_NAMES)
def test_every_board_measures_a_batch_at_its_full_clock_and_shows_its_state(
    profile: str, bench: Bench, tmp_path: Path
) -> None:
    request = bench.request(*(bench.spec(name, channels=4 * CHANNELS) for name in ("dense", "a")))
    traces = measure(request, tmp_path / "board", profile=profile)
    assert [(t.status, t.meter_status) for t in traces] == [(Status.OK, MeterStatus.OK)] * 2
    before, after = traces[0].before, traces[0].after
    assert before.temperature_c is not None
    assert after.temperature_c is not None
    assert after.temperature_c >= before.temperature_c
    assert after.frequency_hz == before.frequency_hz
    is_pi = profile.startswith("raspberry")
    assert (after.throttle_bits, after.power_mode is None) == (0 if is_pi else None, is_pi)
    assert after.fan_level == before.fan_level
    assert after.time_in_state[-1][1] > 5_000
    assert all(ms == 0 for _, ms in after.time_in_state[:-1])


def medians_ns(traces: tuple[CandidateTrace, ...]) -> list[float]:
    return [float(np.median([ns for block in trace.blocks for ns in block.run_ns])) for trace in traces]


def test_a_drifting_board_gives_every_candidate_longer_times(bench: Bench, tmp_path: Path) -> None:
    request = bench.request(*(bench.spec(name, channels=CHANNELS) for name in ("dense", "a")))
    steady, drifting = (measure(request, tmp_path / str(n), *f) for n, f in enumerate(((), ("drift=6",))))
    for before, after in zip(medians_ns(steady), medians_ns(drifting), strict=True):
        assert 1.001 < after / before < 1.01


@pytest.mark.parametrize(
    ("fault", "verdict"),
    [
        ("crash=b", Status.WORKER_CRASHED),
        ("hang=b", Status.TIMEOUT),
        ("oom=b", Status.OOM),
        ("wrong_output=b", Status.OUTPUT_MISMATCH),
    ],
)
def test_a_worker_that_really_fails_costs_its_candidate_and_no_other(
    fault: str, verdict: Status, bench: Bench, tmp_path: Path
) -> None:
    """T19: the batch goes on and ends. By the last character of the candidate's id."""
    request = bench.request(*(bench.spec(name, channels=CHANNELS) for name in ("dense", "a", "b")))
    deadline = Deadline(factor=0.1, slack_s=1.0) if verdict is Status.TIMEOUT else DEADLINE
    traces = measure(request, tmp_path / "board", fault, deadline=deadline)
    assert [t.status for t in traces] == [Status.OK, Status.OK, verdict]
    assert not traces[2].blocks
    assert traces[2].message.strip(" :;") == traces[2].message != "", "no reason left out"


def test_what_other_programs_leave_of_board_and_memory_is_told(bench: Bench, tmp_path: Path) -> None:
    request = bench.request(bench.spec("dense", channels=CHANNELS))
    (trace,) = measure(request, tmp_path / "board", "contention=30", "low_memory=100")
    assert trace.before.free_memory_bytes == 100 << 20
    assert trace.before.contention == pytest.approx(0.3, abs=0.1)
