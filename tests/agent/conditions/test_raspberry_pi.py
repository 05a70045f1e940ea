"""Throttle bits: from vcgencmd where it reaches the firmware, else from the kernel's file, never from both."""

from __future__ import annotations

from pathlib import Path

import pytest
from edgepareto.agent.conditions import read_throttle_bits
from fakes.board_trees import THROTTLED_FILE, jetson_nano, plain_linux, raspberry_pi_4, write_program, write_tree


@pytest.mark.parametrize(
    ("said", "bits"),
    [
        ("throttled=0x0", 0),
        ("throttled=0x50005", 0x50005),
        ("throttled=0xe0008", 0xE0008),
        ("throttled=", None),
        ('error=1 error_msg="Command not registered"', None),
        ("VCHI initialization failed", None),
    ],
)
def test_vcgencmds_answer_is_hexadecimal_and_any_other_word_is_no_answer(
    tmp_path: Path, said: str, bits: int | None
) -> None:
    """The kernel's file says 0 all the time: its bits mean another thing, and mixing them would look like a change."""
    write_program(raspberry_pi_4(tmp_path), "usr/bin/vcgencmd", f"echo '{said}'")
    assert read_throttle_bits(tmp_path) == bits


@pytest.mark.parametrize(("held", "bits"), [("0", 0), ("50005", 0x50005), ("80008", 0x80008), ("", None)])
@pytest.mark.parametrize("missing", ["dev/vcio", "usr/bin/vcgencmd"])
def test_without_vcgencmd_or_its_device_the_kernels_file_tells(
    tmp_path: Path, missing: str, held: str, bits: int | None
) -> None:
    (raspberry_pi_4(tmp_path) / missing).unlink()
    write_tree(tmp_path, {THROTTLED_FILE: held})
    assert read_throttle_bits(tmp_path) == bits


def test_a_vcgencmd_that_fails_or_hides_its_answer_gives_none(tmp_path: Path) -> None:
    write_program(raspberry_pi_4(tmp_path), "usr/bin/vcgencmd", "echo throttled=0x0", "exit 255")
    assert read_throttle_bits(tmp_path) is None


def test_a_board_that_is_no_raspberry_pi_has_no_throttle_bits(tmp_path: Path) -> None:
    assert read_throttle_bits(plain_linux(tmp_path / "desk")) is None
    assert read_throttle_bits(jetson_nano(tmp_path / "nano")) is None
