"""What each node of a model costs, by the profile that ONNX Runtime writes of a session.

A node's event is named NODE_kernel_time. Its `dur` is in whole microseconds, rounded down, so that a very short node
reads up to a microsecond less per run than it takes.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgepareto.agent.runtime.runtime import OperatorCost

__all__ = ["WARM_UP_RUNS", "read_profile"]

WARM_UP_RUNS = 3  # the first runs allocate memory
_KERNEL = "_kernel_time"
_NS_PER_US = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class _NodeEvent:
    name: str
    op_type: str
    node_index: str
    start_us: int
    duration_us: int


def read_profile(file: Path) -> tuple[OperatorCost, ...]:
    """The nodes in order of execution, without their first WARM_UP_RUNS runs.

    A node inside another (the body of a Loop) is part of that one's time and has no entry of its own. A node without a
    name is called by its type and place.
    """
    runs: dict[tuple[str, str, str], list[int]] = defaultdict(list)
    outer_end_us = -1
    for event in sorted(_node_events(file), key=lambda event: (event.start_us, -event.duration_us)):
        if event.start_us < outer_end_us:
            continue
        outer_end_us = event.start_us + event.duration_us
        runs[event.name, event.op_type, event.node_index].append(event.duration_us)
    return tuple(
        OperatorCost(
            name=name or f"{op_type}#{node_index}",
            op_type=op_type,
            total_ns=_undisturbed_total_ns(durations_us[WARM_UP_RUNS:]),
        )
        for (name, op_type, node_index), durations_us in runs.items()
    )


def _undisturbed_total_ns(durations_us: Sequence[int]) -> int:
    """The mean of the middle half, for every run: one run that others interrupt must not make a node the costliest,
    and a median of whole microseconds would be coarse."""
    ordered, quarter = sorted(durations_us), len(durations_us) // 4
    middle = ordered[quarter : len(ordered) - quarter]
    return round(sum(middle) * _NS_PER_US * len(ordered) / len(middle)) if middle else 0


def _node_events(file: Path) -> list[_NodeEvent]:
    return [
        _NodeEvent(
            name=event["name"].removesuffix(_KERNEL),
            op_type=event["args"]["op_name"],
            node_index=event["args"]["node_index"],
            start_us=int(event["ts"]),
            duration_us=int(event["dur"]),
        )
        for event in json.loads(file.read_text(encoding="utf-8"))
        if event["cat"] == "Node" and event["name"].endswith(_KERNEL)
    ]
