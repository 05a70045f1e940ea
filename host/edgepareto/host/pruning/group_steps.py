"""Which channel step a group is cut in: what the kernels of its layers need in common."""

from __future__ import annotations

from collections.abc import Mapping

from edgepareto.host.domain.learned_steps import KernelKind, common_step
from edgepareto.host.pruning.analysis import Analysis
from edgepareto.host.pruning.layer import Layer, LayerKind

__all__ = ["group_steps"]


def group_steps(analysis: Analysis, steps: Mapping[KernelKind, int]) -> tuple[int, ...]:
    """One step per group of the analysis; steps: of every kind. A group's layers are those that make its channels."""
    made_by: dict[str, set[KernelKind]] = {}
    for layer in analysis.graph.layers:
        made_by.setdefault(layer.name, set()).add(_kernel_kind(layer, analysis))
    return tuple(
        common_step(steps[kind] for name in group.layers for kind in made_by.get(name, set(KernelKind)))
        for group in analysis.groups
    )


def _kernel_kind(layer: Layer, analysis: Analysis) -> KernelKind:
    """A matrix product is what a 1x1 convolution becomes; larger and grouped ones are packed as a 3x3 is."""
    if layer.kind is LayerKind.GROUPED and layer.input_axis is None:
        return KernelKind.DEPTHWISE
    if layer.kind in (LayerKind.LINEAR, LayerKind.GATES, LayerKind.MEMORY):
        return KernelKind.POINTWISE
    kernel = analysis.constants[layer.weight].shape[2:]
    is_pointwise = layer.kind is LayerKind.CONV and all(size == 1 for size in kernel)
    return KernelKind.POINTWISE if is_pointwise else KernelKind.CONV_3X3
