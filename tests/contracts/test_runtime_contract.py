"""What the worker relies on, for every implementation of Runtime."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from edgepareto.agent.errors import Status, WorkerError
from edgepareto.agent.runtime import Runtime, RuntimeOptions, open_runtime
from edgepareto.agent.simulation import create_board
from onnx import TensorProto, helper, numpy_helper

CPU = RuntimeOptions(name="onnxruntime", threads=1, provider="CPUExecutionProvider")
OpenRuntime = Callable[[RuntimeOptions], Runtime]


def linear(*, op: str = "MatMul", opset: int = 17) -> onnx.ModelProto:
    """y = x W with W = [[1, 2], [3, 4]], x of shape (n, 2)."""
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 2]) for name in "xy")
    weights = numpy_helper.from_array(np.array([[1, 2], [3, 4]], dtype=np.float32), "w")
    graph = helper.make_graph([helper.make_node(op, ["x", "w"], ["y"])], "linear", [x], [y], [weights])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def written(folder: Path, model: onnx.ModelProto | bytes) -> Path:
    path = folder / "model.onnx"
    path.write_bytes(model if isinstance(model, bytes) else model.SerializeToString())
    return path


class RuntimeContract:
    """Subclass and give an `open_runtime` fixture."""

    def test_computes_what_the_model_says_and_tells_what_it_used(self, open_runtime: OpenRuntime, tmp_path: Path):
        runtime = open_runtime(CPU)
        used = runtime.load(written(tmp_path, linear()))
        seen = runtime.outputs({"x": np.array([[1, 10]], dtype=np.float32)})
        assert {name: values.tolist() for name, values in seen.items()} == {"y": [[31, 42]]}
        assert (used.name, used.provider, used.threads) == ("onnxruntime", "CPUExecutionProvider", 1)
        assert used.version
        assert used.options["session.intra_op.allow_spinning"] == "0"
        assert used.options["session.inter_op.allow_spinning"] == "0"
        assert used.options["session.set_denormal_as_zero"] == "1"
        assert used.options["intra_op_num_threads"] == "1"

    def test_runs_again_and_again_with_other_inputs(self, open_runtime: OpenRuntime, tmp_path: Path):
        runtime = open_runtime(CPU)
        runtime.load(written(tmp_path, linear()))
        for value in range(5):
            runtime.run({"x": np.full((1, 2), value, dtype=np.float32)})

    @pytest.mark.parametrize(
        ("model", "verdict"),
        [
            (b"no model at all", Status.INVALID_MODEL),
            (linear().SerializeToString()[:60], Status.INVALID_MODEL),
            (linear(op="NoSuchOperator"), Status.UNSUPPORTED_OP),
            (linear(opset=99), Status.LOAD_FAILED),
        ],
    )
    def test_a_model_that_cannot_be_loaded_gets_its_verdict(
        self, model: onnx.ModelProto | bytes, verdict: Status, open_runtime: OpenRuntime, tmp_path: Path
    ):
        with pytest.raises(WorkerError) as caught:
            open_runtime(CPU).load(written(tmp_path, model))
        assert caught.value.status is verdict
        assert "\n" not in str(caught.value)

    def test_external_data_is_refused_although_the_file_it_names_is_there(
        self, open_runtime: OpenRuntime, tmp_path: Path
    ):
        path = tmp_path / "model.onnx"
        onnx.save(linear(), path, save_as_external_data=True, location="weights", size_threshold=0)
        assert (tmp_path / "weights").exists()
        with pytest.raises(WorkerError, match="external data") as caught:
            open_runtime(CPU).load(path)
        assert caught.value.status is Status.INVALID_MODEL

    def test_a_provider_that_is_not_there_is_never_replaced_silently(self, open_runtime: OpenRuntime, tmp_path: Path):
        options = RuntimeOptions(name="onnxruntime", threads=1, provider="CUDAExecutionProvider")
        with pytest.raises(WorkerError, match="CUDAExecutionProvider") as caught:
            open_runtime(options).load(written(tmp_path, linear()))
        assert caught.value.status is Status.WRONG_PROVIDER

    @pytest.mark.parametrize("feed", [{}, {"z": np.ones((1, 2), np.float32)}, {"x": np.ones((1, 3), np.float32)}])
    def test_inputs_that_do_not_fit_are_a_verdict_and_no_crash(
        self, feed: dict[str, np.ndarray], open_runtime: OpenRuntime, tmp_path: Path
    ):
        runtime = open_runtime(CPU)
        runtime.load(written(tmp_path, linear()))
        with pytest.raises(WorkerError, match="sample inputs") as caught:
            runtime.outputs(feed)
        assert caught.value.status is Status.LOAD_FAILED

    def test_tells_the_time_of_every_node_and_leaves_no_file(
        self, open_runtime: OpenRuntime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
        runtime = open_runtime(CPU)
        runtime.load(written(tmp_path, linear()))
        before = set(tmp_path.iterdir())
        ten, twenty = (runtime.time_operators([{"x": np.ones((1, 2), np.float32)}] * runs) for runs in (10, 20))
        assert [(cost.op_type, bool(cost.name)) for cost in ten] == [("MatMul", True)]
        assert [cost.name for cost in twenty] == [cost.name for cost in ten]
        assert ten[0].total_ns >= 0
        assert set(tmp_path.iterdir()) == before


class TestOnnxRuntime(RuntimeContract):
    @pytest.fixture
    def open_runtime(self) -> OpenRuntime:
        return lambda options: open_runtime(options, board=None, job="c/search/0")


class TestSimulatedRuntime(RuntimeContract):
    @pytest.fixture
    def open_runtime(self, tmp_path_factory: pytest.TempPathFactory) -> OpenRuntime:
        board = create_board("raspberry-pi-4b", tmp_path_factory.mktemp("board")).folder
        return lambda options: open_runtime(options, board=board, job="c/search/0")


def test_an_unknown_runtime_is_named_with_the_known_ones() -> None:
    with pytest.raises(WorkerError, match="onnxruntime"):
        open_runtime(RuntimeOptions(name="tvm", threads=1, provider="cpu"), board=None, job="c/search/0")
