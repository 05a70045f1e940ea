"""What can be pruned in a model: groups, frozen channels, work and size. Needs no data, well under a second."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx
from edgepareto.host.domain import BranchGene, ChannelGene, PruningSpace, allowed_widths
from edgepareto.host.pruning.branches import Branch, find_branches
from edgepareto.host.pruning.channel_group import ChannelGroup, FrozenGroup, find_groups
from edgepareto.host.pruning.dependency_graph import DependencyGraph, trace_dependencies
from edgepareto.host.pruning.equal_blocks import Cells
from edgepareto.host.pruning.model_size import count_macs, count_parameters, layer_macs
from edgepareto.host.pruning.normal_form.channel_shuffle import rewrite_shuffles
from edgepareto.host.pruning.normal_form.normalise import normalise
from edgepareto.host.pruning.normal_form.shape_inference import Shape, dimension_size, infer_shapes
from edgepareto.host.pruning.wiring import Wiring, wiring_of
from numpy.typing import NDArray
from onnx import numpy_helper

__all__ = ["Analysis", "TensorSpec", "analyse"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorSpec:
    """An input or output. shape: a number, the name of a symbolic dimension, or None where the model says nothing."""

    name: str
    shape: tuple[int | str | None, ...]
    dtype: np.dtype[np.generic]


@dataclass(frozen=True, slots=True, kw_only=True)
class Analysis:
    """A model, normalised, and what may be cut from it.

    macs: multiply-accumulates of Conv, Gemm and MatMul for one sample; a symbolic size counts as 1. parameters:
    elements of the floating-point initializers, a tensor shared by n nodes n times. branches: what may be left out as
    a whole. group_cells: per group, its channels as classes of `graph`.
    """

    model: onnx.ModelProto
    groups: tuple[ChannelGroup, ...]
    frozen: tuple[FrozenGroup, ...]
    branches: tuple[Branch, ...]
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    macs: int
    parameters: int
    seconds: float
    graph: DependencyGraph = field(repr=False)
    group_cells: tuple[Cells, ...] = field(repr=False)
    constants: Mapping[str, NDArray[np.generic]] = field(repr=False)
    element_types: Mapping[str, int] = field(repr=False)
    shapes: Mapping[str, Shape] = field(repr=False)
    wiring: Wiring = field(repr=False)

    def search_space(self, step: int | Sequence[int] = 1, *, branches: bool = True) -> PruningSpace:
        """Gene i belongs to groups[i]; its widths: those with a multiple of `step` features, and the original.

        step: one for all groups, or one per group. branches: whether they may be left out.
        """
        steps = [step] * len(self.groups) if isinstance(step, int) else step
        return PruningSpace(
            genes=tuple(
                ChannelGene(name=group.name, channels=group.channels, widths=_stepped(group, own))
                for group, own in zip(self.groups, steps, strict=True)
            ),
            branches=tuple(
                BranchGene(name=branch.name, inside=branch.groups, branches=branch.branches)
                for branch in self.branches
                if branches
            ),
        )


def _stepped(group: ChannelGroup, step: int) -> tuple[int, ...]:
    return allowed_widths(group.widths, step // math.gcd(step, group.features))


def analyse(model: onnx.ModelProto) -> Analysis:
    """Normalise a copy of the model and find its channel groups. Raises ModelError only for a broken model: a sound one
    in which nothing can be pruned has no groups, and `frozen` says why."""
    start = time.perf_counter()
    normalised = normalise(model)
    shapes, element_types = infer_shapes(normalised)
    if rewrite_shuffles(normalised, shapes):
        shapes, element_types = infer_shapes(normalised)
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in normalised.graph.initializer}
    graph = trace_dependencies(normalised, shapes, constants)
    of_layers = layer_macs(graph, constants)
    groups, cells, frozen = find_groups(graph, of_layers)
    wiring = wiring_of(normalised.graph)
    return Analysis(
        model=normalised,
        groups=groups,
        frozen=frozen,
        branches=find_branches(normalised, wiring, graph, cells, of_layers, shapes, constants),
        inputs=tuple(_spec(value) for value in normalised.graph.input),
        outputs=tuple(_spec(value) for value in normalised.graph.output),
        macs=count_macs(graph, constants, np.ones(len(graph.classes), dtype=bool)),
        parameters=count_parameters(constants),
        seconds=time.perf_counter() - start,
        graph=graph,
        group_cells=cells,
        constants=constants,
        element_types=element_types,
        shapes=shapes,
        wiring=wiring,
    )


def _spec(value: onnx.ValueInfoProto) -> TensorSpec:
    tensor = value.type.tensor_type
    shape = tuple(dimension_size(dimension) for dimension in tensor.shape.dim)
    dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type) if tensor.elem_type else np.dtype(np.float32)
    return TensorSpec(name=value.name, shape=shape, dtype=dtype)
