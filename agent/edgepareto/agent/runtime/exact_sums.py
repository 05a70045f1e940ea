"""Where ONNX Runtime cuts sums of 8-bit products off, and the entry of a session with which it does not.

On x86 without VNNI they are cut off at 16 bits, so that an int8 model gives other outputs than anywhere else
(docs/int8.md). The host scores with the same entry.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

__all__ = ["exact_sums"]

PROCESSOR = Path("/proc/cpuinfo")
VNNI = frozenset({"avx512_vnni", "avx_vnni"})


def exact_sums() -> Mapping[str, str]:
    """Empty where sums are exact anyway, as on every Arm. ONNX Runtime 1.32 cannot load some models with it."""
    try:
        lines = PROCESSOR.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return {}
    flags = next((line.split() for line in lines if line.startswith("flags")), None)  # of x86 alone
    return {} if flags is None or not VNNI.isdisjoint(flags) else {"session.x64quantprecision": "1"}
