"""What the worker relies on, for every implementation of Runtime."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from edgepareto.agent.errors import Status, WorkerError
from edgepareto.agent.runtime import Runtime, RuntimeOptions, open_runtime
from edgepareto.agent.simulation import create_board
from edgepareto.host.export.tflite import to_tflite
from fakes.old_board import ABSENT, OldBoardRuntime, can_be_made, programs_of_old_board
from onnx import TensorProto, helper, numpy_helper

CPU = RuntimeOptions(name="onnxruntime", threads=1, provider="CPUExecutionProvider")
MODELS = Path(__file__).parents[1] / "models"
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


def fixed(model: onnx.ModelProto) -> onnx.ModelProto:
    """Open sizes are 1."""
    for value in model.graph.input:
        for axis in value.type.tensor_type.shape.dim:
            if not axis.HasField("dim_value"):
                axis.dim_value = 1
    return model


def written_lite(folder: Path, model: onnx.ModelProto) -> Path:
    path = folder / "model.tflite"
    path.write_bytes(to_tflite(model).content)
    return path


class RuntimeContract:
    """Subclass and give an `open_runtime` fixture. options: what it is opened with; `linear` writes its file."""

    options = CPU

    def linear(self, folder: Path) -> Path:
        return written(folder, linear())

    def test_computes_what_the_model_says_and_tells_what_it_used(self, open_runtime: OpenRuntime, tmp_path: Path):
        runtime = open_runtime(self.options)
        used = runtime.load(self.linear(tmp_path))
        seen = runtime.outputs({"x": np.array([[1, 10]], dtype=np.float32)})
        assert {name: values.tolist() for name, values in seen.items()} == {"y": [[31, 42]]}
        assert (used.name, used.provider, used.threads) == (self.options.name, self.options.provider, 1)
        assert used.version

    def test_runs_again_and_again_with_other_inputs(self, open_runtime: OpenRuntime, tmp_path: Path):
        runtime = open_runtime(self.options)
        runtime.load(self.linear(tmp_path))
        for value in range(5):
            runtime.run({"x": np.full((1, 2), value, dtype=np.float32)})

    @pytest.mark.parametrize("kept", [0, 4, 60, -60])
    def test_half_a_file_and_no_model_at_all_get_their_verdict(
        self, kept: int, open_runtime: OpenRuntime, tmp_path: Path
    ):
        file = self.linear(tmp_path)
        file.write_bytes(file.read_bytes()[:kept] or b"no model at all")
        with pytest.raises(WorkerError) as caught:
            open_runtime(self.options).load(file)
        assert caught.value.status is Status.INVALID_MODEL
        assert "\n" not in str(caught.value)

    def test_a_provider_that_is_not_there_is_never_replaced_silently(self, open_runtime: OpenRuntime, tmp_path: Path):
        options = replace(self.options, provider="CUDAExecutionProvider")
        with pytest.raises(WorkerError, match="CUDAExecutionProvider") as caught:
            open_runtime(options).load(self.linear(tmp_path))
        assert caught.value.status is Status.WRONG_PROVIDER

    @pytest.mark.parametrize("feed", [{}, {"z": np.ones((1, 2), np.float32)}, {"x": np.ones((1, 3), np.float32)}])
    def test_inputs_that_do_not_fit_are_a_verdict_and_no_crash(
        self, feed: dict[str, np.ndarray], open_runtime: OpenRuntime, tmp_path: Path
    ):
        runtime = open_runtime(self.options)
        runtime.load(self.linear(tmp_path))
        with pytest.raises(WorkerError, match="sample inputs") as caught:
            runtime.outputs(feed)
        assert caught.value.status is Status.LOAD_FAILED


class OnnxRuntimeContract(RuntimeContract):
    """What more is asked of ONNX Runtime, and of the boards that borrow it."""

    def test_every_option_that_was_set_is_told(self, open_runtime: OpenRuntime, tmp_path: Path):
        used = open_runtime(CPU).load(written(tmp_path, linear()))
        assert used.options["session.intra_op.allow_spinning"] == "0"
        assert used.options["session.inter_op.allow_spinning"] == "0"
        assert used.options["session.set_denormal_as_zero"] == "1"
        assert used.options["intra_op_num_threads"] == "1"

    @pytest.mark.parametrize(
        ("model", "verdict"),
        [
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


class TestOnnxRuntime(OnnxRuntimeContract):
    @pytest.fixture
    def open_runtime(self) -> OpenRuntime:
        return lambda options: open_runtime(options, board=None, job="c/search/0")


class TestSimulatedRuntime(OnnxRuntimeContract):
    @pytest.fixture
    def open_runtime(self, tmp_path_factory: pytest.TempPathFactory) -> OpenRuntime:
        board = create_board("raspberry-pi-4b", tmp_path_factory.mktemp("board")).folder
        return lambda options: open_runtime(options, board=board, job="c/search/0")


class TestSimulatedTensorRt(RuntimeContract):
    """Its outputs are those of ONNX Runtime's own kernels; all that it tells is what was asked for."""

    options = RuntimeOptions(name="onnxruntime", threads=1, provider="TensorrtExecutionProvider", precision="fp16")

    @pytest.fixture
    def open_runtime(self, tmp_path_factory: pytest.TempPathFactory) -> OpenRuntime:
        board = create_board("jetson-nano", tmp_path_factory.mktemp("board")).folder
        return lambda options: open_runtime(options, board=board, job="c/search/0")

    def test_says_that_it_is_simulated(self, open_runtime: OpenRuntime, tmp_path: Path):
        used = open_runtime(self.options).load(self.linear(tmp_path))
        assert used.options["simulated"] == "jetson-nano"

    def test_times_of_nodes_are_refused_with_who_has_them(self, open_runtime: OpenRuntime, tmp_path: Path):
        runtime = open_runtime(self.options)
        runtime.load(self.linear(tmp_path))
        with pytest.raises(WorkerError, match="ask for CPUExecutionProvider"):
            runtime.time_operators([{"x": np.ones((1, 2), np.float32)}])


class LiteRuntimeContract(RuntimeContract):
    """What more is asked of LiteRT, by whichever library. library: its name and what its version looks like."""

    options = RuntimeOptions(name="litert", threads=1, provider="XNNPACK")
    library: tuple[str, str]

    def test_says_which_of_the_two_libraries_it_is(self, open_runtime: OpenRuntime, tmp_path: Path):
        used = open_runtime(self.options).load(self.linear(tmp_path))
        name, version = self.library
        assert used.options["library"] == name
        assert re.fullmatch(version, used.version)

    def linear(self, folder: Path) -> Path:
        return written_lite(folder, fixed(linear()))

    def test_a_model_of_which_xnnpack_takes_nothing_over_is_told_so(self, open_runtime: OpenRuntime, tmp_path: Path):
        x = helper.make_tensor_value_info("x", TensorProto.INT32, (1, 2))
        y = helper.make_tensor_value_info("y", TensorProto.FLOAT, (1, 2, 2))
        table = numpy_helper.from_array(np.eye(2, dtype=np.float32), "table")
        graph = helper.make_graph([helper.make_node("Gather", ["table", "x"], ["y"])], "lookup", [x], [y], [table])
        lookup = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        used = open_runtime(self.options).load(written_lite(tmp_path, lookup))
        assert used.provider == "CPU"

    def test_the_state_of_a_recurrent_layer_does_not_outlive_an_inference(
        self, open_runtime: OpenRuntime, tmp_path: Path
    ):
        model = fixed(onnx.load(MODELS / "lstm_1.dynamo.onnx"))
        runtime = open_runtime(self.options)
        runtime.load(written_lite(tmp_path, model))
        name = model.graph.input[0].name
        shape = tuple(axis.dim_value for axis in model.graph.input[0].type.tensor_type.shape.dim)
        feed = {name: np.random.default_rng(0).normal(size=shape).astype(np.float32)}
        first, second = (runtime.outputs(feed) for _ in range(2))
        for output, values in first.items():
            np.testing.assert_array_equal(values, second[output])

    def test_times_of_nodes_are_refused_with_who_has_them(self, open_runtime: OpenRuntime, tmp_path: Path):
        runtime = open_runtime(self.options)
        runtime.load(self.linear(tmp_path))
        with pytest.raises(WorkerError, match="ask for them with onnxruntime"):
            runtime.time_operators([{"x": np.ones((1, 2), np.float32)}])


class TestSimulatedLiteRuntime(LiteRuntimeContract):
    library = ("ai-edge-litert", r"2[.]\d+[.]\d+")

    @pytest.fixture
    def open_runtime(self, tmp_path_factory: pytest.TempPathFactory) -> OpenRuntime:
        board = create_board("raspberry-pi-5", tmp_path_factory.mktemp("board")).folder
        return lambda options: open_runtime(options, board=board, job="c/search/0")


class InstalledLiteRuntimeContract(LiteRuntimeContract):
    """What more is asked where it is what it says, and not a simulated board's."""

    def test_its_own_kernels_give_the_same_and_are_told(self, open_runtime: OpenRuntime, tmp_path: Path):
        runtime = open_runtime(replace(self.options, provider="CPU"))
        used = runtime.load(self.linear(tmp_path))
        assert (used.provider, used.options["delegated_partitions"]) == ("CPU", "0")
        assert runtime.outputs({"x": np.array([[1, 10]], dtype=np.float32)})["y"].tolist() == [[31, 42]]


class TestLiteRuntime(InstalledLiteRuntimeContract):
    library = ("ai-edge-litert", r"2[.]\d+[.]\d+")

    @pytest.fixture
    def open_runtime(self) -> OpenRuntime:
        return lambda options: open_runtime(options, board=None, job="c/search/0")


@pytest.mark.skipif(not can_be_made(), reason=ABSENT)
class TestLiteRuntimeOfOldBoards(InstalledLiteRuntimeContract):
    """tflite-runtime under Python 3.10 or 3.11 with numpy 1.26, really run; our files are read by it."""

    library = ("tflite-runtime", r"2[.]14[.]\d+ [(]tflite-runtime[)]")

    @pytest.fixture
    def open_runtime(self) -> Iterator[OpenRuntime]:
        programs = programs_of_old_board()
        with ExitStack() as opened:
            yield lambda options: opened.enter_context(closing(OldBoardRuntime(options, programs)))


def test_an_unknown_runtime_is_named_with_the_known_ones() -> None:
    with pytest.raises(WorkerError, match="onnxruntime"):
        open_runtime(RuntimeOptions(name="tvm", threads=1, provider="cpu"), board=None, job="c/search/0")


@pytest.mark.parametrize(
    ("board", "options", "verdict", "message"),
    [
        (
            "jetson-nano",
            TestLiteRuntime.options,
            Status.LOAD_FAILED,
            "a simulated jetson-nano has no costs of runtime litert; choose one of: onnxruntime",
        ),
        (
            "raspberry-pi-zero-2w",
            replace(TestLiteRuntime.options, precision="int8"),
            Status.LOAD_FAILED,
            "has no costs of int8 with litert and XNNPACK; choose one of: fp32, fp16",
        ),
        (
            "raspberry-pi-4b",
            replace(CPU, precision="int8"),
            Status.LOAD_FAILED,
            "has no costs of int8 with onnxruntime and CPUExecutionProvider; choose one of: fp32",
        ),
        (
            "raspberry-pi-4b",
            TestSimulatedTensorRt.options,
            Status.WRONG_PROVIDER,
            "a simulated raspberry-pi-4b has costs of onnxruntime with CPUExecutionProvider alone",
        ),
        (
            "raspberry-pi-4b",
            replace(TestLiteRuntime.options, provider="CPU"),
            Status.WRONG_PROVIDER,
            "a simulated raspberry-pi-4b has costs of litert with XNNPACK alone",
        ),
    ],
)
def test_what_a_simulated_board_has_no_costs_of_is_refused_with_what_it_has(
    board: str, options: RuntimeOptions, verdict: Status, message: str, tmp_path: Path
):
    with pytest.raises(WorkerError, match=message) as caught:
        open_runtime(options, board=create_board(board, tmp_path).folder, job="c/search/0")
    assert caught.value.status is verdict
