"""One form for every exporter's graph, so that the rooms behind it see constants, shapes and owners plainly.

After `normalise`: what can be computed without an input is an initializer, no initializer is an input or has two
consumers, no Identity, no dead node, every node has a name of its own, and no intermediate shape that could be stale.
Names, order and shapes of inputs and outputs, the metadata and the opset stay.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

import numpy as np
import onnx
from edgepareto.host.errors import ModelError
from edgepareto.host.pruning.shape_chains import resolve_shape_chains
from numpy.typing import NDArray
from onnx import numpy_helper

__all__ = ["captured_names", "default_opset", "normalise", "subgraphs"]

LOWEST_OPSET = 7  # broadcasting is numpy's from here on
LOWEST_IR = 8  # before 4, an initializer has to be an input and shape inference takes it for unknown
# Folding these would freeze a random draw, or undo a quantisation that a runtime relies on.
NOT_FOLDED = {
    "RandomNormal", "RandomUniform", "RandomNormalLike", "RandomUniformLike", "Bernoulli", "Multinomial",
    "QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear",
}  # fmt: skip


def normalise(model: onnx.ModelProto) -> onnx.ModelProto:
    """A normalised copy; the argument stays as it is. Raises ModelError for a model that is broken."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    _check(copy)
    copy.ir_version = max(copy.ir_version, LOWEST_IR)
    graph = copy.graph
    del graph.value_info[:]
    constants = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in constants]
    del graph.input[:]
    graph.input.extend(inputs)
    _lift_constants(graph)
    _remove_identities(graph)
    resolve_shape_chains(copy)
    _fold(copy)
    _remove_dead(graph)
    _clone_shared(graph)
    _name_nodes(graph)
    return copy


def default_opset(model: onnx.ModelProto) -> int:
    return next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), 0)


def subgraphs(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    for attribute in node.attribute:
        if attribute.type == onnx.AttributeProto.GRAPH:
            yield attribute.g
        yield from attribute.graphs


def captured_names(node: onnx.NodeProto) -> set[str]:
    """Tensors of the outer graph that a node's bodies (If, Loop, Scan) read without naming them as inputs."""
    names: set[str] = set()
    for graph in subgraphs(node):
        own = {value.name for value in graph.input} | {tensor.name for tensor in graph.initializer}
        read = {value.name for value in graph.output}
        for inner in graph.node:
            read.update(inner.input)
            read.update(captured_names(inner))
            own.update(inner.output)
        names |= read - own - {""}
    return names


def _check(model: onnx.ModelProto) -> None:
    # Runtimes take an output without a shape, the checker does not; it need not stop a user.
    shapeless = [value.type.tensor_type for value in model.graph.output if not value.type.tensor_type.HasField("shape")]
    for tensor_type in shapeless:
        tensor_type.shape.SetInParent()
    try:
        onnx.checker.check_model(model)
    except (onnx.checker.ValidationError, ValueError) as error:
        first_line = str(error).strip().splitlines()[0]
        raise ModelError(f"the model is not valid ONNX: {first_line}; export it again") from error
    for tensor_type in shapeless:
        tensor_type.ClearField("shape")
    opset = default_opset(model)
    if opset < LOWEST_OPSET:
        raise ModelError(
            f"the model has opset {opset}, at least {LOWEST_OPSET} is needed; raise it with onnx.version_converter"
        )


def _lift_constants(graph: onnx.GraphProto) -> None:
    rest = []
    for node in graph.node:
        value = _constant_value(node) if node.op_type == "Constant" else None
        if value is None:
            rest.append(node)
        else:
            graph.initializer.append(numpy_helper.from_array(value, node.output[0]))
    kept = [_copy(node) for node in rest]
    del graph.node[:]
    graph.node.extend(kept)


def _constant_value(node: onnx.NodeProto) -> NDArray[np.generic] | None:
    attribute = node.attribute[0]
    if attribute.name == "value":
        return numpy_helper.to_array(attribute.t)
    if attribute.name in ("value_float", "value_floats"):
        return np.array(onnx.helper.get_attribute_value(attribute), dtype=np.float32)
    if attribute.name in ("value_int", "value_ints"):
        return np.array(onnx.helper.get_attribute_value(attribute), dtype=np.int64)
    return None  # strings and sparse tensors stay nodes


def _remove_identities(graph: onnx.GraphProto) -> None:
    outputs = {value.name for value in graph.output}
    captured = set().union(*(captured_names(node) for node in graph.node)) if graph.node else set()
    fixed = {value.name for value in graph.input} | {tensor.name for tensor in graph.initializer} | captured
    renamed: dict[str, str] = {}
    kept: list[onnx.NodeProto] = []
    for node in graph.node:
        for position, name in enumerate(node.input):
            node.input[position] = renamed.get(name, name)
        if node.op_type != "Identity" or node.domain not in ("", "ai.onnx"):
            kept.append(node)
            continue
        source, target = node.input[0], node.output[0]
        if target in captured or (target in outputs and (source in fixed or source in outputs)):
            kept.append(node)
        elif target in outputs:
            for other in kept:  # the producer takes the output's name over
                _rename(other, source, target)
            renamed[source] = target
        else:
            renamed[target] = source
    nodes = [_copy(node) for node in kept]
    del graph.node[:]
    graph.node.extend(nodes)


def _rename(node: onnx.NodeProto, old: str, new: str) -> None:
    for names in (node.input, node.output):
        for position, name in enumerate(names):
            if name == old:
                names[position] = new


def _fold(model: onnx.ModelProto) -> None:
    """Compute, once and with ONNX Runtime, every node that depends on constants only."""
    graph = model.graph
    known = {tensor.name for tensor in graph.initializer}
    outputs = {value.name for value in graph.output}
    folded: list[onnx.NodeProto] = []
    rest: list[onnx.NodeProto] = []
    for node in graph.node:
        foldable = node.op_type not in NOT_FOLDED and node.domain in ("", "ai.onnx") and not any(subgraphs(node))
        constant = all(name == "" or name in known for name in node.input)
        if foldable and constant and not outputs.intersection(node.output):
            folded.append(_copy(node))
            known.update(node.output)
        else:
            rest.append(_copy(node))
    if not folded:
        return
    read = {name for node in rest for name in (*node.input, *captured_names(node))}
    wanted = [name for node in folded for name in node.output if name in read]
    for name, value in zip(wanted, _compute(model, folded, wanted), strict=True):
        graph.initializer.append(numpy_helper.from_array(value, name))
    del graph.node[:]
    graph.node.extend(rest)


def _compute(model: onnx.ModelProto, nodes: list[onnx.NodeProto], wanted: list[str]) -> list[NDArray[np.generic]]:
    import onnxruntime

    read = {name for node in nodes for name in node.input}
    part = onnx.helper.make_graph(
        nodes,
        "constants",
        [],
        [onnx.ValueInfoProto(name=name) for name in wanted],
        [tensor for tensor in model.graph.initializer if tensor.name in read],
    )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    whole = onnx.helper.make_model(part, opset_imports=model.opset_import, ir_version=min(model.ir_version, 10))
    try:
        session = onnxruntime.InferenceSession(whole.SerializeToString(), options, providers=["CPUExecutionProvider"])
        return [np.asarray(value) for value in session.run(wanted, {})]
    except onnxruntime.capi.onnxruntime_pybind11_state.OrtException as error:
        raise ModelError(f"the model's constants cannot be computed: {error}") from error


def _remove_dead(graph: onnx.GraphProto) -> None:
    needed = {value.name for value in graph.output}
    alive = []
    for node in reversed(graph.node):
        if needed.intersection(node.output):
            needed.update(node.input)
            needed |= captured_names(node)
            alive.append(_copy(node))
    del graph.node[:]
    graph.node.extend(reversed(alive))
    for position in reversed(range(len(graph.initializer))):
        if graph.initializer[position].name not in needed:
            del graph.initializer[position]


def _clone_shared(graph: onnx.GraphProto) -> None:
    """Exporters store equal tensors once; cutting one for one consumer would corrupt the others."""
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    taken = set(tensors) | {name for node in graph.node for name in (*node.input, *node.output)}
    uses = Counter(value.name for value in graph.output)
    for node in graph.node:
        uses.update(captured_names(node))
    for node in graph.node:
        for position, name in enumerate(node.input):
            if name not in tensors:
                continue
            uses[name] += 1
            if uses[name] == 1:
                continue
            clone = _copy_tensor(tensors[name])
            clone.name = _unused(f"{name}/{uses[name]}", taken)
            taken.add(clone.name)
            graph.initializer.append(clone)
            node.input[position] = clone.name


def _name_nodes(graph: onnx.GraphProto) -> None:
    taken: set[str] = set()
    for node in graph.node:
        node.name = _unused(node.name or node.output[0], taken)
        taken.add(node.name)


def _unused(name: str, taken: Iterable[str]) -> str:
    candidate, number = name, 1
    while candidate in taken:
        number += 1
        candidate = f"{name}#{number}"
    return candidate


def _copy(node: onnx.NodeProto) -> onnx.NodeProto:
    copy = onnx.NodeProto()
    copy.CopyFrom(node)
    return copy


def _copy_tensor(tensor: onnx.TensorProto) -> onnx.TensorProto:
    copy = onnx.TensorProto()
    copy.CopyFrom(tensor)
    return copy
