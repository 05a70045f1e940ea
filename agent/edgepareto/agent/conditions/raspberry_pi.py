"""What only a Raspberry Pi tells: whether its firmware throttles, and why."""

from __future__ import annotations

import os
import re
from pathlib import Path

from edgepareto.agent.conditions.reading import answer, text

__all__ = ["is_raspberry_pi", "read_throttle_bits", "throttles_at_c"]

VCGENCMD = "usr/bin/vcgencmd"
MAILBOX = "dev/vcio"  # what vcgencmd talks through; mode 0660, group video
GET_THROTTLED = (
    "sys/devices/platform/soc/soc:firmware/get_throttled"  # raspberrypi/linux drivers/firmware/raspberrypi.c
)

HEXADECIMAL = re.compile(r"(0x)?[0-9a-f]{1,8}", re.IGNORECASE)
# raspberrypi/documentation, frequency-management: the firmware slows the cores progressively from 80 degrees on, a
# 3A+ and 3B+ already from their soft limit (temp_soft_limit) of 60. No trip point of the kernel tells it.
THROTTLES_AT_C = 80.0
SOFT_LIMIT_C = 60.0
SOFT_LIMITED = re.compile(r"Raspberry Pi 3 Model [AB] Plus")


def is_raspberry_pi(sys_root: Path) -> bool:
    return (text(sys_root / "proc/device-tree/model") or "").startswith("Raspberry Pi")


def throttles_at_c(sys_root: Path) -> float | None:
    """None where the board is no Raspberry Pi."""
    if not is_raspberry_pi(sys_root):
        return None
    return SOFT_LIMIT_C if SOFT_LIMITED.match(text(sys_root / "proc/device-tree/model") or "") else THROTTLES_AT_C


def read_throttle_bits(sys_root: Path) -> int | None:
    """Bits 0 to 3: under-voltage, frequency capped, throttled, soft temperature limit now; 16 to 19 the same earlier.

    From vcgencmd where it can reach the firmware: what holds this moment, and since boot. Else from the kernel's file,
    which is the weaker source: it repeats what the driver raspberrypi-hwmon asked last, every 2 s, and as that clears
    the sticky bits, 16 to 19 tell of the 2 s before only. Which one is decided by what may be opened, so that two
    readings of one board never mix. None: the board is no Raspberry Pi, or does not tell.
    """
    program = sys_root / VCGENCMD
    if program.exists() and os.access(sys_root / MAILBOX, os.R_OK, effective_ids=True):
        _, _, value = (answer(program, "get_throttled") or "").strip().partition("throttled=")
    else:
        value = text(sys_root / GET_THROTTLED) or ""
    return int(value, 16) if HEXADECIMAL.fullmatch(value) else None
