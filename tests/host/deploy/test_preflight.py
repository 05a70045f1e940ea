"""A look at a board: what the script finds here, and what is made of recorded facts of many boards."""

from __future__ import annotations

import os
import pwd
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from edgepareto.agent.device_info import read_device_info
from edgepareto.host.deploy.preflight import SCRIPT, Wanted, judge, look_over, read_facts
from edgepareto.host.deploy.ssh import open_shell
from edgepareto.host.domain.board_facts import BoardFacts, Check, CheckState, Sudo
from edgepareto.host.errors import DeployError
from edgepareto.host.views.preflight_view import preflight_table
from host.deploy.conftest import Board
from rich.console import Console

AT = 1_764_345_600.0
BOOKWORM = """facts=1
clock=1764345601
arch=aarch64
bits=64
user=pi
uid=1000
groups=pi adm sudo i2c gpio
os=Debian GNU/Linux 12 (bookworm)
kernel=6.6.51+rpt-rpi-v8
model=Raspberry Pi 4 Model B Rev 1.4
l4t=
board_id=0123456789abcdef
libc=glibc 2.36
python=/usr/bin/python3 3.11.2 64 venv
python=/usr/bin/python3.11 3.11.2 64 venv
disk=/opt 24117248 rw,noatime
disk=/var/lib 24117248 rw,noatime
disk=/var/tmp 24117248 rw,noatime
root_kind=ext4
memory_kb=3884000
available_kb=3400000
memory_cgroup=off
init=systemd
systemd=252
sudo=yes
i2c_module=yes
i2c=1 i2c yes bcm2835 (i2c@7e804000)
end=yes
"""


def facts_with(**changed: str | None) -> BoardFacts:
    """Those of a Pi 4 but for these lines; None: the lines are not there."""
    lines = [line for line in BOOKWORM.splitlines() if line.partition("=")[0] not in changed]
    for key, value in changed.items():
        lines[-1:-1] = [f"{key}={one}" for one in (value or "").split("\n")] if value is not None else []
    return read_facts("\n".join(lines) + "\n", "pi1", asked_at_s=AT)


def checks_of(facts: BoardFacts, wanted: Wanted | None = None) -> dict[str, Check]:
    return {check.name: check for check in judge(facts, wanted or Wanted())}


def failures(facts: BoardFacts, wanted: Wanted | None = None) -> dict[str, str]:
    return {
        check.name: f"{check.seen}; {check.advice}"
        for check in checks_of(facts, wanted).values()
        if check.state is CheckState.FAIL
    }


def test_a_pi_4_with_bookworm_will_do_and_the_memory_cgroup_is_a_note() -> None:
    facts = facts_with()
    assert failures(facts, Wanted(meter="ina219")) == {}
    notes = [check.name for check in judge(facts, Wanted()) if check.state is CheckState.NOTE]
    assert notes == ["memory cgroup"]
    assert facts.python is not None
    assert facts.python.path == "/usr/bin/python3"
    assert facts.glibc == (2, 36)
    assert facts.i2c[0].adapter == "bcm2835 (i2c@7e804000)"


@pytest.mark.parametrize(
    ("board", "changed"),
    [
        ("Pi OS trixie", {"libc": "glibc 2.41", "python": "/usr/bin/python3 3.13.5 64 venv", "systemd": "257"}),
        (
            "JetPack 6",
            {
                "l4t": "36.4.0",
                "libc": "glibc 2.35",
                "python": "/usr/bin/python3 3.10.12 64 venv",
                "meter": "hwmon ina3221",
            },
        ),
        (
            "Ubuntu server",
            {"os": "Ubuntu 24.04.1 LTS", "libc": "glibc 2.39", "python": "/usr/bin/python3 3.12.3 64 venv"},
        ),
        ("a PC", {"arch": "x86_64", "model": ""}),
        (
            "a second Python beside an old one",
            {"python": "/usr/bin/python3 3.8.10 64 venv\n/usr/local/bin/python3.10 3.10.4 64 venv"},
        ),
    ],
)
def test_these_boards_will_do(board: str, changed: dict[str, str]) -> None:
    assert failures(facts_with(**changed)) == {}, board


@pytest.mark.parametrize(
    ("changed", "name", "words"),
    [
        ({"arch": "armv6l", "bits": "32"}, "processor", "Zero 2 W"),
        ({"arch": "armv7l", "bits": "32"}, "processor", "64-bit Raspberry Pi OS"),
        ({"bits": "32"}, "processor", "the kernel is 64-bit, the system on it is not"),
        ({"arch": "riscv64"}, "processor", "aarch64"),
        ({"libc": "musl"}, "C library", "not Alpine"),
        ({"libc": "glibc 2.27"}, "C library", "2.28"),
        ({"l4t": "35.4.1", "python": "/usr/bin/python3 3.8.10 64 venv"}, "Python", "JetPack 5 .* flash JetPack 6"),
        ({"l4t": "32.7.1", "python": "/usr/bin/python3 3.6.9 64 venv"}, "Python", "JetPack 4"),
        ({"python": "/usr/bin/python3 3.9.2 64 venv"}, "Python", r"3\.9\.2 .*wanted 3\.10 to 3\.14"),
        ({"python": "/usr/bin/python3 3.11.2 64 novenv"}, "Python", "apt install python3-venv"),
        ({"python": "/home/pi/.pyenv/shims/python3 3.11.2 64 venv"}, "Python", "home"),
        ({"python": None}, "Python", "none; on the board: sudo apt install python3"),
        ({"disk": "/opt 102400 rw\n/var/lib 9999999 rw"}, "free /opt", "100 MB; 400 MB are needed"),
        ({"disk": "/opt 9999999 rw,noexec\n/var/lib 9999999 rw\n/var/tmp 9999999 rw"}, "/opt", "noexec"),
        ({"disk": "/opt 9999999 ro\n/var/lib 9999999 rw\n/var/tmp 9999999 rw"}, "/opt", "read-only"),
        ({"root_kind": "overlay"}, "/", "disable_overlayfs"),
        ({"memory_kb": "240000"}, "memory", "400 MB"),
        ({"sudo": None}, "root", "root@"),
        ({"sudo": "refuses"}, "root", "pi may not use sudo; .* sudo usermod -aG sudo pi"),
        ({"port_user": "www-data", "port_uid": "33"}, "port 50051", "held by a program of www-data; .* --agent-port N"),
        ({"port_user": "", "port_uid": "4711"}, "port 50051", "uid 4711"),
    ],
)  # fmt: skip
def test_what_stands_in_the_way_is_one_failure_with_its_way_out(changed, name: str, words: str) -> None:
    found = failures(facts_with(**changed))
    assert list(found) == [name]
    assert re.search(words, found[name])


@pytest.mark.parametrize(
    ("groups", "advice"),
    [
        ("pi sudo i2c", "run at a terminal, which asks for it"),
        ("eve", "run at a terminal, which asks for it; if pi may not: sudo usermod -aG sudo pi"),
    ],
)
def test_a_sudo_that_wants_a_password_is_a_note_with_both_ways(groups: str, advice: str) -> None:
    root = checks_of(facts_with(sudo="asks", groups=groups))["root"]
    assert (root.state, root.seen, root.advice) == (CheckState.NOTE, "sudo wants a password", advice)


@pytest.mark.parametrize(
    ("said", "seen"),
    [
        (None, Sudo.OPEN),
        ("sudo: a password is required", Sudo.ASKS),
        ("eve is not in the sudoers file.", Sudo.REFUSES),
        ("Sorry, user eve may not run sudo on pi1.", Sudo.REFUSES),
    ],
)
def test_the_script_tells_what_sudo_says_without_a_password(tmp_path: Path, said: str | None, seen: Sudo) -> None:
    sudo = tmp_path / "sudo"
    sudo.write_text("#!/bin/sh\nexit 0\n" if said is None else f"#!/bin/sh\necho '{said}' >&2\nexit 1\n")
    sudo.chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    ran = subprocess.run(
        ["sh", "-s"], input=SCRIPT.read_text(), capture_output=True, text=True, check=True, env=environment
    )
    assert read_facts(ran.stdout, "here", asked_at_s=AT).sudo is seen


def test_no_i2c_is_a_note_unless_a_meter_on_it_was_asked_for() -> None:
    facts = facts_with(i2c=None, i2c_module=None)
    assert checks_of(facts)["I2C"].state is CheckState.NOTE
    assert failures(facts, Wanted(meter="ina219")) == {
        "I2C": "no bus; ina219 needs it: sudo raspi-config nonint do_i2c 0, reboot"
    }
    assert failures(facts, Wanted(meter="rapl")) == {}


def test_clock_modes_are_refused_where_nothing_could_set_them() -> None:
    wanted = Wanted(clock_modes=("performance", "1500MHz"))
    assert failures(facts_with(), wanted) == {
        "clock modes": "no cpufreq; its clocks cannot be set, as in most virtual machines: take clock_modes out of "
        "[devices.NAME]"
    }
    assert "no systemd" in failures(facts_with(cpufreq="ondemand", systemd=None), wanted)["clock modes"]
    check = checks_of(facts_with(cpufreq="ondemand"), wanted)["clock modes"]
    assert (check.state, check.seen) == (CheckState.OK, "performance, 1500MHz, set by a service of root's own")
    assert "clock modes" not in checks_of(facts_with())


def test_the_script_sees_cpufreq_where_the_kernel_has_it(tmp_path: Path) -> None:
    for has_it in (False, True):
        if has_it:
            policy = tmp_path / "sys/devices/system/cpu/cpufreq/policy4"
            policy.mkdir(parents=True)
            (policy / "scaling_governor").write_text("schedutil\n")
        command = ["sh", "-s", "--", str(tmp_path)]
        ran = subprocess.run(command, input=SCRIPT.read_text(), capture_output=True, text=True, check=True)
        assert read_facts(ran.stdout, "here", asked_at_s=AT).has_cpufreq is has_it


def test_an_agent_of_another_version_is_a_note_and_its_own_port_is_no_foreigner() -> None:
    agent = {"agent_release": "0.2-abc", "agent_version": "0.2.0", "agent_unit": "active"}
    facts = facts_with(**agent, port_user="edgepareto", port_uid="990")
    checks = checks_of(facts, Wanted(agent_version="0.3.0"))
    assert checks["agent"].state is CheckState.NOTE
    assert "0.2.0, active" in checks["agent"].seen
    assert checks["port 50051"].state is CheckState.OK


@pytest.mark.parametrize(("clock", "seen"), [("0", "behind"), ("1764445600", "ahead")])
def test_a_wrong_clock_and_a_missing_systemd_are_notes(clock: str, seen: str) -> None:
    facts = facts_with(clock=clock, systemd=None)
    checks = checks_of(facts)
    assert seen in checks["clock"].seen
    assert (checks["clock"].state, checks["systemd"].state) == (CheckState.NOTE, CheckState.NOTE)
    assert failures(facts) == {}


def test_facts_that_end_in_the_middle_are_refused_with_the_boards_last_words() -> None:
    with pytest.raises(DeployError, match="said: sh: not found"):
        read_facts("facts=1\nsh: not found\n", "pi1", asked_at_s=AT)


def test_the_table_shows_everything_and_the_failures_again_with_their_way_out() -> None:
    console = Console(width=120, record=True, file=open(os.devnull, "w"))  # noqa: SIM115, PTH123
    with console.file:
        for part in preflight_table("pi1", judge(facts_with(sudo=None), Wanted())):
            console.print(part)
    text = console.export_text()
    assert "Raspberry Pi 4 Model B" in text
    assert "! pi1: root: pi, no sudo; use root@ as SSH user, or install sudo" in text


SHELLS = [["sh"], ["dash"], ["bash"], ["busybox", "sh"]]


@pytest.mark.parametrize("shell", SHELLS, ids=" ".join)
def test_the_script_tells_of_this_machine_in_every_shell(shell: list[str]) -> None:
    if shutil.which(shell[0]) is None:
        pytest.skip(f"no {shell[0]} on this machine")
    began = time.time()
    ran = subprocess.run([*shell, "-s"], input=SCRIPT.read_text(), capture_output=True, text=True, check=True)
    assert ran.stderr == ""
    facts = read_facts(ran.stdout, "here", asked_at_s=began)
    assert facts.architecture == os.uname().machine
    assert facts.bits == (64 if sys.maxsize > 2**32 else 32)
    assert facts.is_root == (os.getuid() == 0)
    assert abs(facts.clock_ahead_s) < 30
    assert facts.memory_bytes == pytest.approx(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"), rel=0.1)
    assert facts.disks["/var/tmp"].free_bytes > 0
    assert any(python.version[0] == 3 for python in facts.pythons)


@pytest.mark.parametrize("serial", ["10000000abcdef01\0", "  12 34  \n\0", None])
def test_the_board_id_is_the_one_that_the_agent_will_have(tmp_path: Path, serial: str | None) -> None:
    (tmp_path / "proc/device-tree").mkdir(parents=True)
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/machine-id").write_text("9f8e7d6c5b4a39281706f5e4d3c2b1a0\n")
    if serial is not None:
        (tmp_path / "proc/device-tree/serial-number").write_text(serial)
    ran = subprocess.run(
        ["sh", "-s", "--", tmp_path], input=SCRIPT.read_text(), capture_output=True, text=True, check=True
    )
    there = read_device_info(tmp_path, default_threads=1, shares_host_cores=False).board_id
    assert read_facts(ran.stdout, "pi1", asked_at_s=AT).board_id == there
    assert "9f8e7d6c" not in ran.stdout
    assert "abcdef01" not in ran.stdout


def test_a_board_is_looked_over_by_ssh_and_a_held_port_is_seen(board: Board) -> None:
    with open_shell(board.target, ask=None, host_key=board.fingerprint) as shell:
        facts = look_over(shell, "pi1", port=board.server.port)
    assert facts.port_user == pwd.getpwuid(os.getuid()).pw_name
    assert list(failures(facts)).count(f"port {board.server.port}") == 1
