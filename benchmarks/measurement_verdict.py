"""What one check of benchmarks/measurement.py found: the figure, the bar it is held against, and whether it passed."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Verdict", "compared"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """passed None: stands there for comparison, with no bar of its own."""

    check: str
    seen: str
    bar: str
    passed: bool | None

    @property
    def word(self) -> str:
        return "" if self.passed is None else "pass" if self.passed else "FAIL"


def compared(check: str, seen: str) -> Verdict:
    return Verdict(check=check, seen=seen, bar="for comparison", passed=None)
