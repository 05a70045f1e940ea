"""T19: a worker that does the worst costs its candidate alone, leaves no process, and the next job is answered."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import onnx
import pytest
from edgepareto.agent.errors import Status
from edgepareto.agent.profiling import Deadline
from edgepareto.agent.worker import Child, spawn
from onnx import TensorProto, helper

if TYPE_CHECKING:
    from conftest import Bench

NEXT_JOB_S = 5.0
READY = 'import os, sys; print(\'{"is": "Ready"}\', flush=True); sys.stdin.readline()\n'
# What each does once it is told to load its model. The fork bomb is bounded for this machine's sake: three levels of
# two, fourteen processes, each of which would live for a minute.
PROGRAMS = {
    "segfault": "import ctypes; ctypes.string_at(0)",
    "endless": "while True: pass",
    "memory": (
        "import resource; resource.setrlimit(resource.RLIMIT_AS, (1 << 28, 1 << 28))\n"
        "hoard = []\n"
        "while True: hoard.append(bytearray(1 << 24))"
    ),
    "forks": (
        "import time\n"
        "for level in range(3):\n"
        "    for child in range(2):\n"
        "        if os.fork() == 0: break\n"
        "    else: break\n"
        "time.sleep(60)"
    ),
    "closes its pipe": "os.close(1); import time; time.sleep(60)",
    "babbles": "print('no protocol', flush=True); import time; time.sleep(60)",
}


@pytest.mark.parametrize(
    ("program", "status", "said"),
    [
        ("segfault", Status.WORKER_CRASHED, "SIGSEGV"),
        ("endless", Status.TIMEOUT, "5.0 s"),
        ("memory", Status.WORKER_CRASHED, "MemoryError"),
        ("forks", Status.TIMEOUT, "5.0 s"),
        ("closes its pipe", Status.WORKER_CRASHED, "closed its pipe"),
        ("babbles", Status.WORKER_CRASHED, "broke the protocol"),
    ],
)
def test_the_next_job_is_answered_within_five_seconds_and_no_process_is_left(
    bench: Bench, program: str, status: Status, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    groups: list[int] = []
    before = bench._spawn

    def spawn_bad(argv: Sequence[str]) -> Child:
        is_bad = any(part.startswith("bad/") for part in argv)
        child = spawn([sys.executable, "-c", READY + PROGRAMS[program]]) if is_bad else before(argv)
        groups.append(child.pid)
        return child

    monkeypatch.setattr(bench, "_spawn", spawn_bad)
    request = bench.request(bench.spec("dense"), bench.spec("bad"), bench.spec("good"))
    # A deadline of 5 s and not less: it also holds for the start of the workers, on a machine that is shared.
    dense, bad, good = bench.measure(request, deadline=Deadline(factor=0.0, slack_s=5.0))
    ended_s = time.monotonic()
    (following,) = bench.measure(bench.request(bench.spec("dense")))
    took_s = time.monotonic() - ended_s
    assert (dense.status, bad.status, good.status) == (Status.OK, status, Status.OK)
    assert said in bad.message
    assert "\n" not in bad.message
    assert following.status is Status.OK
    assert took_s < NEXT_JOB_S
    assert len(groups) == 4
    assert not living_groups() & set(groups), "no orphan"


def living_groups() -> set[int]:
    """The process group of every living process; a zombie only waits for the system to take note of its end."""
    groups = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, _, group = stat.read_text().rpartition(")")[2].split()[:3]
            if state != "Z":
                groups.add(int(group))
    return groups


def test_a_model_of_500_mb_on_a_board_with_200_mb_free_is_one_line_and_the_others_are_measured(bench: Bench) -> None:
    (bench.folder / "proc").mkdir()
    (bench.folder / "proc/meminfo").write_text("MemAvailable: 200000 kB\n")
    large = bench.spec("large")
    with large.model.open("wb") as file:
        file.truncate(500_000_000)  # a hole: takes no room on the disk
    dense, refused, good = bench.measure(bench.request(bench.spec("dense"), large, bench.spec("good")))
    assert (dense.status, refused.status, good.status) == (Status.OK, Status.OOM, Status.OK)
    assert "500 MB" in refused.message
    assert "\n" not in refused.message
    assert not any("large/" in part for argv in bench.started for part in argv), "no worker was started for it"


def text_in() -> onnx.ModelProto:
    x, y = (helper.make_tensor_value_info(name, TensorProto.STRING, ["n", 1, 8, 8]) for name in "xy")
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "text", [x], [y])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def sequence_out() -> onnx.ModelProto:
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 1, 8, 8])
    y = helper.make_tensor_sequence_value_info("y", TensorProto.FLOAT, None)
    graph = helper.make_graph([helper.make_node("SequenceConstruct", ["x"], ["y"])], "sequence", [x], [y])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def test_a_model_of_text_or_sequences_is_refused_in_one_line_and_the_others_are_measured(bench: Bench) -> None:
    request = bench.request(
        bench.spec("dense"), bench.spec("text", text_in()), bench.spec("sequence", sequence_out()), bench.spec("good")
    )
    traces = bench.measure(request)
    assert [trace.status for trace in traces] == [Status.OK, Status.UNSUPPORTED_OP, Status.UNSUPPORTED_OP, Status.OK]
    assert traces[1].message.startswith("input x is tensor(string); only tensors of numbers can be measured")
    assert traces[2].message.startswith("output y is seq(tensor(float)); ")
    assert not any("\n" in trace.message for trace in traces)
