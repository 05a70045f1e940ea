"""One pass of the dense model over the calibration samples: recovery's targets and the ranking's covariances."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from edgepareto.host.pruning.analysis import Analysis
from edgepareto.host.pruning.channel_labels import Labels
from edgepareto.host.pruning.importance import Consumer
from edgepareto.host.pruning.layer import LayerKind
from edgepareto.host.pruning.repair.input_covariance import channel_covariance, consumer_of, input_covariance
from edgepareto.host.pruning.repair.layer_repair import apply_layer, weight_rows
from edgepareto.host.pruning.repair.live_memory import IMAGES_PER_CHUNK, affordable_images, fixed_batch
from edgepareto.host.pruning.repair.patches import PatchSampler
from edgepareto.host.pruning.repair.recurrent_repair import DenseGates, observe_gates, states_of
from edgepareto.host.pruning.repair.segments import Chunks, Segment, cut_segments, run_segment
from edgepareto.host.pruning.slice_model import Draft, slice_model
from numpy.typing import NDArray

__all__ = ["DenseActivations", "DenseLayer", "observe"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DenseLayer:
    """What one layer is repaired towards. targets: (rows, outputs) of the dense layer at the sampler's positions.

    summand: the tensor that an Add adds to its outputs at once; the targets are then the sum, so that the layer also
    makes up for what the other branch lost. partner: the same where that tensor is made later, its dense values, (rows,
    outputs).
    """

    sampler: PatchSampler
    targets: NDArray[np.float32]
    summand: str | None = None
    partner: NDArray[np.float32] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DenseActivations:
    """What a candidate is repaired towards. Dictionaries are keyed by the layer's number in the dependency graph.

    inputs: the calibration samples in chunks; images: how many they are, fewer than given where memory is short.
    layers: all that are repaired but those of kind GATES, which are in `gates`. variances: of the dense outputs, summed
    over them. covariances: (features, features) of the layer's input.
    """

    segments: tuple[Segment, ...]
    images: int
    inputs: Mapping[str, Chunks]
    layers: Mapping[int, DenseLayer]
    gates: Mapping[int, DenseGates]
    variances: Mapping[int, float]
    covariances: Mapping[int, NDArray[np.float64]]

    def consumers(
        self, analysis: Analysis, classes: Labels, sensitivities: Mapping[int, float] | None = None
    ) -> list[Consumer]:
        """The layers that read these channels, one cell of a group, in graph order, each restricted to them.

        sensitivities: 1 for a layer that is not among them.
        """
        found = []
        for number, covariance in self.covariances.items():
            layer = analysis.graph.layers[number]
            weight = analysis.constants[layer.weight]
            sensitivity = (sensitivities or {}).get(number, 1.0)
            consumer = consumer_of(layer, weight, covariance, self.variances[number], sensitivity, classes)
            if consumer is not None:
                found.append(consumer)
        return found


def observe(analysis: Analysis, samples: Mapping[str, NDArray[np.generic]]) -> DenseActivations:
    """Run the dense model once over the samples, or as many of them as fit the memory, in the pieces of a candidate."""
    segments = cut_segments(analysis)
    count = affordable_images(analysis, segments, samples)
    inputs = {value.name: _chunks(samples[value.name][:count], value.shape) for value in analysis.inputs}
    draft = slice_model(analysis, np.ones(len(analysis.graph.classes), dtype=bool))
    layers: dict[int, DenseLayer] = {}
    gates: dict[int, DenseGates] = {}
    variances: dict[int, float] = {}
    covariances: dict[int, NDArray[np.float64]] = {}
    waiting: dict[int, tuple[str, Chunks]] = {}
    live: dict[str, Chunks] = dict(inputs)
    for segment in segments:
        number = segment.layer
        if number is not None and analysis.graph.layers[number].kind is LayerKind.GATES:
            gates[number], of_inputs = _observe_recurrent(draft, number, segment, live)
            variances.update(dict.fromkeys((number, number + 1), gates[number].variance))
            covariances.update(of_inputs)
        elif number is not None:
            layer = analysis.graph.layers[number]
            layers[number], variances[number] = _observe_layer(draft, number, segment, live)
            if layer.input_axis is not None and layer.inputs is not None:
                node, weight = draft.nodes[layer.node], analysis.constants[layer.weight]
                covariances[number] = input_covariance(layer, number, node, weight, live[layer.data])
            if segment.partner is not None:
                waiting[number] = segment.partner, live[layer.data]
        made = {name for node in draft.nodes[segment.start : segment.stop] for name in node.output}
        arriving = [waiter for waiter, (partner, _) in waiting.items() if partner in made]
        outputs_too = dict.fromkeys([*segment.outputs, *(waiting[waiter][0] for waiter in arriving)])
        results = run_segment(replace(segment, outputs=tuple(outputs_too)), draft, live)
        for waiter in arriving:
            partner, data = waiting.pop(waiter)
            layers[waiter] = _with_partner(layers[waiter], results[partner], data)
        live.update((name, results[name]) for name in segment.outputs)
        for name in segment.drop:
            live.pop(name, None)
    return DenseActivations(
        segments=segments,
        images=count,
        inputs=inputs,
        layers=layers,
        gates=gates,
        variances=variances,
        covariances=covariances,
    )


def _observe_layer(draft: Draft, number: int, segment: Segment, live: Mapping[str, Chunks]) -> tuple[DenseLayer, float]:
    """And the variance of its outputs, summed over them."""
    layer = draft.analysis.graph.layers[number]
    weight = draft.analysis.constants[layer.weight]
    bias = draft.analysis.constants[layer.bias].reshape(-1).astype(np.float32) if layer.bias is not None else None
    sampler = PatchSampler(layer, number, draft.nodes[layer.node], weight.shape[2:])
    outputs = apply_layer(sampler.gather(live[layer.data]), weight_rows(weight, layer), bias, layer)
    variance = float(outputs.var(axis=0, dtype=np.float64).sum())
    if segment.summand is not None:
        other = sampler.gather_outputs(live[segment.summand], live[layer.data])
        if other is not None and other.shape == outputs.shape:
            return DenseLayer(sampler=sampler, targets=outputs + other, summand=segment.summand), variance
    return DenseLayer(sampler=sampler, targets=outputs), variance


def _with_partner(layer: DenseLayer, partner: Chunks, data: Chunks) -> DenseLayer:
    """data: what the layer reads."""
    other = layer.sampler.gather_outputs(partner, data)
    if other is None or other.shape != layer.targets.shape:
        return layer
    return replace(layer, partner=other, targets=layer.targets + other)


def _observe_recurrent(
    draft: Draft, number: int, segment: Segment, live: Mapping[str, Chunks]
) -> tuple[DenseGates, dict[int, NDArray[np.float64]]]:
    """And the covariances of what the gates and the memory, the next layer, read."""
    layer, memory = draft.analysis.graph.layers[number : number + 2]
    states = states_of(draft, segment, live)
    covariances = {}
    if layer.inputs is not None:
        covariances[number] = channel_covariance(live[layer.data], linear=True, about_mean=True)
    side_by_side = [chunk.swapaxes(1, 2).reshape(-1, len(memory.outputs)) for chunk in states]
    covariances[number + 1] = channel_covariance(side_by_side, linear=True, about_mean=True)
    return observe_gates(draft, layer, number, live, states), covariances


def _chunks(samples: NDArray[np.generic], shape: Sequence[int | str | None]) -> Chunks:
    """A fixed batch axis takes that many samples at a time."""
    size = fixed_batch(shape) or IMAGES_PER_CHUNK
    return [samples[start : start + size] for start in range(0, len(samples), size)]
