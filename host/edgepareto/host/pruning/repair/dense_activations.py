"""One pass of the dense model over the calibration samples: recovery's targets and the ranking's covariances."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from edgepareto.host.pruning.analysis import Analysis
from edgepareto.host.pruning.channel_labels import Labels
from edgepareto.host.pruning.graph_walk import LayerKind
from edgepareto.host.pruning.importance import Consumer
from edgepareto.host.pruning.repair.input_covariance import channel_covariance, consumer_of, input_covariance
from edgepareto.host.pruning.repair.layer_repair import apply_layer, weight_rows
from edgepareto.host.pruning.repair.live_memory import IMAGES_PER_CHUNK, affordable_images, fixed_batch
from edgepareto.host.pruning.repair.patches import PatchSampler
from edgepareto.host.pruning.repair.recurrent_repair import DenseGates, observe_gates, states_of
from edgepareto.host.pruning.repair.segments import Chunks, Segment, cut_segments, run_segment
from edgepareto.host.pruning.slice_model import slice_model
from numpy.typing import NDArray

__all__ = ["DenseActivations", "observe"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DenseActivations:
    """What a candidate is repaired towards. Dictionaries are keyed by the layer's number in the dependency graph.

    inputs: the calibration samples in chunks; images: how many they are, fewer than given where memory is short.
    targets: (rows, outputs) of the dense layer at the sampler's positions.
    summands: layers that an Add follows at once, with the tensor it adds; their targets are the sum, so that the layer
    also makes up for what the other branch lost. partners: the same where that tensor is made later, with its dense
    values, (rows, outputs). variances: of the dense outputs, summed over them. covariances: (features, features) of the
    layer's input. gates: of the layers of kind GATES, which have no sampler and targets.
    """

    segments: tuple[Segment, ...]
    images: int
    inputs: Mapping[str, Chunks]
    samplers: Mapping[int, PatchSampler]
    targets: Mapping[int, NDArray[np.float32]]
    summands: Mapping[int, str]
    partners: Mapping[int, NDArray[np.float32]]
    variances: Mapping[int, float]
    covariances: Mapping[int, NDArray[np.float64]]
    gates: Mapping[int, DenseGates]

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
    samplers: dict[int, PatchSampler] = {}
    targets: dict[int, NDArray[np.float32]] = {}
    summands: dict[int, str] = {}
    partners: dict[int, NDArray[np.float32]] = {}
    waiting: dict[int, tuple[str, Chunks]] = {}
    variances: dict[int, float] = {}
    covariances: dict[int, NDArray[np.float64]] = {}
    gates: dict[int, DenseGates] = {}
    live: dict[str, Chunks] = dict(inputs)
    for segment in segments:
        if segment.layer is not None and analysis.graph.layers[segment.layer].kind is LayerKind.GATES:
            layer, memory = analysis.graph.layers[segment.layer : segment.layer + 2]
            states = states_of(draft, segment, live)
            gates[segment.layer] = observe_gates(draft, layer, segment.layer, live, states)
            variances.update(dict.fromkeys((segment.layer, segment.layer + 1), gates[segment.layer].variance))
            if layer.inputs is not None:
                covariances[segment.layer] = channel_covariance(live[layer.data], linear=True, about_mean=True)
            side_by_side = [chunk.swapaxes(1, 2).reshape(-1, len(memory.outputs)) for chunk in states]
            covariances[segment.layer + 1] = channel_covariance(side_by_side, linear=True, about_mean=True)
        elif segment.layer is not None:
            layer = analysis.graph.layers[segment.layer]
            weight = analysis.constants[layer.weight]
            sampler = PatchSampler(layer, segment.layer, draft.nodes[layer.node], weight.shape[2:])
            bias = analysis.constants[layer.bias].reshape(-1) if layer.bias is not None else None
            patches = sampler.gather(live[layer.data])
            samplers[segment.layer] = sampler
            outputs = apply_layer(
                patches, weight_rows(weight, layer), None if bias is None else bias.astype(np.float32), layer
            )
            variances[segment.layer] = float(outputs.var(axis=0, dtype=np.float64).sum())
            targets[segment.layer] = outputs
            if segment.summand is not None:
                other = sampler.gather_outputs(live[segment.summand], live[layer.data])
                if other is not None and other.shape == outputs.shape:
                    summands[segment.layer] = segment.summand
                    targets[segment.layer] = outputs + other
            if layer.input_axis is not None and layer.inputs is not None:
                covariances[segment.layer] = input_covariance(
                    layer, segment.layer, draft.nodes[layer.node], weight, live[layer.data]
                )
        if segment.layer in targets and segment.partner is not None:
            waiting[segment.layer] = segment.partner, live[analysis.graph.layers[segment.layer].data]
        made = {name for node in draft.nodes[segment.start : segment.stop] for name in node.output}
        arriving = [number for number, (partner, _) in waiting.items() if partner in made]
        outputs_too = dict.fromkeys([*segment.outputs, *(waiting[number][0] for number in arriving)])
        results = run_segment(replace(segment, outputs=tuple(outputs_too)), draft, live)
        for number in arriving:
            partner, data = waiting.pop(number)
            other = samplers[number].gather_outputs(results[partner], data)
            if other is not None and other.shape == targets[number].shape:
                partners[number] = other
                targets[number] = targets[number] + other
        live.update((name, results[name]) for name in segment.outputs)
        for name in segment.drop:
            live.pop(name, None)
    return DenseActivations(
        segments=segments,
        images=count,
        inputs=inputs,
        samplers=samplers,
        targets=targets,
        summands=summands,
        partners=partners,
        variances=variances,
        covariances=covariances,
        gates=gates,
    )


def _chunks(samples: NDArray[np.generic], shape: Sequence[int | str | None]) -> Chunks:
    """A fixed batch axis takes that many samples at a time."""
    size = fixed_batch(shape) or IMAGES_PER_CHUNK
    return [samples[start : start + size] for start in range(0, len(samples), size)]
