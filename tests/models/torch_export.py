"""A network of the catalogue as one .onnx file, by either of torch's exporters."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import torch
from models.catalogue import Architecture, Fixture
from models.torch_definitions import KEEPS_BATCH_NORM, NETWORKS
from models.torch_definitions.layers import seeded
from torch import Tensor, nn

__all__ = ["export", "network_of"]

EXAMPLE_BATCH = 2  # torch.export takes a batch of 1 for a constant
STATISTICS_BATCH = 16
LEGACY_OPSET = 17


def network_of(architecture: Architecture) -> nn.Module:
    """In evaluation mode; its values depend on the architecture's name alone."""
    seed = zlib.crc32(architecture.name.encode())
    random = np.random.default_rng(seed)
    example = tuple(torch.from_numpy(each.drawn(STATISTICS_BATCH, random)) for each in architecture.inputs)
    return seeded(NETWORKS[architecture.name], seed, example)


def export(fixture: Fixture, path: Path) -> None:
    """Write the file, with its origin in the model's metadata and without the exporter's stack traces."""
    architecture = fixture.architecture
    batch = architecture.fixed_batch or EXAMPLE_BATCH
    example = tuple(torch.from_numpy(value) for value in architecture.feeds(batch=batch).values())
    by_exporter = {"legacy": _export_legacy, "dynamo": _export_dynamo}
    by_exporter[fixture.exporter](architecture, network_of(architecture), example, path)
    model = onnx.load(path)
    for node in model.graph.node:
        _drop_stack_trace(node)
    onnx.helper.set_model_props(model, {"source": f"torch {torch.__version__.split('+')[0]} {fixture.exporter}"})
    onnx.save(model, path)


def _export_legacy(architecture: Architecture, network: nn.Module, example: tuple[Tensor, ...], path: Path) -> None:
    keeps = architecture.name in KEEPS_BATCH_NORM
    torch.onnx.export(
        network,
        example,
        path,
        dynamo=False,
        opset_version=LEGACY_OPSET,
        do_constant_folding=not keeps,
        # PRESERVE leaves the network in evaluation mode and skips the pass that folds BatchNorm.
        training=torch.onnx.TrainingMode.PRESERVE if keeps else torch.onnx.TrainingMode.EVAL,
        input_names=[each.name for each in architecture.inputs],
        output_names=list(architecture.outputs),
        dynamic_axes=_dynamic_axes(architecture),
    )


def _export_dynamo(architecture: Architecture, network: nn.Module, example: tuple[Tensor, ...], path: Path) -> None:
    batch = torch.export.Dim("batch")
    dynamic = tuple(
        {axis: batch for axis, size in enumerate(each.shape) if size is None} for each in architecture.inputs
    )
    torch.onnx.export(
        network,
        example,
        path,
        dynamo=True,
        external_data=False,
        verbose=False,
        optimize=architecture.name not in KEEPS_BATCH_NORM,  # which folds BatchNorm
        input_names=[each.name for each in architecture.inputs],
        output_names=list(architecture.outputs),
        dynamic_shapes=None if architecture.fixed_batch else dynamic,
    )


def _dynamic_axes(architecture: Architecture) -> Mapping[str, Mapping[int, str]] | None:
    if architecture.fixed_batch:
        return None
    inputs = {each.name: {each.shape.index(None): "batch"} for each in architecture.inputs}
    return {**inputs, **{name: {0: "batch"} for name in architecture.outputs}}


def _drop_stack_trace(node: onnx.NodeProto) -> None:
    """It holds the paths of the machine that exported the file."""
    kept = [each for each in node.metadata_props if each.key != "pkg.torch.onnx.stack_trace"]
    del node.metadata_props[:]
    node.metadata_props.extend(kept)
