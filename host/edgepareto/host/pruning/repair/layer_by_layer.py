"""A draft repaired layer by layer in graph order, each from what the repaired layers before it put out."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from edgepareto.host.pruning.layer import Layer, LayerKind
from edgepareto.host.pruning.repair.dense_activations import DenseActivations, DenseLayer
from edgepareto.host.pruning.repair.layer_repair import repair_layer
from edgepareto.host.pruning.repair.recurrent_repair import repair_gates
from edgepareto.host.pruning.repair.segments import Chunks, Segment, left_of, run_segment
from edgepareto.host.pruning.slice_model import Draft
from numpy.typing import NDArray

__all__ = ["recover"]


def recover(draft: Draft, dense: DenseActivations, recovery: str) -> None:
    """A tensor is exact while nothing before it was cut or left out: its readers need no repair.

    A tied weight is fitted to its first reader: to fit it again would undo that, and to leave it as cut is worse. It
    stays as cut where not all that read it are layers (an embedding).
    """
    layers = draft.analysis.graph.layers
    fitted = {layer.weight for layer in layers if layer.tied and not _is_read_by_layers_only(layer.weight, draft)}
    live = dict(dense.inputs)
    exact = set(live)
    for of_model in dense.segments:
        segment = left_of(of_model, draft)
        reads_exact = exact.issuperset(segment.inputs)
        if segment.layer is not None:
            layer = layers[segment.layer]
            whole = layer.inputs is None or layer.input_axis is None or bool(draft.kept[layer.inputs].all())
            if layer.weight in fitted:
                pass
            elif layer.kind is LayerKind.GATES:
                if not (reads_exact and whole and draft.kept[layer.outputs].all()):
                    repair_gates(draft, layer, segment, live, dense.gates[segment.layer], recovery)
                    fitted.add(layer.weight)
            elif not (reads_exact and whole and _meets_what_it_met(segment, draft, exact)):
                _repair(draft, layer, segment, dense.layers[segment.layer], live, recovery)
                fitted.add(layer.weight)
        live.update(run_segment(segment, draft, live))
        is_whole = draft.bypassed.isdisjoint(range(segment.start, segment.stop))
        if reads_exact and is_whole and draft.changed.isdisjoint(segment.constants):
            exact.update(segment.outputs)
        for name in segment.drop:
            live.pop(name, None)


def _is_read_by_layers_only(weight: str, draft: Draft) -> bool:
    readers = {number for number, node in enumerate(draft.nodes) if weight in node.input} - draft.gone
    return readers == {layer.node for layer in draft.analysis.graph.layers if layer.weight == weight} - draft.gone


def _meets_what_it_met(segment: Segment, draft: Draft, exact: set[str]) -> bool:
    """What is added to the layer's outputs at once is the base model's, as far as it is made yet."""
    return (segment.summand is None or segment.summand in exact) and not _is_gone(segment.partner, draft)


def _repair(
    draft: Draft, layer: Layer, segment: Segment, dense: DenseLayer, live: Mapping[str, Chunks], recovery: str
) -> None:
    """Towards the dense outputs or, where something is added to them, the dense sum, whatever is left to be added."""
    inputs = dense.sampler.gather(live[layer.data])
    added = _added(draft, segment, dense, layer, live)
    alone = segment.summand is None and segment.partner is None
    is_sum = dense.summand is not None or dense.partner is not None
    clamp = segment.clamp if alone or is_sum else None
    targets = dense.targets[:, draft.kept[layer.outputs]]
    repair_layer(draft, layer, inputs, targets, recovery, clamp, added)


def _added(
    draft: Draft, segment: Segment, dense: DenseLayer, layer: Layer, live: Mapping[str, Chunks]
) -> NDArray[np.float32] | None:
    """What meets the layer's outputs in an Add: of the candidate, or of the dense model where it is still to come."""
    if dense.partner is not None and not _is_gone(segment.partner, draft):
        return dense.partner[:, draft.kept[layer.outputs]]
    if dense.summand is None or _is_gone(dense.summand, draft):
        return None
    added = dense.sampler.gather_outputs(live[dense.summand], live[layer.data])
    assert added is not None, "shaped as in the dense model, but for its channels"
    return added


def _is_gone(name: str | None, draft: Draft) -> bool:
    return any(name in draft.nodes[number].output for number in draft.gone)
