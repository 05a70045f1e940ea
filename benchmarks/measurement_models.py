"""Models made for measuring, seeded, with the files a board is sent: as the host's batch and as the agent's request."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from edgepareto.agent.profiling import BatchRequest, CandidateSpec
from edgepareto.agent.profiling import Purpose as AgentPurpose
from edgepareto.agent.runtime import RuntimeOptions
from edgepareto.host.accuracy import uniform_dataset
from edgepareto.host.domain import Batch, BatchEntry, CandidateId, Deployment, Purpose
from edgepareto.host.export import expected_outputs, input_tensors, sha256_of, write_model, write_sample_inputs
from onnx import TensorProto, helper, numpy_helper

__all__ = ["ModelFiles", "conv_net", "request_of", "written"]

OPSET, IR_VERSION = 17, 8
SAMPLES = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFiles:
    """One model on disk with what it is fed and what it must answer."""

    name: str
    model: Path
    sha256: str
    inputs: Path
    outputs: Path

    def entry(self, attempt: int = 0) -> BatchEntry:
        return BatchEntry(
            candidate=CandidateId(self.name),
            purpose=Purpose.SEARCH,
            attempt=attempt,
            model=self.model,
            model_sha256=self.sha256,
            expected_outputs=self.outputs,
        )

    def batch(self, key: str, others: Sequence[ModelFiles], *, number: int) -> Batch:
        """This model is the anchor, in its batch of that number."""
        return Batch(
            request_key=key,
            preset="quick",
            order_seed=number,
            anchor=self.entry(number),
            entries=tuple(other.entry() for other in others),
            inputs=self.inputs,
            deployment=Deployment(threads=1),
        )


def conv_net(channels: int, *, size: int, layers: int, seed: int = 0) -> onnx.ModelProto:
    """Some 3x3 convolutions with ReLU, `channels` wide, on an image of size x size, and the mean of each channel."""
    rng = np.random.default_rng((seed, channels, size, layers))
    nodes, weights, before, width = [], [], "x", 3
    for layer in range(layers):
        scale = (2 / (9 * width)) ** 0.5  # He: neither denormal nor huge values after many layers
        kernel = (scale * rng.standard_normal((channels, width, 3, 3))).astype(np.float32)
        weights.append(numpy_helper.from_array(kernel, f"w{layer}"))
        nodes.append(helper.make_node("Conv", [before, f"w{layer}"], [f"c{layer}"], pads=[1, 1, 1, 1]))
        nodes.append(helper.make_node("Relu", [f"c{layer}"], [f"r{layer}"]))
        before, width = f"r{layer}", channels
    nodes.append(helper.make_node("GlobalAveragePool", [before], ["y"]))
    graph = helper.make_graph(
        nodes,
        f"conv_net_{channels}",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, size, size])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, channels, 1, 1])],
        weights,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)


def written(model: onnx.ModelProto, name: str, folder: Path) -> ModelFiles:
    """The model's files, by the functions with which the product writes them; models of one folder share the inputs."""
    path, inputs, outputs = folder / f"{name}.onnx", folder / "inputs.npz", folder / f"{name}.npz"
    write_model(model, path)
    write_sample_inputs(uniform_dataset(input_tensors(model), count=SAMPLES), SAMPLES, inputs)
    expected_outputs(path, inputs, outputs)
    return ModelFiles(name=name, model=path, sha256=sha256_of(path), inputs=inputs, outputs=outputs)


def request_of(
    anchor: ModelFiles, candidates: Sequence[ModelFiles], *, preset: str, order_seed: int, measure_energy: bool = False
) -> BatchRequest:
    """The same for `profile_batch`, on one thread of ONNX Runtime."""
    return BatchRequest(
        request_key=f"benchmark/{order_seed}",
        preset=preset,
        order_seed=order_seed,
        anchor=_spec(anchor),
        candidates=tuple(_spec(candidate) for candidate in candidates),
        measure_energy=measure_energy,
    )


def _spec(files: ModelFiles) -> CandidateSpec:
    return CandidateSpec(
        candidate_id=files.name,
        purpose=AgentPurpose.SEARCH,
        attempt=0,
        model_sha256=files.sha256,
        model=files.model,
        expected_outputs=files.outputs,
        runtime=RuntimeOptions(name="onnxruntime", threads=1, provider="CPUExecutionProvider"),
        inputs=files.inputs,
        relative_tolerance=1e-3,
    )
