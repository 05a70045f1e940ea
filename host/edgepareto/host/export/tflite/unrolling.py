"""Loops, which the writer lacks, written out step by step where the number of steps does not depend on an input."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx
from edgepareto.host.pruning.inference import ORT_ERRORS, open_session
from edgepareto.host.pruning.normal_form import default_opset, normalise
from onnx import helper, numpy_helper

__all__ = ["LONGEST_UNROLLED", "unroll_loops"]

LONGEST_UNROLLED = 256  # steps; beyond, a file of thousands of operators would be slower than useful
AXES_ARE_AN_INPUT = 13  # of Unsqueeze, since this opset


def unroll_loops(model: onnx.ModelProto) -> onnx.ModelProto:
    """model: in normal form, which the returned one is in as well. What cannot be unrolled stays as it is."""
    for node in model.graph.node:
        steps = _steps(model, node) if node.op_type == "Loop" else None
        if steps is not None:
            return unroll_loops(normalise(_Unrolled(model, node, steps).model))
    return model


class _Unrolled:
    """The model with one of its loops written out. goes_on: after each step, the name of what says whether it does."""

    def __init__(self, model: onnx.ModelProto, loop: onnx.NodeProto, steps: int) -> None:
        self.model = onnx.ModelProto()
        self.model.CopyFrom(model)
        graph = self.model.graph
        self._loop, self._opset = loop, default_opset(model)
        self._body = next(attribute.g for attribute in loop.attribute if attribute.name == "body")
        self.goes_on: list[str] = []
        written = list(self._written_out(steps))
        nodes = [node for old in model.graph.node for node in (written if old.output == loop.output else [old])]
        del graph.node[:]
        graph.node.extend(nodes)

    def _written_out(self, steps: int) -> Iterator[onnx.NodeProto]:
        loop, body = self._loop, self._body
        condition = loop.input[1] or self._constant("begins", np.array(True))
        states = list(loop.input[2:])
        shared = {
            tensor.name: self._constant(tensor.name, numpy_helper.to_array(tensor)) for tensor in body.initializer
        }
        rows: list[list[str]] = [[] for _ in body.output[1 + len(states) :]]
        for step in range(steps):
            number = self._constant(f"{step}/number", np.array(step, np.int64))
            values = [number, condition, *states]
            names = {**shared, **dict(zip((value.name for value in body.input), values, strict=True))}
            for node in body.node:
                copy = onnx.NodeProto()
                copy.CopyFrom(node)
                names.update({name: self._name(f"{step}/{name}") for name in node.output if name})
                copy.name = self._name(f"{step}/{node.name}")
                copy.input[:] = [names.get(name, name) for name in node.input]
                copy.output[:] = [names.get(name, name) for name in node.output]
                yield copy
            condition, *rest = (names.get(value.name, value.name) for value in body.output)
            self.goes_on.append(condition)
            states = rest[: len(states)]
            for row, made in zip(rows, rest[len(states) :], strict=True):
                row.append(self._name(f"{step}/row/{made}"))
                yield self._raised(made, row[-1])
        for name, state in zip(loop.output, states, strict=False):
            if name:
                yield helper.make_node("Identity", [state], [name])
        for name, row in zip(loop.output[len(states) :], rows, strict=True):
            if name:
                yield helper.make_node("Concat", row, [name], axis=0)

    def _raised(self, name: str, row: str) -> onnx.NodeProto:
        if self._opset < AXES_ARE_AN_INPUT:
            return helper.make_node("Unsqueeze", [name], [row], axes=[0])
        return helper.make_node("Unsqueeze", [name, self._constant(f"{row}/axes", np.array([0]))], [row])

    def _constant(self, name: str, value: np.ndarray) -> str:
        self.model.graph.initializer.append(numpy_helper.from_array(value, self._name(name)))
        return self._name(name)

    def _name(self, name: str) -> str:
        return f"{next(filter(None, self._loop.output))}/{name}"


def _steps(model: onnx.ModelProto, loop: onnx.NodeProto) -> int | None:
    """None: it depends on an input, is too large or zero, or the body holds graphs of its own."""
    body = next(attribute.g for attribute in loop.attribute if attribute.name == "body")
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    if any(attribute.type == onnx.AttributeProto.GRAPH for node in body.node for attribute in node.attribute):
        return None
    limit, begins = loop.input[0], loop.input[1]
    if (limit and limit not in constants) or (begins and not constants.get(begins, np.array(False)).all()):
        return None
    most = int(constants[limit].item()) if limit else LONGEST_UNROLLED + 1
    tried = _Unrolled(model, loop, min(most, LONGEST_UNROLLED))
    ends = [not goes_on for goes_on in _computed(tried.model, tried.goes_on) or []]
    if not ends:
        return None
    if True in ends:
        return ends.index(True) + 1
    return most if most <= LONGEST_UNROLLED else None


def _computed(model: onnx.ModelProto, names: list[str]) -> list[bool] | None:
    """Of truths that depend on no input; None where one does."""
    wanted, needed = set(names), []
    for node in reversed(model.graph.node):
        if not wanted.isdisjoint(node.output):
            needed.append(node)
            wanted.update(node.input)
    if wanted & {value.name for value in model.graph.input}:
        return None
    given = [tensor for tensor in model.graph.initializer if tensor.name in wanted]
    ends = [helper.make_tensor_value_info(f"{place}", onnx.TensorProto.BOOL, None) for place in range(len(names))]
    copies = [helper.make_node("Identity", [name], [end.name]) for name, end in zip(names, ends, strict=True)]
    graph = helper.make_graph([*reversed(needed), *copies], "conditions", [], ends, given)
    try:
        session = open_session(
            helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version).SerializeToString()
        )
        return [bool(value.all()) for value in session.run(None, {})]
    except ORT_ERRORS:
        return None
