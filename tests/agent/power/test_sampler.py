"""The sampler as the agent starts it: a process of its own, on a simulated board."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from edgepareto.agent.clock import SystemClock
from edgepareto.agent.simulation import SimulatedBoard, create_board
from edgepareto.agent.simulation.clock import BoardTime

SECOND = 1_000_000_000


class Sampler:
    def __init__(self, board: SimulatedBoard | None, *options: str, python_path: Path | None = None) -> None:
        command = [sys.executable, "-m", "edgepareto.agent.power.sampler", "--meter", "ina219", *options]
        self.process = subprocess.Popen(
            command if board is None else [*command, "--board", str(board.folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | ({"PYTHONPATH": str(python_path)} if python_path else {}),
        )
        self.first_line = self.receive()

    def send(self, **command: int) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(command) + "\n")
        self.process.stdin.flush()

    def receive(self) -> dict:
        assert self.process.stdout is not None
        return json.loads(self.process.stdout.readline())

    def close(self) -> int:
        self.process.communicate(timeout=20)
        return self.process.returncode


Start = Callable[..., Sampler]


@pytest.fixture
def start() -> Iterator[Start]:
    samplers: list[Sampler] = []

    def begin(board: SimulatedBoard | None, *options: str, python_path: Path | None = None) -> Sampler:
        samplers.append(Sampler(board, *options, python_path=python_path))
        return samplers[-1]

    yield begin
    for sampler in samplers:
        sampler.close()


def board_of(folder: Path, faults: Sequence[str] = ()) -> SimulatedBoard:
    board = create_board("raspberry-pi-4b", folder, faults=faults)
    board.clock.start_batch()
    return board


def test_a_window_holds_what_the_board_drew_and_nothing_from_before_or_after(tmp_path: Path, start: Start):
    board = board_of(tmp_path)
    busy = BoardTime(tmp_path)
    sampler = start(board)
    assert sampler.first_line["ready"] is True
    assert sampler.first_line["meter"]["quality"] == "simulated"
    means = []
    for power_w in (3.7, 2.6, 5.2):
        busy.advance(SECOND, 9.0)
        begin_ns = board.clock.now_ns()
        sampler.send(start_at_ns=begin_ns)
        for _ in range(100):
            busy.advance(20_000_000, power_w)
        end_ns = board.clock.now_ns()
        busy.advance(SECOND // 4, 9.0)
        sampler.send(stop_at_ns=end_ns)
        window = sampler.receive()
        assert (window["status"], window["message"]) == ("METER_OK", "")
        assert (window["dropped"], window["clipped"], window["i2c_errors"]) == (0, 0, 0)
        assert begin_ns < window["timestamp_ns"][0]
        assert window["timestamp_ns"][-1] <= end_ns
        assert len(window["power_uw"]) == len(window["bus_uv"]) == len(window["timestamp_ns"])
        assert len(window["timestamp_ns"]) == pytest.approx(2 / 4.792e-3, rel=0.11)  # chips' clocks differ
        inside_uw = window["power_uw"][1:]  # the first conversion began before the window: what guards are for
        means.append(sum(inside_uw) / len(inside_uw) / 1e6)
    assert means == pytest.approx([3.7, 2.6, 5.2], rel=0.003)


def test_samples_do_not_depend_on_who_was_faster_the_board_or_the_sampler(tmp_path: Path, start: Start):
    answers = []
    for name in ("whole timeline first", "bit by bit"):
        board = board_of(tmp_path / name)
        board.clock.sleep(0.123)
        sampler = start(board)
        for window in range(2):
            begin_ns = board.clock.now_ns()
            if name == "bit by bit":
                sampler.send(start_at_ns=begin_ns)
            for _ in range(50):
                board.clock.sleep(0.02)
            if name != "bit by bit":
                sampler.send(start_at_ns=begin_ns)
            sampler.send(stop_at_ns=board.clock.now_ns() - window * 100_000_000)
            answers.append(sampler.receive())
    assert answers[:2] == answers[2:]


def test_a_new_batch_starts_at_zero_for_the_sampler_too(tmp_path: Path, start: Start):
    board = board_of(tmp_path)
    sampler = start(board)
    answers = []
    for _ in range(2):
        board.clock.start_batch()
        sampler.send(start_at_ns=0)
        board.clock.sleep(1)
        sampler.send(stop_at_ns=SECOND)
        answers.append(sampler.receive())
    assert answers[0] == answers[1]
    assert answers[0]["status"] == "METER_OK"


@pytest.mark.parametrize(
    ("fault", "status", "message"),
    [
        ("meter_stuck", "METER_STUCK", "no conversion became ready"),
        ("meter_reset", "METER_RESET", "was reset"),
        ("meter_clipped", "METER_CLIPPED", "smaller shunt"),
        ("i2c_error=5", "METER_IO", "errno 121"),
        ("i2c_error=2", "METER_OK", ""),
        ("bus_stalls", "METER_GAP", "conversions were missed"),  # T8
    ],
)
def test_a_meter_that_cannot_be_trusted_is_told_with_its_verdict_in_every_window(
    fault: str, status: str, message: str, tmp_path: Path, start: Start
):
    board = board_of(tmp_path, [fault])
    sampler = start(board)
    for _ in range(2):
        sampler.send(start_at_ns=board.clock.now_ns())
        board.clock.sleep(2)
        sampler.send(stop_at_ns=board.clock.now_ns())
        window = sampler.receive()
        assert window["status"] == status
        assert message in window["message"]
        assert (window["i2c_errors"] > 0) == fault.startswith("i2c_error")


def ranged_run(folder: Path, start: Start, *, late: bool) -> tuple[dict, dict]:
    """(the ranging window's answer, the next window's). late: the board is done before the sampler is asked."""
    board = board_of(folder)
    busy = BoardTime(folder)
    sampler = start(board)
    if not late:
        sampler.send(start_at_ns=0)
    for _ in range(25):
        busy.advance(20_000_000, 2.6)
    stop_ns = board.clock.now_ns()
    busy.advance(SECOND // 4, 9.0)
    if late:
        sampler.send(start_at_ns=0)
    sampler.send(stop_at_ns=stop_ns, fix_range=True)
    ranging = sampler.receive()
    sampler.send(start_at_ns=board.clock.now_ns())
    busy.advance(SECOND, 2.7)
    sampler.send(stop_at_ns=board.clock.now_ns())
    return ranging, sampler.receive()


def test_a_ranging_window_fixes_the_range_for_the_next_and_no_sample_depends_on_who_was_faster(
    tmp_path: Path, start: Start
):
    ranging, window = ranged_run(tmp_path / "in step", start, late=False)
    assert (ranging["status"], ranging["meter"]["config"]) == ("METER_OK", 0x09DF)  # 52 mV in 80
    assert "meter" not in window
    assert sum(window["power_uw"]) / len(window["power_uw"]) / 1e6 == pytest.approx(2.7, rel=0.003)
    assert ranged_run(tmp_path / "late", start, late=True) == (ranging, window)


def test_a_load_beyond_the_widest_range_is_told_by_the_ranging_window(tmp_path: Path, start: Start):
    board = board_of(tmp_path, ["meter_clipped"])
    sampler = start(board)
    sampler.send(start_at_ns=0)
    board.clock.sleep(0.5)
    sampler.send(stop_at_ns=board.clock.now_ns(), fix_range=True)
    answer = sampler.receive()
    assert (answer["status"], answer["meter"]["config"]) == ("METER_CLIPPED", 0x19DF)
    assert "smaller shunt" in answer["message"]


SMBUS2_WITH_A_CHIP = """
import time
from edgepareto.agent.simulation.chip import Ina219Chip
from edgepareto.agent.simulation.profile import Supply

class Steady:
    supply = Supply(open_circuit_v=5.1, source_ohm=0.05, shunt_ohm=0.1)
    def mean_current_a(self, start_ns, end_ns):
        return 0.8

class SMBus:
    def __init__(self, bus):
        assert bus == 7
        self._chip = Ina219Chip(Steady())
    def read_i2c_block_data(self, i2c_addr, register, length):
        value = self._chip.read(register, time.monotonic_ns())
        return [value >> 8, value & 0xFF]
    def write_i2c_block_data(self, i2c_addr, register, data):
        self._chip.write(register, data[0] << 8 | data[1], time.monotonic_ns())
"""


def test_on_a_real_board_the_same_process_samples_smbus2_by_the_machines_clock(tmp_path: Path, start: Start):
    (tmp_path / "smbus2.py").write_text(SMBUS2_WITH_A_CHIP)
    clock = SystemClock()
    sampler = start(None, "--bus", "7", "--cpu", str(min(os.sched_getaffinity(0))), python_path=tmp_path)
    assert (sampler.first_line["ready"], sampler.first_line["meter"]["quality"]) == (True, "measured")
    begin_ns = clock.now_ns()
    sampler.send(start_at_ns=begin_ns)
    clock.sleep(0.3)
    end_ns = clock.now_ns()
    sampler.send(stop_at_ns=end_ns)
    window = sampler.receive()
    assert window["power_uw"]
    assert set(window["power_uw"]) == {round(0.8 * 4.98 * 1e6)}
    stamps = window["timestamp_ns"]
    assert begin_ns < stamps[0] < stamps[-1] <= end_ns
    # A busy machine may make it miss conversions, which it then says.
    assert len(stamps) + window["dropped"] == pytest.approx((end_ns - begin_ns) * 1e-9 / 4.792e-3, rel=0.1)


def test_a_meter_that_is_there_and_silent_fails_the_self_test(tmp_path: Path, start: Start):
    """Its registers answer, but no conversion ever becomes ready."""
    silent = SMBUS2_WITH_A_CHIP.replace("value & 0xFF]", "value & (0xFD if register == 2 else 0xFF)]")
    (tmp_path / "smbus2.py").write_text(silent)
    sampler = start(None, "--bus", "7", python_path=tmp_path)
    assert (sampler.first_line["ready"], sampler.first_line["status"]) == (False, "METER_STUCK")
    assert sampler.close() == 1


def test_a_meter_that_does_not_answer_at_the_start_says_why_and_ends(tmp_path: Path, start: Start):
    sampler = start(board_of(tmp_path), "--address", "0x41")
    assert sampler.first_line["ready"] is False
    assert sampler.first_line["status"] == "METER_IO"
    assert "INA219 at 0x41" in sampler.first_line["message"]
    assert sampler.first_line["meter"]["fault"] == sampler.first_line["message"]
    assert sampler.close() == 1


def test_the_sampler_ends_with_its_stdin_also_in_the_middle_of_a_window(tmp_path: Path, start: Start):
    board = board_of(tmp_path)
    sampler = start(board)
    sampler.send(start_at_ns=0)
    board.clock.sleep(0.1)
    assert sampler.close() == 0
