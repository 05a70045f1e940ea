"""LSTM, GRU and RNN: a hidden unit is one index of every gate, of the state and of what the node puts out.

Both directions of a bidirectional node lose equally many units, each its own (operators/both_directions).
"""

from __future__ import annotations

import numpy as np
from edgepareto.host.pruning.channel_labels import Labels
from edgepareto.host.pruning.cuts import AttributeCount
from edgepareto.host.pruning.graph_walk import Directions, GraphWalk, Untracked
from edgepareto.host.pruning.layer import Layer, LayerKind
from edgepareto.host.pruning.normal_form.attributes import int_attribute
from onnx import NodeProto

__all__ = ["RULES"]

INPUT_WEIGHT, STATE_WEIGHT, BIAS, PEEPHOLES = 1, 2, 3, 7  # inputs of the node; RNN and GRU have no peepholes
INITIAL_STATES = (5, 6)  # and GRU and RNN only the first


def recurrent(node: NodeProto, walk: GraphWalk) -> None:
    """W: (directions, gates x units, inputs), R: the same with units for inputs, B: (directions, 2 gates x units)."""
    weights = [name for position, name in enumerate(node.input) if position in _WEIGHTS and name]
    arrays = [walk.constant(name) for name in weights]
    shapes = [array.shape for array in arrays if array is not None]
    if len(shapes) < len(weights):
        raise Untracked("computes its weights at run time")
    if int_attribute(node, "layout", 0):
        raise Untracked("stores the batch first (layout 1), which ONNX Runtime cannot run")
    directions, _, units = shapes[1]
    data = node.input[0]
    steps, batch, channels = walk.labels(data)
    walk.table.freeze_all((steps, batch), f"is read step by step by '{node.name}' ({node.op_type})")
    if channels is not None:
        walk.cut(node.input[INPUT_WEIGHT], 2, channels)
    made = walk.table.fresh(directions * units).reshape(directions, units)
    if directions > 1:
        walk.table.balance(made)
    for name, shape in zip(weights, shapes, strict=True):
        _cut(walk, name, 1, np.tile(made, shape[1] // units))
    _cut(walk, node.input[STATE_WEIGHT], 2, made)
    if any(attribute.name == "hidden_size" for attribute in node.attribute):
        walk.counts.append(AttributeCount(node=walk.node, attribute="hidden_size", position=None, labels=made[0]))
    for position in INITIAL_STATES:
        if position < len(node.input) and node.input[position]:
            _start_from(node.input[position], made, walk)
    _add_layers(node, walk, channels, made.reshape(-1), directions)
    for name, rank in zip(node.output, (4, 3, 3), strict=False):  # every step's state; the last one; the last cell's
        if name and directions == 1:
            walk.set_labels(name, (*[None] * (rank - 1), made[0]))
        elif name:
            walk.set_directions(name, Directions(rank=rank, direction_axis=rank - 3, unit_axis=rank - 1, labels=made))


def _cut(walk: GraphWalk, name: str, axis: int, labels: Labels) -> None:
    """labels: (directions, n)."""
    if len(labels) == 1:
        walk.cut(name, axis, labels[0])
    else:
        walk.cut_blocks(name, axis, labels)


def _start_from(state: str, made: Labels, walk: GraphWalk) -> None:
    """A state (directions, batch, units): a constant is cut, another node's is as wide as this one."""
    if walk.constant(state) is not None:
        _cut(walk, state, 2, made)
        return
    both = walk.directions(state)
    given = both.labels if both is not None and both.unit_axis == 2 else walk.labels(state)[2]
    if given is None:
        what = f"the model's input '{state}', a state" if walk.is_input(state) else f"'{state}', a state made elsewhere"
        walk.table.freeze(made.reshape(-1), f"starts from {what} whose width must stay")
        return
    for row, labels in zip(made, np.broadcast_to(given, made.shape), strict=True):
        walk.table.join(row, labels)


def _add_layers(node: NodeProto, walk: GraphWalk, channels: Labels | None, units: Labels, directions: int) -> None:
    length = walk.shape(node.input[0])[0]
    steps = length if isinstance(length, int) else 1
    weights = (
        (LayerKind.GATES, INPUT_WEIGHT, channels, 1),
        (LayerKind.MEMORY, STATE_WEIGHT, units, directions),
    )
    for kind, position, inputs, groups in weights:
        weight = node.input[position]
        layer = Layer(
            name=node.name,
            node=walk.node,
            kind=kind,
            data=node.input[0],
            output=node.output[0],
            weight=weight,
            bias=None,
            can_add_bias=False,
            inputs=inputs,
            outputs=units,
            input_axis=2,
            output_axis=1,
            positions=steps,
            groups=groups,
            tied=len(walk.readers(weight)) > 1,
        )
        walk.layers.append(layer)
    walk.owners.append((units, node.name))


_WEIGHTS = (INPUT_WEIGHT, STATE_WEIGHT, BIAS, PEEPHOLES)
RULES = dict.fromkeys(("GRU", "LSTM", "RNN"), recurrent)
