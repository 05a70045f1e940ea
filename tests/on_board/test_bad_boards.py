"""What a board can lack, and what a user can get wrong: one line, exit code 1, and the board as it was."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from on_board.emulated_board import EmulatedBoard
from on_board.typing_user import User

pytestmark = pytest.mark.board


@contextmanager
def left_as_it_was(board: EmulatedBoard) -> Iterator[None]:
    before = board.listing()
    yield
    assert sorted(set(board.listing()) ^ set(before)) == []
    assert board.root("systemctl list-units --all --no-legend 'edgepareto*'") == ""


def test_a_user_that_the_board_does_not_know(newcomer: User, bare: EmulatedBoard) -> None:
    newcomer.adds(bare, user="nobody-here")
    with left_as_it_was(bare):
        newcomer.is_refused("deploy", "pi1", saying="nobody-here")


def test_a_key_that_the_board_does_not_know(newcomer: User, bare: EmulatedBoard, tmp_path: Path) -> None:
    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    newcomer.adds(bare, "--key", str(key))
    with left_as_it_was(bare):
        newcomer.is_refused("deploy", "pi1", saying="pi1.*key")


def test_a_host_key_that_nobody_vouched_for(newcomer: User, bare: EmulatedBoard) -> None:
    newcomer.does(
        *("devices", "add", "pi1", "pi@127.0.0.1", "--port", str(bare.ssh_port), "--key", str(bare.key)),
        *("--address", f"127.0.0.1:{bare.agent_port}"),
    )
    with left_as_it_was(bare):
        newcomer.is_refused("deploy", "pi1", saying=f"not known.*--host-key {re.escape(bare.host_key)}")


def test_another_host_key_than_the_one_that_was_given(newcomer: User, bare: EmulatedBoard) -> None:
    newcomer.adds(bare, "--host-key", "SHA256:" + "A" * 43)
    with left_as_it_was(bare):
        newcomer.is_refused("deploy", "pi1", saying="host key")


def test_a_user_who_may_not_become_root(newcomer: User, bare: EmulatedBoard) -> None:
    bare.root(
        "useradd -m guest && install -d -o guest -m 700 /home/guest/.ssh && "
        "install -o guest -m 600 /home/pi/.ssh/authorized_keys /home/guest/.ssh/"
    )
    newcomer.adds(bare, user="guest")
    with left_as_it_was(bare):
        newcomer.is_refused("deploy", "pi1", saying="sudo")


def test_a_port_that_something_else_listens_on(newcomer: User, bare: EmulatedBoard) -> None:
    bare.root(f"systemd-run -q python3 -m http.server {bare.agent_port}")
    newcomer.adds(bare)
    with left_as_it_was(bare):
        newcomer.is_refused("deploy", "pi1", saying=f"port {bare.agent_port}")


def test_a_card_that_is_full(newcomer: User, bare: EmulatedBoard) -> None:
    bare.root("fallocate -l $(( $(df --output=avail -B1 / | tail -1) - (100 << 20) )) /filler")
    newcomer.adds(bare)
    with left_as_it_was(bare):
        newcomer.is_refused("deploy", "pi1", saying="pi1.*(free|disk|space)")


def test_a_meter_without_its_bus(newcomer: User, bare: EmulatedBoard) -> None:
    bare.root("pkill ina219-sim; rmmod i2c-stub")
    newcomer.adds(bare, "--meter", "ina219")
    with left_as_it_was(bare):
        newcomer.is_refused("deploy", "pi1", saying="I2C|i2c")


def test_clock_modes_where_no_kernel_could_set_them(newcomer: User, bare: EmulatedBoard) -> None:
    newcomer.adds(bare)
    (newcomer.desk / "edgepareto.toml").write_text('[devices.pi1]\nclock_modes = ["performance"]\n')
    with left_as_it_was(bare):
        newcomer.is_refused("deploy", "pi1", saying="pi1: clock modes: no cpufreq")
