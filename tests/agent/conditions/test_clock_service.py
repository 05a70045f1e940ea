"""The program that runs as root: what it refuses, and that no end of it or of the agent leaves a clock set."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from edgepareto.agent.conditions import ServiceSetter
from edgepareto.agent.conditions.clock_service import allowed_modes
from edgepareto.agent.errors import ClockError
from fakes.board_trees import BOOT_ID, jetson_orin_nano, write_program, write_tree
from fakes.clock_service import ClockService

MODE = "var/lib/nvpmodel/status"
HOLDER = """
import sys, time
from pathlib import Path
from edgepareto.agent.conditions import ServiceSetter
setter = ServiceSetter(Path(sys.argv[1]))
setter.set(sys.argv[2])
print("set", flush=True)
time.sleep(60)
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return jetson_orin_nano(tmp_path / "root")


@pytest.fixture
def service(root: Path) -> Iterator[ClockService]:
    with tempfile.TemporaryDirectory(prefix="ep-test-") as folder:
        yield (service := ClockService(Path(folder), root, "7W\nperformance\n"))
        service.stop()


def values(root: Path) -> dict[str, str]:
    """A power mode's number alone: nvpmodel forgets the fan's mode that stands beside it at first."""
    found = {str(path.relative_to(root)): path.read_text().strip() for path in root.rglob("*") if path.is_file()}
    return {**found, MODE: found[MODE].split()[0]}


@pytest.mark.parametrize(
    "request_line",
    [
        b"set 15W\n",  # the board has it, its owner does not allow it
        b"set powersave\n",
        b"set  7W\n",
        b"set 7W \n",
        b"set 7W\nset performance\n",
        b"set ../../../etc/passwd\n",
        b"set 7W;reboot\n",
        b"set \xff\xfe\n",
        b"set\n",
        b"7W\n",
        b"restore\n",
        b"\n",
        b"set " + b"7" * 200 + b"\n",
        b"set 7W",  # without an end
    ],
)
def test_what_is_not_on_the_list_letter_by_letter_changes_nothing(
    request_line: bytes, service: ClockService, root: Path
):
    before = values(root)
    if not request_line.endswith(b"\n"):
        request_line += b"\0" * 100
    answer = service.ask(request_line)
    assert answer.startswith("refused ")
    assert answer.count("\n") == 1
    assert values(root) == before


def test_the_list_counts_only_where_it_is_roots_alone(service: ClockService, root: Path):
    before = values(root)
    assert service.ask(b"modes\n") == "ok 7W performance\n"
    service.allowed.chmod(0o666)
    assert "must belong to root and be writable by root alone" in service.ask(b"set 7W\n")
    service.allowed.unlink()
    assert "cannot be read" in service.ask(b"set 7W\n")
    assert values(root) == before


def test_a_line_of_the_list_that_is_no_name_allows_nothing(tmp_path: Path):
    path = tmp_path / "clock-modes"
    path.write_text("7W\n../x\n\n# performance\n15W \nMAXN\n")
    path.chmod(0o644)
    assert allowed_modes(path) == ("7W", "MAXN")


def test_a_mode_is_held_with_its_clocks_fixed_as_long_as_the_connection(service: ClockService, root: Path):
    before = values(root)
    setter = ServiceSetter(service.path)
    setter.set("7W")
    held = values(root)
    assert held[MODE] == "pmode:0001"
    assert held["sys/devices/system/cpu/cpufreq/policy4/scaling_min_freq"] == "1510400"
    setter.release()
    assert values(root) == before


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_an_agent_that_is_killed_leaves_no_mode(number: signal.Signals, service: ClockService, root: Path):
    before = values(root)
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(service.path), "7W"], stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "set\n"
        assert values(root) != before
        holder.send_signal(number)
    service.processes[-1].wait(30)
    assert values(root) == before


def test_a_service_that_is_told_to_end_puts_back_before_it_does(service: ClockService, root: Path):
    before = values(root)
    setter = ServiceSetter(service.path)
    setter.set("7W")
    service.processes[-1].terminate()
    assert service.processes[-1].wait(30) == 0
    assert values(root) == before
    setter.release()


def test_a_service_that_was_killed_is_made_up_for_by_its_unit_or_by_its_next_start(service: ClockService, root: Path):
    before = values(root)
    for make_up in (
        lambda: subprocess.run([*service.command, "--restore"], check=True),
        lambda: service.ask(b"modes\n"),
    ):
        setter = ServiceSetter(service.path)
        setter.set("7W")
        service.processes[-1].kill()
        service.processes[-1].wait(30)
        assert values(root) != before
        make_up()
        assert values(root) == before
        setter.release()


def test_after_a_power_cut_the_power_mode_alone_is_put_back(service: ClockService, root: Path):
    """nvpmodel keeps its choice over a boot, the kernel forgets the rest by itself."""
    setter = ServiceSetter(service.path)
    setter.set("7W")
    service.processes[-1].kill()
    service.processes[-1].wait(30)
    governor = "sys/devices/system/cpu/cpufreq/policy0/scaling_governor"
    write_tree(root, {BOOT_ID: "another boot", governor: "conservative"})
    assert ServiceSetter(service.path).offered(["7W", "15W"]) == ("7W",)
    assert values(root)[MODE] == "pmode:0000"
    assert values(root)[governor] == "conservative"
    setter.release()


def test_a_mode_that_the_board_does_not_take_is_refused_with_what_it_is_in(service: ClockService, root: Path):
    write_program(root, "usr/sbin/nvpmodel", "exit 1")
    before = values(root)
    with pytest.raises(ClockError, match=r"^clock mode 7W was not taken: its power mode is 15W$"):
        ServiceSetter(service.path).set("7W")
    service.processes[-1].wait(30)
    assert values(root) == before


def test_two_at_once_are_not_served(service: ClockService, root: Path):
    first = ServiceSetter(service.path)
    first.set("7W")
    with pytest.raises(ClockError, match="one at a time"):
        ServiceSetter(service.path).set("performance")
    assert values(root)[MODE] == "pmode:0001"
    first.release()


def test_a_units_restoring_leaves_the_mode_alone_that_the_next_connection_holds(service: ClockService, root: Path):
    """systemd ends a connection's unit while the next batch's connection is served already."""
    setter = ServiceSetter(service.path)
    setter.set("7W")
    held = values(root)
    done = subprocess.run([*service.command, "--restore"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert values(root) == held
    setter.release()


def test_without_the_service_the_agent_is_told_where_to_look(tmp_path: Path):
    with pytest.raises(ClockError, match=r"nothing\.sock, which sets the clocks, does not answer: .*systemctl status"):
        ServiceSetter(tmp_path / "nothing.sock").offered(["7W"])
