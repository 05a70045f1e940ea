"""Real exec'd workers with ONNX Runtime on this machine's clock."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from itertools import islice, pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest
from edgepareto.agent.errors import MeterStatus, RequestError, Status
from edgepareto.agent.profiling import Deadline, Progress
from edgepareto.agent.profiling.schedule import anchored_orders
from edgepareto.agent.runtime import RuntimeOptions
from edgepareto.agent.worker import spawner
from onnx import TensorProto, helper, numpy_helper

if TYPE_CHECKING:
    from conftest import Bench


def endless() -> onnx.ModelProto:
    """A Loop whose trip count no machine reaches."""
    c_in, c_out = (helper.make_tensor_value_info(name, TensorProto.BOOL, []) for name in ("c_in", "c_out"))
    i = helper.make_tensor_value_info("i", TensorProto.INT64, [])
    v_in, v_out = (helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("v_in", "v_out"))
    body = helper.make_graph(
        [helper.make_node("Identity", ["c_in"], ["c_out"]), helper.make_node("Sin", ["v_in"], ["v_out"])],
        "body",
        [i, c_in, v_in],
        [c_out, v_out],
    )
    constants = [
        numpy_helper.from_array(np.array(2**62, dtype=np.int64), "trips"),
        numpy_helper.from_array(np.array(True), "go_on"),
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 1, 8, 8])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    loop = helper.make_node("Loop", ["trips", "go_on", "x"], ["y"], body=body)
    graph = helper.make_graph([loop], "endless", [x], [y], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def of_one_operator(operator: str, **attributes: object) -> onnx.ModelProto:
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 1, 8, 8])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    graph = helper.make_graph([helper.make_node(operator, ["x"], ["y"], **attributes)], "one", [x], [y])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def too_large() -> onnx.ModelProto:
    """An output of 4 PB, more than an address space."""
    shape = numpy_helper.from_array(np.array([10**15], dtype=np.int64), "shape")
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 1, 8, 8])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    nodes = [
        helper.make_node("ReduceMax", ["x"], ["m"], keepdims=0),
        helper.make_node("Expand", ["m", "shape"], ["y"]),
    ]
    graph = helper.make_graph(nodes, "large", [x], [y], [shape])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def test_every_model_is_timed_once_per_round_the_anchor_first_the_others_in_a_seeded_random_order(bench: Bench) -> None:
    names = ["dense", "a", "b", "c", "d"]
    request = bench.request(*(bench.spec(name) for name in names))
    traces = bench.measure(request)
    assert [(t.spec.candidate_id, t.status, t.message) for t in traces] == [(n, Status.OK, "") for n in names]
    assert [t.is_anchor for t in traces] == [True, False, False, False, False]
    assert len({t.job_id for t in traces}) == 5
    assert all([block.round for block in t.blocks] == [0, 1, 2] for t in traces)
    assert all(t.output_error is not None and t.output_error < 1e-5 for t in traces)
    assert all(t.meter_status is MeterStatus.ABSENT and t.windows == () for t in traces)
    assert all(t.peak_rss_bytes is not None and 20e6 < t.peak_rss_bytes < 500e6 for t in traces)

    stamped = sorted((block.start_ns, block, t.spec.candidate_id) for t in traces for block in t.blocks)
    assert all(before[0] + sum(before[1].run_ns) <= after[0] for before, after in pairwise(stamped)), "one at a time"
    assert all(len(block.run_ns) >= 4 and sum(block.run_ns) >= 5_000_000 for _, block, _ in stamped)
    rounds = [stamped[i : i + 5] for i in range(0, 15, 5)]
    assert all([block.position for _, block, _ in round] == [0, 1, 2, 3, 4] for round in rounds)
    orders = [[name for _, _, name in round] for round in rounds]
    assert orders == [list(order) for order in islice(anchored_orders("dense", names[1:], 7), 3)]
    told = [step.candidate_id for step in bench.steps if step.stage == "latency"]
    assert told == [name for order in orders for name in order]


def test_what_ran_the_model_is_told_with_its_threads_and_options(bench: Bench) -> None:
    (trace,) = bench.measure(bench.request(bench.spec("dense")))
    assert trace.runtime is not None
    assert (trace.runtime.name, trace.runtime.provider, trace.runtime.threads) == (
        "onnxruntime",
        "CPUExecutionProvider",
        1,
    )
    assert trace.runtime.options["session.intra_op.allow_spinning"] == "0"
    assert trace.load_ns is not None
    assert trace.first_run_ns is not None
    assert (trace.preset, trace.order_seed) == ("tiny", 7)


def test_a_candidate_that_fails_tells_why_and_the_others_are_measured(bench: Bench) -> None:
    candidates = [
        bench.spec("broken", b"no model at all"),
        bench.spec("good"),
        bench.spec("unsupported", of_one_operator("NoSuchOperator")),
        bench.spec("wrong", expected=1.01),
        bench.spec("large", too_large()),
    ]
    traces = {t.spec.candidate_id: t for t in bench.measure(bench.request(bench.spec("dense"), *candidates))}
    assert {name: trace.status for name, trace in traces.items()} == {
        "dense": Status.OK,
        "broken": Status.INVALID_MODEL,
        "good": Status.OK,
        "unsupported": Status.UNSUPPORTED_OP,
        "wrong": Status.OUTPUT_MISMATCH,
        "large": Status.OOM,
    }
    assert "NoSuchOperator" in traces["unsupported"].message
    assert "0.0099" in traces["wrong"].message
    assert "0.001" in traces["wrong"].message
    assert all(bool(trace.message) == (trace.status is not Status.OK) for trace in traces.values())
    assert all(bool(trace.blocks) == (trace.status is Status.OK) for trace in traces.values())
    assert_no_process_is_left(bench)


def test_a_worker_that_is_killed_costs_its_candidate_alone(bench: Bench) -> None:
    def kill_one(step: Progress) -> None:
        if step == Progress(stage="latency", candidate_id="a", round=1, rounds=3):
            os.kill(bench.pids["a"], signal.SIGKILL)

    bench.on_step = kill_one
    dense, a, b = bench.measure(bench.request(bench.spec("dense"), bench.spec("a"), bench.spec("b")))
    assert (dense.status, a.status, b.status) == (Status.OK, Status.WORKER_CRASHED, Status.OK)
    assert "SIGKILL" in a.message
    assert (len(dense.blocks), len(a.blocks), len(b.blocks)) == (3, 1, 3)
    assert_no_process_is_left(bench)


def test_an_endless_model_is_ended_at_the_deadline_and_leaves_no_process(bench: Bench) -> None:
    request = bench.request(bench.spec("dense"), bench.spec("endless", endless()), bench.spec("good"))
    # A deadline of 5 s and not less: it also holds for the start of the workers, on a machine that is shared.
    dense, stuck, good = bench.measure(request, deadline=Deadline(factor=0.0, slack_s=5.0))
    assert (dense.status, stuck.status, good.status) == (Status.OK, Status.TIMEOUT, Status.OK)
    assert "5.0 s" in stuck.message
    assert_no_process_is_left(bench)


def test_without_its_anchor_a_batch_is_void_and_says_why(bench: Bench) -> None:
    dense, a = bench.measure(bench.request(bench.spec("dense", b"no model"), bench.spec("a")))
    assert dense.status is Status.INVALID_MODEL
    assert a.status is Status.ANCHOR_DRIFT, "void, and to be measured again: not the candidate's fault"
    assert "dense ended with INVALID_MODEL" in a.message
    assert a.blocks == ()


def test_an_anchor_that_dies_while_timed_makes_the_batch_void(bench: Bench) -> None:
    def kill_the_anchor(step: Progress) -> None:
        if step == Progress(stage="latency", candidate_id="dense", round=2, rounds=3):
            os.kill(bench.pids["dense"], signal.SIGABRT)

    bench.on_step = kill_the_anchor
    dense, a = bench.measure(bench.request(bench.spec("dense"), bench.spec("a")))
    assert (dense.status, a.status) == (Status.WORKER_CRASHED, Status.ANCHOR_DRIFT)
    assert "SIGABRT" in a.message


def test_a_provider_that_the_board_lacks_is_no_number(bench: Bench) -> None:
    options = RuntimeOptions(name="onnxruntime", threads=1, provider="CUDAExecutionProvider")
    (trace,) = bench.measure(bench.request(replace(bench.spec("dense"), runtime=options)))
    assert trace.status is Status.WRONG_PROVIDER
    assert trace.blocks == ()


def test_a_cancelled_batch_gives_no_trace_and_leaves_no_process(bench: Bench) -> None:
    def in_the_second_round() -> bool:
        return any(step.stage == "latency" and step.round == 1 for step in bench.steps)

    assert bench.measure(bench.request(bench.spec("dense"), bench.spec("a")), cancelled=in_the_second_round) == ()
    assert_no_process_is_left(bench)


def test_an_unknown_preset_is_refused_with_the_known_ones(bench: Bench) -> None:
    with pytest.raises(RequestError, match=r"'slow'.*tiny"):
        bench.measure(replace(bench.request(bench.spec("dense")), preset="slow"))


def assert_no_process_is_left(bench: Bench) -> None:
    for name, pid in bench.pids.items():
        with pytest.raises(ProcessLookupError):
            os.killpg(pid, 0)
        assert not Path(f"/proc/{pid}").exists(), name


def test_a_board_with_little_memory_measures_fewer_models_at_once_each_beside_the_anchor(bench: Bench) -> None:
    (bench.folder / "proc").mkdir()
    (bench.folder / "proc/meminfo").write_text("MemAvailable: 60000 kB\n")  # half of it: no three workers
    dense, a, b = bench.measure(bench.request(bench.spec("dense"), bench.spec("a"), bench.spec("b")))
    assert [t.status for t in (dense, a, b)] == [Status.OK] * 3
    assert all("BATCH_LOWERED" in t.tags for t in (dense, a, b))
    rounds = [[block.round for block in t.blocks] for t in (dense, a, b)]
    assert rounds == [[0, 1, 2, 3, 4, 5], [0, 1, 2], [3, 4, 5]]
    assert all(block.position == 0 for block in dense.blocks)
    assert max(block.start_ns for block in a.blocks) < min(block.start_ns for block in b.blocks)


def test_where_memory_counts_no_worker_is_loaded_that_may_not_stay(bench: Bench) -> None:
    (bench.folder / "proc").mkdir()
    (bench.folder / "proc/meminfo").write_text("MemAvailable: 60000 kB\n")
    running: list[int] = []
    bench.on_step = lambda step: running.append(sum(Path(f"/proc/{pid}").exists() for pid in bench.pids.values()))
    bench.measure(bench.request(bench.spec("dense"), *(bench.spec(name) for name in "abc")))
    assert max(running) == 2, "the anchor and one candidate"
    assert len(bench.started) == 4, "each once"


@pytest.mark.parametrize("stage", ["validate", "latency"])
@pytest.mark.parametrize("fits_alone", [True, False])
def test_a_candidate_that_ran_out_of_memory_beside_others_is_tried_again_alone(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, stage: str, fits_alone: bool
) -> None:
    kills: list[int] = []

    def oom_killer(step: Progress) -> None:
        pid = bench.pids.get("a", 0)
        if (step.stage, step.candidate_id) == (stage, "a") and pid not in kills and not (fits_alone and kills):
            kills.append(pid)
            os.kill(pid, signal.SIGKILL)

    bench.on_step = oom_killer
    monkeypatch.setattr(spawner, "oom_kills", lambda: len(kills))
    dense, a, b = bench.measure(bench.request(bench.spec("dense"), bench.spec("a"), bench.spec("b")))
    assert (dense.status, a.status, b.status) == (Status.OK, Status.OK if fits_alone else Status.OOM, Status.OK)
    assert len(bench.started) == 4
    assert [block.round for block in b.blocks] == [0, 1, 2]
    assert [block.round for block in a.blocks] == ([3, 4, 5] if fits_alone else [])
    assert ("BATCH_LOWERED" in a.tags) == (fits_alone or stage == "latency")
    assert_no_process_is_left(bench)


@pytest.mark.parametrize("shared", [False, True])
def test_a_governor_that_changed_in_the_middle_voids_the_batch(bench: Bench, shared: bool) -> None:
    governor = bench.folder / "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"
    governor.parent.mkdir(parents=True)

    def change(step: Progress) -> None:
        if step.stage in ("validate", "latency"):
            governor.write_text("performance" if step.stage == "validate" else "powersave")

    bench.on_step = change
    traces = bench.measure(bench.request(bench.spec("dense"), bench.spec("a")), bench.board(shared=shared))
    assert [t.status for t in traces] == [Status.OK if shared else Status.ANCHOR_DRIFT] * 2
    assert all(("ANCHOR_DRIFT" in t.tags) == shared for t in traces)
    assert shared or all("from performance to powersave" in t.message for t in traces)


def test_a_board_that_works_for_others_is_not_measured_unless_it_is_shared(bench: Bench) -> None:
    (bench.folder / "proc").mkdir()
    stat = bench.folder / "proc/stat"

    def busier(step: Progress) -> None:
        ticks = len(bench.steps) * 1_000_000
        stat.write_text(f"cpu  {ticks} 0 0 {ticks} 0 0 0 0 0 0\n")

    bench.on_step = busier
    request = bench.request(bench.spec("dense"), bench.spec("a"))
    void = bench.measure(request, bench.board(shared=False))
    assert [t.status for t in void] == [Status.CONTENDED] * 2
    assert all("50%" in t.message for t in void)
    tagged = bench.measure(request, bench.board(shared=True))
    assert [t.status for t in tagged] == [Status.OK] * 2
    assert all("CONTENDED" in t.tags for t in tagged)
    assert all(t.after.contention == pytest.approx(0.5, abs=0.01) for t in tagged)


def test_operators_are_timed_where_they_are_asked_for_and_after_all_rounds(bench: Bench) -> None:
    request = bench.request(bench.spec("anchor"), bench.spec("wide", channels=8))
    assert [trace.operators for trace in bench.measure(request)] == [(), ()]
    bench.steps.clear()
    traces = bench.measure(replace(request, time_operators=True))
    for trace in traces:  # beside it may stand what turns this processor's layout of tensors back
        assert "Conv" in [operator.op_type for operator in trace.operators]
        assert {operator.runs for operator in trace.operators} == {40}
    stages = [step.stage for step in bench.steps]
    assert max(i for i, stage in enumerate(stages) if stage == "latency") < stages.index("operators")


def test_a_worker_that_dies_while_its_operators_are_timed_costs_these_alone(bench: Bench) -> None:
    def kill(step: Progress) -> None:
        if step.stage == "operators" and step.candidate_id == "frail":
            os.kill(bench.pids["frail"], signal.SIGKILL)

    bench.on_step = kill
    request = bench.request(bench.spec("anchor"), bench.spec("frail"), bench.spec("other", channels=8))
    anchor, frail, other = bench.measure(replace(request, time_operators=True))
    assert (frail.status, frail.operators, len(frail.blocks)) == (Status.OK, (), len(other.blocks))
    assert "NO_OPERATOR_TIMES" in frail.tags
    assert anchor.operators
    assert other.operators
    assert "NO_OPERATOR_TIMES" not in anchor.tags | other.tags
