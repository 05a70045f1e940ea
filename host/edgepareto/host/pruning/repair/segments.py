"""Run a draft piece by piece: each piece starts at a layer that recovery may change, so nothing before it runs twice.

Tensors that pass from piece to piece are lists of chunks (some images each), whatever their shape: a fixed batch axis
or a tensor without one needs no special care, and a chunk fits the processor's cache.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import onnx
from edgepareto.host.errors import EvaluationError
from edgepareto.host.pruning.analysis import Analysis
from edgepareto.host.pruning.inference import ORT_ERRORS, open_session
from edgepareto.host.pruning.layer import Layer, LayerKind
from edgepareto.host.pruning.normal_form.graph_names import captured_names
from edgepareto.host.pruning.repair.clamp import Clamp, clamp_of
from edgepareto.host.pruning.slice_model import Draft
from numpy.typing import NDArray
from onnx import numpy_helper

__all__ = ["Chunks", "Segment", "cut_segments", "left_of", "run_segment"]

Chunks = list[NDArray[np.generic]]
NOTHING: tuple[None, None] = (None, None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """Nodes start..stop of the graph. layer: the repairable layer it starts with; None only before the first one.

    inputs: activations read; outputs: those a later segment reads; drop: inputs that no later segment reads.
    summand: the tensor that an Add, the only reader of the layer's output, adds to it, where it is made before the
    segment; partner: where it is made later. clamp: the activation that is then the only reader, of the sum or else of
    the layer's output. The output of a MatMul is what it is with the bias, which an Add of its own adds.
    """

    start: int
    stop: int
    layer: int | None
    summand: str | None
    partner: str | None
    clamp: Clamp | None
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    constants: tuple[str, ...]
    drop: tuple[str, ...]


def cut_segments(analysis: Analysis) -> tuple[Segment, ...]:
    """Up to and with the last repairable layer; what follows it need not run for recovery."""
    nodes = analysis.model.graph.node
    starts = {layer.node: number for number, layer in enumerate(analysis.graph.layers) if is_repairable(layer)}
    bounds = sorted({0, *starts})
    reads = [_read(node) for node in nodes]
    last_read = {name: index for index, names in enumerate(reads) for name in names}
    readers: dict[str, list[int]] = {}
    for index, names in enumerate(reads):
        for name in dict.fromkeys(names):
            readers.setdefault(name, []).append(index)
    maker = {name: index for index, node in enumerate(nodes) for name in node.output}
    segments: list[Segment] = []
    for start, stop in zip(bounds, [*bounds[1:], len(nodes)], strict=True):
        made = {name for node in nodes[start:stop] for name in node.output}
        read = list(dict.fromkeys(name for names in reads[start:stop] for name in names))
        outside = [name for name in read if name not in made]
        inputs = tuple(name for name in outside if name not in analysis.constants)
        layer = starts.get(start)
        other, clamp = NOTHING if layer is None else _follows(analysis.graph.layers[layer], analysis, readers)
        is_made_before = other is not None and maker.get(other, -1) < start
        segments.append(
            Segment(
                start=start,
                stop=stop,
                layer=layer,
                summand=other if is_made_before else None,
                partner=None if is_made_before else other,
                clamp=clamp,
                inputs=inputs,
                outputs=tuple(
                    name for node in nodes[start:stop] for name in node.output if last_read.get(name, -1) >= stop
                ),
                constants=tuple(name for name in outside if name in analysis.constants),
                drop=tuple(name for name in inputs if last_read[name] < stop),
            )
        )
    return tuple(segments)


def left_of(segment: Segment, draft: Draft) -> Segment:
    """What a draft without some branches still has of it."""
    if not draft.gone:
        return segment
    nodes = _nodes(segment, draft)
    read = {name for node in nodes for name in _read(node)}
    made = {name for node in nodes for name in node.output}
    return replace(
        segment,
        layer=None if segment.start in draft.gone else segment.layer,
        inputs=tuple(name for name in segment.inputs if name in read),
        outputs=tuple(name for name in segment.outputs if name in made),
        constants=tuple(name for name in segment.constants if name in read),
    )


def _follows(layer: Layer, analysis: Analysis, readers: Mapping[str, Sequence[int]]) -> tuple[str | None, Clamp | None]:
    """What is added to the layer's output at once, and the clamp behind."""
    output, other = layer.output, None
    reader = _only_reader(output, analysis, readers)
    if reader is not None and _adds_bias(reader, layer, analysis):
        output = reader.output[0]
        reader = _only_reader(output, analysis, readers)
    if reader is not None and reader.op_type == "Add":
        other = next((name for name in reader.input if name != output and name not in analysis.constants), None)
        if other is None:
            return NOTHING
        reader = _only_reader(reader.output[0], analysis, readers)
    return other, None if reader is None else clamp_of(reader, analysis.constants)


def _adds_bias(reader: onnx.NodeProto, layer: Layer, analysis: Analysis) -> bool:
    """The layer's bias, which is no input of its own node."""
    own = analysis.model.graph.node[layer.node].input
    return reader.op_type == "Add" and layer.bias in reader.input and layer.bias not in own


def _only_reader(name: str, analysis: Analysis, readers: Mapping[str, Sequence[int]]) -> onnx.NodeProto | None:
    graph = analysis.model.graph
    of_name = readers.get(name, ())
    return graph.node[of_name[0]] if len(of_name) == 1 and all(name != value.name for value in graph.output) else None


def is_repairable(layer: Layer) -> bool:
    return layer.kind not in (LayerKind.OTHER, LayerKind.MEMORY)


def run_segment(segment: Segment, draft: Draft, live: Mapping[str, Chunks]) -> dict[str, Chunks]:
    """One ONNX Runtime session, one thread, one run per chunk. Raises EvaluationError where the runtime refuses."""
    if not segment.outputs:
        return {}
    nodes = _nodes(segment, draft)
    constants = dict.fromkeys(name for node in nodes for name in _read(node) if name in draft.arrays)
    graph = onnx.helper.make_graph(
        nodes,
        "segment",
        [_value(name, draft.analysis.element_types) for name in segment.inputs],
        [_value(name, draft.analysis.element_types) for name in segment.outputs],
        [numpy_helper.from_array(draft.arrays[name], name) for name in constants],
    )
    base = draft.analysis.model
    model = onnx.ModelProto(ir_version=min(base.ir_version, 10), opset_import=base.opset_import, graph=graph)
    model.functions.extend(base.functions)
    try:
        session = open_session(model.SerializeToString())
        runs = [
            session.run(segment.outputs, dict(zip(segment.inputs, chunk, strict=True)))
            for chunk in _by_chunk([live[name] for name in segment.inputs])
        ]
    except ORT_ERRORS as error:
        first = nodes[0].name
        reason = " ".join(str(error).split())
        raise EvaluationError(f"the model cannot be run from node '{first}' on: {reason}") from error
    return {name: [run[position] for run in runs] for position, name in enumerate(segment.outputs)}


def _nodes(segment: Segment, draft: Draft) -> list[onnx.NodeProto]:
    return [draft.nodes[number] for number in range(segment.start, segment.stop) if number not in draft.gone]


def _by_chunk(tensors: Sequence[Chunks]) -> list[tuple[NDArray[np.generic], ...]]:
    return list(zip(*tensors, strict=True)) if tensors else [()]


def _read(node: onnx.NodeProto) -> list[str]:
    return [name for name in (*node.input, *sorted(captured_names(node))) if name]


def _value(name: str, element_types: Mapping[str, int]) -> onnx.ValueInfoProto:
    return onnx.helper.make_tensor_value_info(name, element_types.get(name, onnx.TensorProto.FLOAT), None)
