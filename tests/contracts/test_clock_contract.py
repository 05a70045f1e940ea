"""What profiling and worker rely on, for every implementation of Clock."""

from __future__ import annotations

from pathlib import Path

import pytest
from edgepareto.agent.clock import Clock, SystemClock, open_clock
from edgepareto.agent.simulation import create_board
from edgepareto.agent.simulation.clock import LaggingClock


class ClockContract:
    """Subclass and give a `clock` fixture."""

    def test_never_goes_back(self, clock: Clock):
        stamps = [clock.now_ns() for _ in range(100)]
        assert stamps == sorted(stamps)

    def test_sleeping_lets_at_least_that_much_time_pass(self, clock: Clock):
        before_ns = clock.now_ns()
        clock.sleep(0.002)
        assert clock.now_ns() - before_ns >= 2_000_000

    def test_sleeping_for_no_time_is_no_error(self, clock: Clock):
        clock.sleep(0)

    def test_a_batch_can_start_at_any_time(self, clock: Clock):
        clock.start_batch()
        before_ns = clock.now_ns()
        clock.sleep(0.001)
        assert clock.now_ns() > before_ns


class TestSystemClock(ClockContract):
    @pytest.fixture
    def clock(self) -> Clock:
        return SystemClock()


class TestSimulatedClock(ClockContract):
    @pytest.fixture
    def clock(self, tmp_path: Path) -> Clock:
        create_board("raspberry-pi-4b", tmp_path)
        return open_clock(tmp_path)


class TestSamplersClockOnASimulatedBoard(ClockContract):
    @pytest.fixture
    def clock(self, tmp_path: Path) -> Clock:
        create_board("raspberry-pi-4b", tmp_path)
        return LaggingClock(tmp_path)
