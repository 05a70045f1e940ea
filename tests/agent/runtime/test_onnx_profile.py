"""Reading the profile of ONNX Runtime, on files whose sums are known."""

from __future__ import annotations

import json
from pathlib import Path

from edgepareto.agent.runtime.onnx_profile import WARM_UP_RUNS, read_profile


def event(name: str, op_type: str, index: int, start_us: int, duration_us: int) -> dict[str, object]:
    arguments = {"op_name": op_type, "node_index": str(index), "provider": "CPUExecutionProvider"}
    return {"cat": "Node", "name": name, "ts": start_us, "dur": duration_us, "args": arguments}


def profile(folder: Path, *events: dict[str, object]) -> Path:
    session = {"cat": "Session", "name": "model_run", "ts": 0, "dur": 10**9, "args": {}}
    file = folder / "profile.json"
    file.write_text(json.dumps([session, *events]))
    return file


def test_runs_are_added_up_per_node_without_the_first_ones(tmp_path: Path) -> None:
    events = []
    for run in range(WARM_UP_RUNS + 4):
        conv_us, add_us = (100, 10) if run >= WARM_UP_RUNS else (9000, 900)
        events += [
            event("conv_fence_before", "Conv", 0, run * 20_000, 1),
            event("conv_kernel_time", "Conv", 0, run * 20_000 + 1, conv_us),
            event("_kernel_time", "Add", 1, run * 20_000 + 1 + conv_us, add_us),
        ]
    costs = read_profile(profile(tmp_path, *events))
    assert [(c.name, c.op_type, c.total_ns) for c in costs] == [
        ("conv", "Conv", 400_000),
        ("Add#1", "Add", 40_000),
    ]


def test_what_runs_inside_another_node_is_not_counted_twice(tmp_path: Path) -> None:
    events = []
    for run in range(WARM_UP_RUNS + 1):
        start_us = run * 1000
        events += [  # a Loop whose body adds twice, in the order in which they end
            event("add_kernel_time", "Add", 0, start_us + 10, 100),
            event("add_kernel_time", "Add", 0, start_us + 200, 100),
            event("loop_kernel_time", "Loop", 3, start_us, 500),
            event("after_kernel_time", "Relu", 4, start_us + 500, 0),
        ]
    costs = read_profile(profile(tmp_path, *events))
    assert [(c.name, c.total_ns) for c in costs] == [("loop", 500_000), ("after", 0)]


def test_a_run_that_others_interrupt_does_not_make_its_node_the_costliest(tmp_path: Path) -> None:
    durations_us = [5] * WARM_UP_RUNS + [10, 11, 9, 10, 11, 9, 10, 12_000]
    events = [event("conv_kernel_time", "Conv", 0, i * 20_000, us) for i, us in enumerate(durations_us)]
    (cost,) = read_profile(profile(tmp_path, *events))
    assert cost.total_ns == 82_000  # 8 runs of (10 + 10 + 10 + 11) / 4 us
