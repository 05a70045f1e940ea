"""When a batch has enough latency rounds: fixed for now, at the preset's minimum.

The rule to come stops a candidate when the t-interval of its block medians is narrow (docs/measurement.md, 7); the
interval of single runs is falsely narrow, because drift between blocks is the error.
"""

from __future__ import annotations

from edgepareto.agent.profiling.schedule import Preset

__all__ = ["latency_rounds"]


def latency_rounds(preset: Preset) -> int:
    return preset.minimum_rounds
