"""A batch of tiny models on this machine, measured by real workers with a preset of a few milliseconds."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from edgepareto.agent.clock import SystemClock
from edgepareto.agent.profiling import (
    BatchRequest,
    Board,
    CandidateSpec,
    CandidateTrace,
    Deadline,
    MeterSetting,
    Preset,
    Progress,
    Purpose,
    profile_batch,
)
from edgepareto.agent.runtime import RuntimeOptions
from edgepareto.agent.worker import Child, Spawn, spawn
from onnx import TensorProto, helper, numpy_helper

FAKE_SAMPLER = Path(__file__).parents[2] / "fakes" / "fake_sampler.py"
ROWS = 3
TINY = Preset(
    name="tiny",
    minimum_rounds=3,
    maximum_rounds=3,
    warm_up_s=0.002,
    warm_up_runs=2,
    block_s=0.005,
    block_runs=4,
    energy_rounds=2,
    window_s=0.02,
    window_samples=4,
    window_inferences=3,
    idle_s=0.02,
    guard_s=0.005,
    look_s=0.0,
    ranging_s=0.02,
)


def convolution(channels: int = 4) -> onnx.ModelProto:
    weights = np.random.default_rng(0).standard_normal((channels, 1, 3, 3)).astype(np.float32)
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 1, 8, 8])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", channels, 6, 6])
    node = helper.make_node("Conv", ["x", "w"], ["y"])
    graph = helper.make_graph([node], "convolution", [x], [y], [numpy_helper.from_array(weights, "w")])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def convolved(model: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    """What `convolution` computes, by numpy alone. x: (rows, n, 1, 8, 8); returns (rows, n, channels, 6, 6)."""
    weights = numpy_helper.to_array(model.graph.initializer[0])[:, 0]
    patches = np.lib.stride_tricks.sliding_window_view(x[:, :, 0], (3, 3), axis=(2, 3))
    return np.einsum("rnijab,oab->rnoij", patches, weights).astype(np.float32)


@dataclass
class Bench:
    """Where a test puts its models, and how it has them measured."""

    folder: Path
    started: list[list[str]] = field(default_factory=list)
    children: dict[str, Child] = field(default_factory=dict)
    steps: list[Progress] = field(default_factory=list)
    on_step: Callable[[Progress], None] = lambda step: None
    sampler_faults: str = ""
    start_worker: Spawn = spawn

    @property
    def pids(self) -> dict[str, int]:
        """By candidate, and the sampler's; of those that told it."""
        return {name: child.pid for name, child in self.children.items() if child.pid is not None}

    @property
    def sampler_log(self) -> Path:
        return self.folder / "sampler.log"

    def spec(
        self, name: str, model: onnx.ModelProto | bytes | None = None, *, expected: float = 1.0, channels: int = 4
    ) -> CandidateSpec:
        """model None: a convolution. expected: factor on the outputs that are expected, 1.0 for the right ones."""
        good = convolution(channels)
        x = np.load(self.folder / "inputs.npz")["x"]
        np.savez(self.folder / f"{name}.npz", y=convolved(good, x) * np.float32(expected))
        model = good if model is None else model
        path = self.folder / f"{name}.onnx"
        path.write_bytes(model if isinstance(model, bytes) else model.SerializeToString())
        return CandidateSpec(
            candidate_id=name,
            purpose=Purpose.SEARCH,
            attempt=0,
            model_sha256="",
            model=path,
            expected_outputs=self.folder / f"{name}.npz",
            runtime=RuntimeOptions(name="onnxruntime", threads=0, provider="CPUExecutionProvider"),
            inputs=self.folder / "inputs.npz",
            relative_tolerance=1e-3,
        )

    def request(self, anchor: CandidateSpec, *candidates: CandidateSpec) -> BatchRequest:
        return BatchRequest(
            request_key="batch-1",
            preset="tiny",
            order_seed=7,
            anchor=anchor,
            candidates=candidates,
            measure_energy=True,
        )

    def board(self, *, with_meter: bool = False, shared: bool = True) -> Board:
        return Board(
            clock=SystemClock(),
            sys_root=self.folder,  # tells nothing: this machine's load is not the test's subject
            meter=MeterSetting(kind="fake") if with_meter else None,
            default_threads=1,
            shared=shared,
        )

    def measure(
        self,
        request: BatchRequest,
        board: Board | None = None,
        *,
        preset: Preset = TINY,
        deadline: Deadline | None = None,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> tuple[CandidateTrace, ...]:
        return tuple(
            profile_batch(
                request,
                board or self.board(),
                on_progress=self._step,
                cancelled=cancelled,
                presets={"tiny": replace(preset, name="tiny")},
                deadline=deadline or Deadline(),
                spawn=self._spawn,
            )
        )

    def _step(self, step: Progress) -> None:
        self.steps.append(step)
        self.on_step(step)

    def _spawn(self, argv: Sequence[str]) -> Child:
        self.started.append(list(argv))
        if "edgepareto.agent.power.sampler" in argv:
            argv = [sys.executable, str(FAKE_SAMPLER), str(self.sampler_log), self.sampler_faults]
            self.children["sampler"] = child = spawn(argv)
            return child
        child = self.start_worker(argv)
        self.children[argv[argv.index("--job") + 1].split("/")[0]] = child
        return child


@pytest.fixture
def tiny() -> Preset:
    return TINY


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    x = np.random.default_rng(1).random((ROWS, 1, 1, 8, 8), dtype=np.float32)
    np.savez(tmp_path / "inputs.npz", x=x)
    return Bench(tmp_path)
