"""What a batch relies on of what sets its clock mode: the agent itself, or the service that runs as root."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from edgepareto.agent.conditions import ClockModes, OwnSetter, ServiceSetter, offered_modes
from edgepareto.agent.conditions.clock_modes import ClockSetter
from edgepareto.agent.errors import ClockError
from edgepareto.agent.simulation import create_board
from fakes.board_trees import raspberry_pi_4, write_tree
from fakes.clock_service import ClockService

POLICY = "sys/devices/system/cpu/cpufreq/policy0"
NAMES = ("performance", "powersave", "1000MHz")


def policy_of(root: Path) -> tuple[str, str, str]:
    """Governor, lowest and highest kHz."""
    names = ("scaling_governor", "scaling_min_freq", "scaling_max_freq")
    governor, lowest, highest = ((root / POLICY / name).read_text().strip() for name in names)
    return governor, lowest, highest


class ClockSetterContract:
    """Subclass, give a `setter` fixture and the `root` whose clocks it sets; it allows NAMES."""

    def test_sets_what_the_mode_is_called_and_puts_back_what_was(self, setter: ClockSetter, root: Path):
        before = policy_of(root)
        assert setter.offered(NAMES) == NAMES
        for name, wanted in (("1000MHz", "1000000"), ("powersave", "600000"), ("1000MHz", "1000000")):
            setter.set(name)
            governor = "powersave" if name == "powersave" else "performance"
            assert policy_of(root) == (governor, wanted, wanted)
            setter.release()
            assert policy_of(root) == before

    def test_a_mode_over_another_puts_back_what_was_before_both(self, setter: ClockSetter, root: Path):
        before = policy_of(root)
        setter.set("1000MHz")
        setter.set("powersave")
        assert policy_of(root) == ("powersave", "600000", "600000")
        setter.release()
        assert policy_of(root) == before

    def test_releasing_nothing_is_no_error(self, setter: ClockSetter, root: Path):
        before = policy_of(root)
        setter.release()
        assert policy_of(root) == before

    @pytest.mark.parametrize("name", ["1001MHz", "userspace", "../../x", "performance\nset powersave", ""])
    def test_what_is_no_mode_of_the_board_is_refused_and_changes_nothing(
        self, name: str, setter: ClockSetter, root: Path
    ):
        before = policy_of(root)
        with pytest.raises(ClockError):
            setter.set(name)
        assert policy_of(root) == before

    def test_the_board_holds_what_was_set_until_somebody_else_changes_it(self, setter: ClockSetter, root: Path):
        modes = ClockModes(root, NAMES, setter)
        assert modes.deviation() is None
        modes.set("1000MHz")
        assert modes.deviation() is None
        (root / POLICY / "scaling_max_freq").write_text("1800000\n")
        assert modes.deviation() == f"{root / POLICY / 'scaling_max_freq'} holds 1800000, not 1000000"
        modes.release()
        assert modes.deviation() is None


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = raspberry_pi_4(tmp_path / "root")
    more = {"cpuinfo_min_freq": "600000", "scaling_available_frequencies": "600000 1000000 1500000 1800000"}
    return write_tree(root, {f"{POLICY}/{name}": value for name, value in more.items()})


class TestTheAgentItself(ClockSetterContract):
    @pytest.fixture
    def setter(self, root: Path, tmp_path: Path) -> Iterator[ClockSetter]:
        yield OwnSetter(root, tmp_path / "clock-mode.json")
        assert not (tmp_path / "clock-mode.json").exists()


class TestTheAgentOnASimulatedBoard(ClockSetterContract):
    @pytest.fixture
    def root(self, tmp_path: Path) -> Path:
        return create_board("raspberry-pi-4b", tmp_path / "board").sys_root

    @pytest.fixture
    def setter(self, root: Path, tmp_path: Path) -> ClockSetter:
        return OwnSetter(root, tmp_path / "clock-mode.json")


class TestTheService(ClockSetterContract):
    @pytest.fixture
    def setter(self, root: Path) -> Iterator[ClockSetter]:
        with tempfile.TemporaryDirectory(prefix="ep-test-") as folder:  # short, as a unix socket's path must be
            service = ClockService(Path(folder), root, "\n".join(NAMES))
            yield (setter := ServiceSetter(service.path))
            setter.release()
            service.stop()
            assert not service.saved.exists()


def test_what_a_board_has_not_is_left_out_and_said_with_what_it_has(root: Path, tmp_path: Path):
    setter = OwnSetter(root, tmp_path / "saved")
    offered, problems = offered_modes(root, ("powersave", "15W", "1200MHz"), setter)
    assert offered == ("powersave",)
    has = "600MHz, 1000MHz, 1500MHz, 1800MHz, conservative, ondemand, performance, powersave"
    assert problems == (f"clock mode 15W: this board has {has}", f"clock mode 1200MHz: this board has {has}")


def test_a_machine_without_cpufreq_offers_none_in_one_line(tmp_path: Path):
    offered, problems = offered_modes(tmp_path, ("performance", "powersave"), OwnSetter(tmp_path, tmp_path / "saved"))
    assert offered == ()
    (line,) = problems
    assert "has no cpufreq, so nothing can be set here" in line
