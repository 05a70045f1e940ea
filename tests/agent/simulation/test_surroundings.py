from __future__ import annotations

from itertools import pairwise
from math import exp
from pathlib import Path

import pytest
from edgepareto.agent.simulation import BOARD_NAMES, SimulatedBoard, create_board
from edgepareto.agent.simulation.clock import BoardTime
from edgepareto.agent.simulation.profile import BoardProfile, load_profile

MS = 1_000_000
THROTTLED, THROTTLED_SINCE_BOOT = 1 << 2, 1 << 18
POLICY = "sys/devices/system/cpu/cpufreq/policy0"


class Bench:
    """A board that idles and runs."""

    def __init__(self, folder: Path, name: str, *faults: str) -> None:
        self.profile: BoardProfile = load_profile(name)
        self.board: SimulatedBoard = create_board(name, folder, faults=faults)
        self.time = BoardTime(folder)
        self.board.clock.start_batch()

    def busy(self, seconds: float, threads: int = 1, run_ms: int = 20) -> list[int]:
        """Nanoseconds of each run, of which every one takes run_ms on a cool board at its full clock."""
        until_ns = self.board.clock.now_ns() + seconds * 1e9
        stamps = [self.board.clock.now_ns()]
        while stamps[-1] < until_ns:
            self.time.advance(run_ms * MS, self.profile.power.busy_w(threads), is_run=True)
            stamps.append(self.board.clock.now_ns())
        return [after - before for before, after in pairwise(stamps)]

    def read(self, name: str) -> str:
        return (self.board.sys_root / name).read_text()

    @property
    def temperature_c(self) -> float:
        return int(self.read("sys/class/thermal/thermal_zone0/temp")) / 1000

    @property
    def frequency_hz(self) -> int:
        return int(self.read("sys/devices/system/cpu/cpu1/cpufreq/scaling_cur_freq")) * 1000

    @property
    def throttle_bits(self) -> int:
        return int(self.read("sys/devices/platform/soc/soc:firmware/get_throttled"), 16)

    @property
    def ms_at(self) -> dict[int, int]:
        lines = self.read(f"{POLICY}/stats/time_in_state").splitlines()
        return {int(khz) * 1000: int(ticks) * 10 for khz, ticks in map(str.split, lines)}


def test_a_bare_pi_4_warms_by_the_published_figures_and_cools_again(tmp_path: Path):
    """One busy core settles at 68.7 degrees (docs/board-facts.md 2d), with a time constant of 65 s (5d)."""
    pi = Bench(tmp_path, "raspberry-pi-4b")
    assert pi.temperature_c == pytest.approx(60.3, abs=0.01)
    pi.busy(65)
    assert pi.temperature_c == pytest.approx(60.3 + 8.4 * (1 - exp(-1)), abs=0.5)
    pi.busy(400)
    assert pi.temperature_c == pytest.approx(68.7, abs=0.5)
    pi.board.clock.sleep(65)
    assert pi.temperature_c == pytest.approx(60.3 + 8.4 * exp(-1), abs=0.6)
    pi.board.clock.start_batch()
    assert pi.temperature_c == pytest.approx(60.3, abs=0.01)


def test_four_cores_take_a_bare_pi_4_past_its_limit_where_it_slows_down_and_says_so(tmp_path: Path):
    """They cross 80 degrees and reach 81.8 (docs/board-facts.md 2d); the firmware then steps the clock down."""
    pi = Bench(tmp_path, "raspberry-pi-4b")
    cool = pi.busy(150, threads=4)
    assert (set(cool), pi.frequency_hz, pi.throttle_bits) == ({20 * MS}, 1_800_000_000, 0)
    hot = pi.busy(80, threads=4)
    assert max(hot) == round(20 * MS * 1800 / 1500)
    assert pi.throttle_bits & THROTTLED_SINCE_BOOT
    assert 79 < pi.temperature_c < 82
    assert sum(pi.ms_at.values()) == pytest.approx(pi.board.clock.now_ns() / MS, abs=200)
    assert pi.ms_at[1_500_000_000] > 500
    while not pi.throttle_bits & THROTTLED:
        pi.busy(0.1, threads=4)
    assert pi.frequency_hz < 1_800_000_000
    pi.board.clock.sleep(30)
    assert (pi.frequency_hz, pi.throttle_bits) == (1_800_000_000, THROTTLED_SINCE_BOOT)
    assert pi.busy(1) == [20 * MS] * 50
    pi.board.clock.start_batch()
    assert pi.throttle_bits == 0


def test_above_the_limit_the_clock_falls_step_by_step_and_the_power_with_it(tmp_path: Path):
    pi = Bench(tmp_path, "raspberry-pi-4b", "hot")
    seen = set()
    for _ in range(60):
        pi.time.advance(100 * MS, 40.0, is_run=True)  # no board draws so much: it cannot cool down
        seen.add(pi.frequency_hz)
    assert seen == set(load_profile("raspberry-pi-4b").thermal.clocks_hz)
    assert pi.frequency_hz == 600_000_000
    drawn_w = memory_of(tmp_path)[-1]
    assert drawn_w == pytest.approx(2.6 + 37.4 / 3)


def memory_of(folder: Path) -> list[float]:
    """The watts of every segment."""
    return list(memoryview((folder / "timeline").read_bytes()[8:]).cast("d"))[1::2]


@pytest.mark.parametrize("name", BOARD_NAMES)
def test_one_thread_heats_no_board_to_its_limit_and_so_costs_not_a_nanosecond(name: str, tmp_path: Path):
    board = Bench(tmp_path, name)
    assert set(board.busy(1_000, run_ms=100)) == {100 * MS}
    assert board.frequency_hz == board.profile.thermal.clocks_hz[0]
    assert board.temperature_c < board.profile.thermal.throttle_c - board.profile.thermal.hysteresis_k


@pytest.mark.parametrize("name", BOARD_NAMES)
def test_a_hot_board_throttles_under_load_and_recovers_at_rest(name: str, tmp_path: Path):
    board = Bench(tmp_path, name, "hot")
    assert set(board.busy(1)) == {20 * MS}
    board.busy(board.profile.thermal.time_constant_s)
    assert board.ms_at[board.profile.thermal.clocks_hz[1]] > 0
    board.board.clock.sleep(3 * board.profile.thermal.time_constant_s)
    assert set(board.busy(0.5)) == {20 * MS}


def test_the_same_batch_heats_and_slows_in_the_same_way_whatever_was_before_it(tmp_path: Path):
    def batch(bench: Bench) -> tuple[list[int], float, dict[int, int]]:
        bench.board.clock.start_batch()
        bench.board.clock.sleep(0.5)
        return bench.busy(60), bench.temperature_c, bench.ms_at

    bench = Bench(tmp_path / "a", "raspberry-pi-4b", "hot", "drift=2")
    first = batch(bench)
    bench.busy(100, threads=4)
    assert batch(bench) == first == batch(Bench(tmp_path / "b", "raspberry-pi-4b", "hot", "drift=2"))
    assert len(set(first[0])) > 3


def test_a_drifting_board_gets_slower_by_the_percentage_per_minute(tmp_path: Path):
    runs = Bench(tmp_path, "raspberry-pi-4b", "drift=6").busy(60)
    assert runs[0] == 20 * MS
    assert runs[-1] / runs[0] == pytest.approx(1.06, abs=0.001)


def test_a_throttling_falls_into_the_batch_once_and_stays_told(tmp_path: Path):
    """T25 needs one."""
    pi = Bench(tmp_path, "raspberry-pi-4b", "throttle_mid_block=2")
    pi.busy(1.9)
    assert (pi.throttle_bits, pi.frequency_hz) == (0, 1_800_000_000)
    slow = pi.busy(0.4)
    assert slow[-1] == 24 * MS
    assert pi.throttle_bits == THROTTLED | THROTTLED_SINCE_BOOT
    pi.board.clock.sleep(0.5)
    assert (pi.throttle_bits, pi.frequency_hz) == (THROTTLED_SINCE_BOOT, 1_800_000_000)
    assert set(pi.busy(20)) == {20 * MS}
    assert 600 <= pi.ms_at[1_500_000_000] <= 900
    pi.board.clock.start_batch()
    pi.busy(2.5)
    assert pi.throttle_bits & THROTTLED


def test_a_weak_supply_sags_under_load_only(tmp_path: Path):
    pi = Bench(tmp_path, "raspberry-pi-4b", "undervoltage")
    pi.board.clock.sleep(1)
    assert pi.throttle_bits == 0
    pi.busy(0.3)
    assert pi.throttle_bits == 0x10001
    pi.board.clock.sleep(0.3)
    assert pi.throttle_bits == 0x10000


def test_other_programs_show_in_proc_stat_and_take_their_share_of_the_cores(tmp_path: Path):
    def ticks() -> tuple[int, int]:
        user, nice, system, idle = map(int, bench.read("proc/stat").split()[1:5])
        return user + nice + system, idle

    bench = Bench(tmp_path, "raspberry-pi-4b", "contention=20")
    busy, idle = ticks()
    bench.board.clock.sleep(0.5)
    assert (ticks()[0] - busy, ticks()[1] - idle) == (0.2 * 200, 0.8 * 200)
    assert set(bench.busy(5)) == {25 * MS}


def test_a_boards_tree_names_it_as_the_kernel_does(tmp_path: Path):
    pi, nano = Bench(tmp_path / "pi", "raspberry-pi-zero-2w", "low_memory=100"), Bench(tmp_path / "nano", "jetson-nano")
    assert pi.read("proc/device-tree/model") == "Raspberry Pi Zero 2 W Rev 1.0\0"
    assert "MemAvailable: 102400 kB" in pi.read("proc/meminfo")
    assert "nvidia,tegra210" in nano.read("proc/device-tree/compatible")
    assert nano.read("var/lib/nvpmodel/status") == "pmode:0000\n"
    assert "ID=0 NAME=MAXN" in nano.read("etc/nvpmodel.conf")
    assert nano.read("sys/class/thermal/cooling_device0/type") == "pwm-fan\n"
    assert not list(nano.board.sys_root.rglob("get_throttled"))


def test_what_a_file_holds_is_never_mixed_with_what_it_held(tmp_path: Path):
    """A shorter value over a longer one: 1800000 kHz, then 600000, then 1800000."""
    pi = Bench(tmp_path, "raspberry-pi-4b", "hot")
    for _ in range(60):
        pi.time.advance(100 * MS, 40.0, is_run=True)
    assert pi.read(f"{POLICY}/scaling_cur_freq") == "600000\n"
    pi.board.clock.start_batch()
    assert pi.read(f"{POLICY}/scaling_cur_freq") == "1800000\n"
    assert pi.read("sys/devices/platform/soc/soc:firmware/get_throttled") == "0\n"


@pytest.mark.parametrize("name", BOARD_NAMES)
def test_a_hot_board_rests_where_it_counts_as_cooled_down(name: str, tmp_path: Path):
    """Else it would never run at its full clock again."""
    board = Bench(tmp_path, name, "hot")
    assert board.temperature_c < board.profile.thermal.throttle_c - board.profile.thermal.hysteresis_k
