"""A batch in a clock mode: on a simulated board, whose tree the shipped code sets and reads back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from edgepareto.agent.conditions import ClockFixer, ClockModes, OwnSetter
from edgepareto.agent.errors import Status
from edgepareto.agent.profiling import Board, CandidateTrace, MeterSetting, profile_batch
from edgepareto.agent.profiling.trace import AnchorBaseline, Progress
from edgepareto.agent.simulation import SimulatedBoard, create_board

if TYPE_CHECKING:
    from conftest import Bench

CHANNELS = 2048
LIMITS = "sys/devices/system/cpu/cpufreq/policy0/scaling_{}_freq"


class ModalBoard:
    """A simulated board that may be set to its modes."""

    def __init__(self, bench: Bench, name: str = "raspberry-pi-4b", *faults: str) -> None:
        self.bench = bench
        self.simulated: SimulatedBoard = create_board(name, bench.folder / name, seed=3, faults=faults)
        self.root = self.simulated.sys_root
        names = self.simulated.device.clock_modes
        self.modes = ClockModes(self.root, names, OwnSetter(self.root, bench.folder / "clock-mode.json"))
        self.stages: list[str] = []

    def measure(
        self,
        mode: str,
        *,
        during: Callable[[str], None] = lambda stage: None,
        cancelled: Callable[[], bool] = lambda: False,
        shared: bool = False,
        baseline: AnchorBaseline | None = None,
    ) -> tuple[CandidateTrace, ...]:
        def on_progress(step: Progress) -> None:
            self.stages.append(step.stage)
            during(step.stage)

        board = Board(
            clock=self.simulated.clock,
            sys_root=self.root,
            meter=MeterSetting(kind="ina219"),
            default_threads=1,
            shared=shared,
            simulation=self.simulated.folder,
            clock_modes=self.modes,
        )
        dense, a = (self.bench.spec(name, channels=CHANNELS) for name in ("dense", "a"))
        request = replace(self.bench.request(dense, a), preset="quick", clock_mode=mode, anchor_baseline=baseline)
        return tuple(profile_batch(request, board, on_progress=on_progress, cancelled=cancelled))

    @property
    def limits(self) -> tuple[str, ...]:
        return tuple((self.root / LIMITS.format(name)).read_text().strip() for name in ("min", "max"))


def latency_ns(trace: CandidateTrace) -> float:
    return float(np.median([ns for block in trace.blocks for ns in block.run_ns]))


def busy_w(trace: CandidateTrace) -> float:
    return float(np.mean([np.mean(window.power_uw) for window in trace.windows if window.busy])) / 1e6


def test_each_mode_has_its_own_latency_and_watts_and_the_board_is_put_back(bench: Bench) -> None:
    pi = ModalBoard(bench)
    seen = {}
    for mode in ("", "1800MHz", "1000MHz", "600MHz"):
        traces = pi.measure(mode)
        assert [(t.status, t.message, t.clock_mode) for t in traces] == [(Status.OK, "", mode)] * 2
        assert pi.limits == ("1800000", "1800000")
        seen[mode] = (latency_ns(traces[1]), busy_w(traces[1]))
        clock_hz = 1e6 * float(mode.removesuffix("MHz") or 1800)
        assert traces[1].before.frequency_hz == traces[1].after.frequency_hz == clock_hz
        assert traces[1].before.clocks_fixed is True
    assert seen[""] == seen["1800MHz"]
    assert seen["1800MHz"][0] < seen["1000MHz"][0] < seen["600MHz"][0]
    assert seen["1800MHz"][1] > seen["1000MHz"][1] > seen["600MHz"][1] > 2.6


def test_a_jetsons_power_mode_is_told_with_its_numbers_and_put_back(bench: Bench) -> None:
    orin = ModalBoard(bench, "jetson-orin-nano")
    (_, usual), (_, thrifty) = orin.measure("15W"), orin.measure("7W")
    assert (usual.before.power_mode, thrifty.before.power_mode, thrifty.status) == ("15W", "7W", Status.OK)
    assert latency_ns(thrifty) > latency_ns(usual)
    assert (orin.root / "var/lib/nvpmodel/status").read_text() == "pmode:0000\n"


@pytest.mark.parametrize("shared", [False, True])
def test_a_board_that_somebody_else_sets_in_between_gives_no_number_even_where_it_is_shared(
    shared: bool, bench: Bench
) -> None:
    pi = ModalBoard(bench)

    def meddle(stage: str) -> None:
        if stage == "latency":
            (pi.root / LIMITS.format("max")).write_text("1800000\n")

    for trace in pi.measure("600MHz", during=meddle, shared=shared):
        assert trace.status is Status.WRONG_CLOCK
        assert "does not hold clock mode 600MHz" in trace.message
        assert "scaling_max_freq holds 1800000, not 600000; see what else sets its clocks" in trace.message
    assert pi.limits == ("1800000", "1800000")


def test_a_clock_that_is_another_than_the_limits_say_gives_no_number(bench: Bench) -> None:
    """The kernel took the mode, and the hardware runs at another clock: a file that takes nothing stands for that."""
    pi = ModalBoard(bench)
    current = pi.root / LIMITS.format("cur")

    def stubborn(stage: str) -> None:
        if stage == "preflight":
            current.unlink()
            current.symlink_to(pi.root / "stubborn")
            (pi.root / "stubborn").write_text("1800000\n")

    traces = pi.measure("600MHz", during=stubborn)
    assert {t.status for t in traces} == {Status.WRONG_CLOCK}
    assert "policy0 runs at 1800 MHz, not 600" in traces[0].message
    assert not traces[1].blocks


def test_a_mode_that_is_not_taken_starts_no_worker_and_says_why(bench: Bench) -> None:
    orin = ModalBoard(bench, "jetson-orin-nano")
    program = orin.root / "usr/sbin/nvpmodel"
    program.write_text("#!/bin/sh\nexit 1\n")
    traces = orin.measure("7W")
    assert {t.status for t in traces} == {Status.WRONG_CLOCK}
    assert "its power mode is 15W" in traces[0].message
    assert not any(t.blocks for t in traces)
    assert "latency" not in orin.stages


def test_a_mode_that_this_board_does_not_offer_is_no_number_either(bench: Bench) -> None:
    (dense, _) = ModalBoard(bench).measure("2400MHz")
    assert (dense.status, dense.message) == (Status.WRONG_CLOCK, "clock mode 2400MHz is none of this board's")


def test_a_batch_that_is_called_off_puts_the_clocks_back(bench: Bench) -> None:
    pi = ModalBoard(bench)
    held = []
    traces = pi.measure("600MHz", cancelled=lambda: held.append(pi.limits) or len(held) > 20)
    assert traces == ()
    assert ("600000", "600000") in held
    assert pi.limits == ("1800000", "1800000")


def test_throttling_from_a_mode_is_seen_as_throttling_and_the_mode_stays(bench: Bench) -> None:
    pi = ModalBoard(bench, "raspberry-pi-4b", "throttle_mid_block=2")
    traces = pi.measure("1000MHz")
    assert [t.status for t in traces] == [Status.OK] * 2
    assert sum(t.voided for t in traces) > 0


def test_the_end_of_the_lease_puts_a_mode_back_before_the_fixed_clocks_beneath_it(bench: Bench) -> None:
    """Else the batch, ending later, would leave the board fixed."""
    pi = ModalBoard(bench)
    for name, value in (("min", "600000"), ("max", "1500000")):  # as its owner has it
        (pi.root / LIMITS.format(name)).write_text(f"{value}\n")
    fixer = ClockFixer(pi.root, bench.folder / "clocks.json")
    fixer.fix()
    assert pi.limits == ("1500000", "1500000")

    def ends(stage: str) -> None:
        if stage == "preflight":
            assert pi.limits == ("1000000", "1000000")
            pi.modes.release(then=fixer.restore)
            assert pi.limits == ("600000", "1500000")

    pi.measure("1000MHz", during=ends)
    assert pi.limits == ("600000", "1500000")
