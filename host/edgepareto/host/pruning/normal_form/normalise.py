"""One form for every exporter's graph, so that the rooms behind it see constants, shapes and owners plainly.

After `normalise`: what can be computed without an input is an initializer, no initializer is an input, none has two
readers but a weight that layers share (see shared_tensors), no local function, no Identity, no If that always takes the
same branch, no dead node, no Split without sizes, every node has a name of its own, and no intermediate shape that
could be stale. Names, order and shapes of inputs and outputs, the metadata and the opset stay.
"""

from __future__ import annotations

from collections.abc import Iterable

import onnx
import onnx.inliner
from edgepareto.host.errors import ModelError
from edgepareto.host.pruning.normal_form.constant_branches import inline_constant_branches
from edgepareto.host.pruning.normal_form.constant_folding import fold_constants, lift_constants
from edgepareto.host.pruning.normal_form.explicit_inputs import drop_zero_states, give_split_sizes, name_cast_types
from edgepareto.host.pruning.normal_form.graph_names import (
    DEFAULT_DOMAINS,
    captured_names,
    node_copy,
    reads,
    unused_name,
)
from edgepareto.host.pruning.normal_form.model_outline import outline
from edgepareto.host.pruning.normal_form.shape_chains import resolve_shape_chains
from edgepareto.host.pruning.normal_form.shared_tensors import clone_shared

__all__ = ["default_opset", "normalise", "remove_identities"]

LOWEST_OPSET = 7  # broadcasting is numpy's from here on
LOWEST_IR = 8  # before 4, an initializer has to be an input and shape inference takes it for unknown


def normalise(model: onnx.ModelProto) -> onnx.ModelProto:
    """A normalised copy; the argument stays as it is. Raises ModelError for a model that is broken."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    graph = copy.graph
    _sort(graph)
    _check(copy)
    copy.ir_version = max(copy.ir_version, LOWEST_IR)
    graph.name = graph.name or "graph"
    del graph.value_info[:]
    del copy.training_info[:]  # it trains weights of the old shapes
    constants = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in constants]
    del graph.input[:]
    graph.input.extend(inputs)
    if copy.functions:
        _inline_functions(copy)
    lift_constants(graph)
    remove_identities(graph)
    name_cast_types(copy)
    fold_constants(copy)
    while resolve_shape_chains(copy) or inline_constant_branches(graph):
        lift_constants(graph)
        remove_identities(graph)
        fold_constants(copy)
    drop_zero_states(graph)
    give_split_sizes(copy)
    _remove_dead(graph)
    clone_shared(graph)
    _name_nodes(graph)
    return copy


def default_opset(model: onnx.ModelProto) -> int:
    """0: the model uses no operator of ONNX itself."""
    return next((entry.version for entry in model.opset_import if entry.domain in DEFAULT_DOMAINS), 0)


def _sort(graph: onnx.GraphProto) -> None:
    """Runtimes take nodes in any order, the checker and the walk do not. Ready nodes keep their order."""
    needs = [reads(node) for node in graph.node]
    missing = {name for node in graph.node for name in node.output if name}
    waiting = list(range(len(needs)))
    order: list[int] = []
    while waiting:
        later: list[int] = []
        for number in waiting:
            if missing.isdisjoint(needs[number]):
                order.append(number)
                missing.difference_update(graph.node[number].output)
            else:
                later.append(number)
        if len(later) == len(waiting):
            node = graph.node[later[0]]
            raise ModelError(f"the model's node '{node.name or node.output[0]}' depends on itself; export it again")
        waiting = later
    if order != sorted(order):
        _set_nodes(graph, [node_copy(graph.node[number]) for number in order])


def _check(model: onnx.ModelProto) -> None:
    """Weights are checked one by one: a message over 2 GB cannot be checked, or even copied quickly, as a whole."""
    external = [tensor.name for tensor in model.graph.initializer if tensor.data_location == onnx.TensorProto.EXTERNAL]
    if external:
        raise ModelError(
            f"the values of '{external[0]}' lie in another file and are not loaded; read it with onnx.load"
        )
    light = outline(model)
    for value in light.graph.output:  # runtimes take an output without type or shape, the checker does not
        if value.type.WhichOneof("value") is None:
            value.type.tensor_type.elem_type = onnx.TensorProto.FLOAT
        if value.type.HasField("tensor_type") and not value.type.tensor_type.HasField("shape"):
            value.type.tensor_type.shape.SetInParent()
    try:
        onnx.checker.check_model(light)
        for tensor in model.graph.initializer:
            onnx.checker.check_tensor(tensor)
    except (onnx.checker.ValidationError, ValueError) as error:
        first_line = str(error).strip().splitlines()[0]
        raise ModelError(f"the model is not valid ONNX: {first_line}; export it again") from error
    opset = default_opset(model)
    if 0 < opset < LOWEST_OPSET:
        raise ModelError(
            f"the model has opset {opset}, at least {LOWEST_OPSET} is needed; raise it with onnx.version_converter"
        )


def _inline_functions(model: onnx.ModelProto) -> None:
    """Model-local functions become plain nodes, which the operators' rules know."""
    inlined = onnx.inliner.inline_local_functions(outline(model))
    _set_nodes(model.graph, [node_copy(node) for node in inlined.graph.node])
    del model.opset_import[:]
    model.opset_import.extend(inlined.opset_import)
    del model.functions[:]
    model.functions.extend(inlined.functions)


def remove_identities(graph: onnx.GraphProto, constants: Iterable[str] = ()) -> None:
    """Readers and outputs get the source itself where its name may change. constants: initializers that the graph is
    yet without."""
    outputs = {value.name for value in graph.output}
    captured = set().union(*(captured_names(node) for node in graph.node)) if graph.node else set()
    fixed = {value.name for value in graph.input} | {tensor.name for tensor in graph.initializer} | captured
    fixed |= {tensor.values.name for tensor in graph.sparse_initializer}
    fixed.update(constants)
    renamed: dict[str, str] = {}
    kept: list[onnx.NodeProto] = []
    for node in graph.node:
        for position, name in enumerate(node.input):
            node.input[position] = renamed.get(name, name)
        if node.op_type != "Identity" or node.domain not in DEFAULT_DOMAINS:
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
    _set_nodes(graph, [node_copy(node) for node in kept])


def _rename(node: onnx.NodeProto, old: str, new: str) -> None:
    for names in (node.input, node.output):
        for position, name in enumerate(names):
            if name == old:
                names[position] = new


def _remove_dead(graph: onnx.GraphProto) -> None:
    needed = {value.name for value in graph.output}
    alive = []
    for node in reversed(graph.node):
        if needed.intersection(node.output):
            needed |= reads(node)
            alive.append(node_copy(node))
    _set_nodes(graph, alive[::-1])
    for position in reversed(range(len(graph.initializer))):
        if graph.initializer[position].name not in needed:
            del graph.initializer[position]
    for position in reversed(range(len(graph.sparse_initializer))):
        if graph.sparse_initializer[position].values.name not in needed:
            del graph.sparse_initializer[position]
    made = {name for node in graph.node for name in node.output}.union(value.name for value in graph.input)
    for position in reversed(range(len(graph.quantization_annotation))):
        if graph.quantization_annotation[position].tensor_name not in made:
            del graph.quantization_annotation[position]


def _name_nodes(graph: onnx.GraphProto) -> None:
    taken: set[str] = set()
    for node in graph.node:
        made = next((name for name in node.output if name), node.op_type)
        node.name = unused_name(node.name or made, taken)
        taken.add(node.name)


def _set_nodes(graph: onnx.GraphProto, nodes: list[onnx.NodeProto]) -> None:
    del graph.node[:]
    graph.node.extend(nodes)
