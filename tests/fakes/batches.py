"""Batches of real models, for agents that really measure."""

from __future__ import annotations

from pathlib import Path

from edgepareto.host.accuracy import uniform_dataset
from edgepareto.host.domain import Batch, BatchEntry, CandidateId, Purpose
from edgepareto.host.export import expected_outputs, input_tensors, sha256_of, write_sample_inputs
from fakes.models import save
from onnx import ModelProto

__all__ = ["batch_of"]


def batch_of(network: ModelProto, folder: Path, *, anchor: str, candidates: tuple[str, ...]) -> Batch:
    """The same network under each of these ids, with two sample rows; its files lie in `folder`."""
    model, inputs, outputs = save(network, folder / "net.onnx"), folder / "inputs.npz", folder / "outputs.npz"
    write_sample_inputs(uniform_dataset(input_tensors(network), count=2), 2, inputs)
    expected_outputs(model, inputs, outputs)

    def entry(name: str) -> BatchEntry:
        return BatchEntry(
            candidate=CandidateId(name),
            purpose=Purpose.SEARCH,
            attempt=0,
            model=model,
            model_sha256=sha256_of(model),
            expected_outputs=outputs,
        )

    return Batch(
        request_key="study/pi1/0",
        preset="quick",
        order_seed=1,
        anchor=entry(anchor),
        entries=tuple(entry(name) for name in candidates),
        inputs=inputs,
    )
