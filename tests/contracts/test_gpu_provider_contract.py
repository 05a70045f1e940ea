"""ONNX Runtime with a GPU's provider: what the worker relies on, on a stand-in, and where there is a GPU on that."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from contracts.test_runtime_contract import RuntimeContract, linear, written
from edgepareto.agent.errors import Status, WorkerError
from edgepareto.agent.runtime import Engine, EngineMaker, Runtime, RuntimeOptions, open_runtime
from fakes.gpu_provider import CPU, CUDA, TENSORRT, XNNPACK, Gpu, install
from onnx import TensorProto, helper

ON_TENSORRT = RuntimeOptions(name="onnxruntime", threads=1, provider=TENSORRT)
ON_CUDA = replace(ON_TENSORRT, provider=CUDA)
HAS_CUDA = CUDA in onnxruntime.get_available_providers()


def rows(count: int) -> list[dict[str, np.ndarray]]:
    return [{"x": np.full((1, 2), place, dtype=np.float32)} for place in range(count)]


def opened(options: RuntimeOptions) -> Runtime:
    return open_runtime(options, board=None, job="c/search/0")


class GpuProviderContract(RuntimeContract):
    @pytest.fixture
    def open_runtime(self):
        return opened

    def test_inferences_with_many_inputs_give_each_its_own_outputs(self, open_runtime, tmp_path: Path):
        runtime = open_runtime(self.options)
        runtime.load(self.linear(tmp_path))
        feeds = rows(3)
        for place in (0, 1, 2, 1, 0):
            assert runtime.outputs(feeds[place])["y"].tolist() == [[4 * place, 6 * place]]

    def test_feeds_that_are_gone_are_never_taken_for_new_ones(self, open_runtime, tmp_path: Path):
        runtime = open_runtime(self.options)
        runtime.load(self.linear(tmp_path))
        for place in range(50):  # each at the address of the one before, once that is collected
            assert runtime.outputs({"x": np.full((1, 2), place, dtype=np.float32)})["y"].tolist() == [
                [4 * place, 6 * place]
            ]
            gc.collect()

    def test_times_of_nodes_are_refused_with_who_has_them(self, open_runtime, tmp_path: Path):
        runtime = open_runtime(self.options)
        runtime.load(self.linear(tmp_path))
        with pytest.raises(WorkerError, match=f"ask for {CPU}"):
            runtime.time_operators(rows(1))


class StandInContract(GpuProviderContract):
    @pytest.fixture(autouse=True)
    def gpu(self, monkeypatch: pytest.MonkeyPatch) -> Gpu:
        gpu = Gpu(providers=(self.options.provider,))
        install(gpu, monkeypatch.setattr)
        return gpu

    def test_every_inference_is_over_when_it_returns_and_inputs_are_copied_once(self, gpu: Gpu, tmp_path: Path):
        runtime = opened(self.options)
        runtime.load(self.linear(tmp_path))
        gpu.events.clear()
        feeds = rows(3)
        for turn in range(10):
            runtime.run(feeds[turn % 3])
            assert not gpu.is_working
        events = gpu.events
        assert (events["run"], events["synchronised"], events["upload"]) == (10, 10, 3)
        assert events["run from the host's memory"] == 0

    @pytest.mark.parametrize("fault", ["silent", "raises"])
    def test_a_gpu_that_does_not_take_part_is_never_replaced_by_the_cpu(self, fault: str, gpu: Gpu, tmp_path: Path):
        gpu.fault = fault
        with pytest.raises(WorkerError, match=self.options.provider) as caught:
            opened(self.options).load(self.linear(tmp_path))
        assert caught.value.status is Status.WRONG_PROVIDER

    def test_a_library_that_cannot_be_loaded_is_named(self, gpu: Gpu, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
        gpu.fault = "silent"
        library = f"libonnxruntime_providers_{self.options.provider.removesuffix('ExecutionProvider').lower()}.so"
        (tmp_path / "capi").mkdir()
        (tmp_path / "capi" / library).write_bytes(b"for another processor")
        monkeypatch.setattr(onnxruntime, "__file__", str(tmp_path / "__init__.py"))
        with pytest.raises(WorkerError, match=f"its library cannot be loaded: .*{library}"):
            opened(self.options).load(self.linear(tmp_path))

    def test_a_model_of_which_a_part_would_run_on_the_cpu_is_refused(self, gpu: Gpu, tmp_path: Path):
        gpu.lacks = ("Softplus",)
        with pytest.raises(WorkerError, match="would run on the CPU instead") as caught:
            opened(self.options).load(written(tmp_path, with_softplus()))
        assert caught.value.status is Status.WRONG_PROVIDER

    def test_what_it_was_asked_for_and_how_many_nodes_it_took_is_told(self, tmp_path: Path):
        used = opened(self.options).load(self.linear(tmp_path))
        assert used.options[f"nodes_on_{self.options.provider}"] == "1"
        assert used.options["session.disable_cpu_ep_fallback"] == "1"
        assert used.options["device_id"] == "0"


class TestCudaStandIn(StandInContract):
    options = ON_CUDA

    def test_a_provider_that_is_not_there_is_never_replaced_silently(self, open_runtime, tmp_path: Path):
        with pytest.raises(WorkerError, match=TENSORRT) as caught:
            open_runtime(ON_TENSORRT).load(self.linear(tmp_path))
        assert caught.value.status is Status.WRONG_PROVIDER

    def test_needs_no_engine(self, tmp_path: Path):
        assert made(self.options, self.linear(tmp_path)) is None


class TestTensorrtStandIn(StandInContract):
    options = ON_TENSORRT

    def test_an_engine_is_built_once_and_then_only_read(self, gpu: Gpu, tmp_path: Path):
        model = self.linear(tmp_path)
        runtime = opened(self.options)
        later = opened(replace(self.options, engines=kept(tmp_path, runtime, model)))
        runtime.load(model)
        assert gpu.events["built fp32"] == 1
        assert make(later, model) is None
        later.load(model)
        assert later.outputs(rows(2)[1])["y"].tolist() == [[4, 6]]
        assert gpu.events["built fp32"] == 1

    def test_an_engine_that_tensorrt_refuses_is_built_anew(self, gpu: Gpu, tmp_path: Path):
        model = self.linear(tmp_path)
        engines = kept(tmp_path, opened(self.options), model)
        gpu.engine_bytes += 1  # as if another driver had come
        later = opened(replace(self.options, engines=engines))
        assert built(later, model).size_bytes > 1
        later.load(model)
        assert gpu.events["built fp32"] == 2

    @pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04 cut"])
    def test_a_kept_file_that_is_no_engine_at_all_is_built_anew(self, content: bytes, gpu: Gpu, tmp_path: Path):
        model = self.linear(tmp_path)
        engines = kept(tmp_path, opened(self.options), model, content)
        assert built(opened(replace(self.options, engines=engines)), model)
        assert gpu.events["built fp32"] == 2

    def test_engines_for_other_sizes_and_another_precision_are_others(self, gpu: Gpu, tmp_path: Path):
        model = self.linear(tmp_path)
        kinds = {built(opened(self.options), model, batch=batch).kind for batch in (1, 2)}
        kinds.add(built(opened(replace(self.options, precision="fp16")), model).kind)
        assert len(kinds) == 3
        assert gpu.events["built fp16"] == 1

    def test_leaves_no_file(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
        scratch = tmp_path / "scratch"
        scratch.mkdir()
        monkeypatch.setattr("tempfile.tempdir", str(scratch))
        runtime = opened(self.options)
        built(runtime, self.linear(tmp_path))
        runtime.load(tmp_path / "model.onnx")
        assert not list(scratch.iterdir())


@pytest.mark.skipif(not HAS_CUDA, reason="there is no CUDA in this ONNX Runtime")
class TestCuda(GpuProviderContract):
    options = ON_CUDA

    def test_a_provider_that_is_not_there_is_never_replaced_silently(self, open_runtime, tmp_path: Path):
        with pytest.raises(WorkerError, match="XnnpackExecutionProvider"):
            open_runtime(replace(ON_CUDA, provider=XNNPACK)).load(self.linear(tmp_path))


class TestXnnpackStandIn:
    @pytest.fixture(autouse=True)
    def gpu(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[Gpu]:
        gpu = Gpu(providers=(XNNPACK,), lacks=("Softplus",))
        install(gpu, monkeypatch.setattr)
        return gpu

    def test_shares_a_model_with_the_cpu_and_tells_how(self, tmp_path: Path):
        options = replace(ON_CUDA, provider=XNNPACK, threads=2)
        used = opened(options).load(written(tmp_path, with_softplus()))
        assert (used.provider, used.options["intra_op_num_threads"]) == (XNNPACK, "2")
        assert (used.options[f"nodes_on_{XNNPACK}"], used.options[f"nodes_on_{CPU}"]) == ("1", "1")

    def test_where_it_is_not_used_at_all_the_session_says_so(self, gpu: Gpu, tmp_path: Path):
        gpu.fault = "silent"
        with pytest.raises(WorkerError, match="the session uses CPUExecutionProvider") as caught:
            opened(replace(ON_CUDA, provider=XNNPACK)).load(written(tmp_path, linear()))
        assert caught.value.status is Status.WRONG_PROVIDER

    def test_a_model_of_which_it_takes_nothing_is_refused(self, gpu: Gpu, tmp_path: Path):
        gpu.lacks = ("Softplus", "MatMul")
        with pytest.raises(WorkerError, match="takes none of the model's 2 nodes") as caught:
            opened(replace(ON_CUDA, provider=XNNPACK)).load(written(tmp_path, with_softplus()))
        assert caught.value.status is Status.WRONG_PROVIDER


def with_softplus() -> onnx.ModelProto:
    model = linear()
    model.graph.node[0].output[0] = "between"
    model.graph.node.append(helper.make_node("Softplus", ["between"], ["y"]))
    assert model.graph.output[0].type.tensor_type.elem_type == TensorProto.FLOAT
    return model


def make(runtime: Runtime, model: Path, *, batch: int = 1) -> Engine | None:
    assert isinstance(runtime, EngineMaker)
    return runtime.make_engine(model, {"x": np.ones((batch, 2), dtype=np.float32)})


def made(options: RuntimeOptions, model: Path) -> Engine | None:
    return make(opened(options), model)


def built(runtime: Runtime, model: Path, *, batch: int = 1) -> Engine:
    engine = make(runtime, model, batch=batch)
    assert engine is not None
    return engine


def kept(folder: Path, runtime: Runtime, model: Path, content: bytes | None = None) -> Path:
    """As the agent keeps what was made. content: what has become of it."""
    engine = built(runtime, model)
    engine.content.seek(0)
    read = engine.content.read()
    assert len(read) == engine.size_bytes
    engines = folder / "engines"
    engines.mkdir()
    (engines / f"{engine.kind}.{'0' * 64}").write_bytes(read if content is None else content)
    return engines
