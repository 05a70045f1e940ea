"""Between a draft and the mathematics of `recovery`: a layer's arrays as matrices, and back."""

from __future__ import annotations

import numpy as np
import onnx
from edgepareto.host.errors import EvaluationError
from edgepareto.host.pruning.layer import Layer, LayerKind
from edgepareto.host.pruning.repair.clamp import Clamp
from edgepareto.host.pruning.repair.recovery import Repair, fit_groups, fit_rows, match_moments
from edgepareto.host.pruning.slice_model import Draft
from numpy.typing import NDArray

__all__ = ["apply_layer", "repair_layer", "weight_rows"]

Array = NDArray[np.float32]


def weight_rows(weight: NDArray[np.generic], layer: Layer) -> Array:
    """(outputs, channels, taps) of a convolution or a linear layer; grouped: the channels of one group."""
    rows = np.asarray(weight, dtype=np.float32)
    if layer.kind in (LayerKind.GATES, LayerKind.MEMORY):
        return rows.reshape(-1, rows.shape[2], 1)
    rows = rows.reshape(rows.shape[0], rows.shape[1], -1)
    return rows if layer.output_axis == 0 else _swapped(rows, layer)


def _swapped(rows: Array, layer: Layer) -> Array:
    """(outputs, channels of a group, taps) from (channels, outputs of a group, taps), and back."""
    groups = 1
    if layer.kind is LayerKind.GROUPED:
        groups = layer.groups if layer.input_axis is not None else len(rows)
    taps = rows.shape[2]
    swapped: Array = rows.reshape(groups, -1, rows.shape[1], taps).swapaxes(1, 2).reshape(-1, len(rows) // groups, taps)
    return swapped


def apply_layer(inputs: Array, rows: Array, bias: Array | None, layer: Layer) -> Array:
    """(rows, outputs): what the layer puts out for inputs as PatchSampler gathers them."""
    if layer.kind is LayerKind.GROUPED:
        of_groups, weights = _by_group(inputs, rows)
        outputs = np.matmul(of_groups, weights.transpose(0, 2, 1)).transpose(1, 0, 2).reshape(inputs.shape[1], -1)
    else:
        outputs = inputs.reshape(len(inputs), -1) @ rows.reshape(len(rows), -1).T
    return np.asarray(outputs if bias is None else outputs + bias, dtype=np.float32)


def repair_layer(
    draft: Draft, layer: Layer, inputs: Array, targets: Array, recovery: str, clamp: Clamp | None, added: Array | None
) -> None:
    """Replace the layer's weight and bias in the draft. inputs: gathered, used up; targets: of the kept outputs.

    added: what the candidate adds to the outputs before they are compared with the targets, behind the clamp.
    Raises EvaluationError where the numbers leave the range of floats.
    """
    weight = draft.arrays[layer.weight]
    rows = weight_rows(weight, layer)
    has_bias = layer.bias is not None or layer.can_add_bias
    bias = draft.arrays[layer.bias].reshape(-1).astype(np.float32) if layer.bias is not None else None
    own = bias if layer.bias is not None else np.zeros(len(rows), dtype=np.float32)
    assert own is not None
    with np.errstate(over="ignore", invalid="ignore"):  # the result is looked at below
        own_targets = targets if added is None else targets - added
        if recovery == "moment":
            outputs = apply_layer(inputs, rows, own, layer)
            repaired = match_moments(outputs, own_targets, rows, own) if has_bias else (rows, own)
        elif layer.kind is LayerKind.GROUPED:
            repaired = fit_groups(*_by_group(inputs, rows), own_targets)
        else:
            flat = rows.reshape(len(rows), -1)
            repaired = fit_rows(
                inputs.reshape(len(inputs), -1), targets, flat, own if has_bias else None, clamp=clamp, added=added
            )
    if not all(np.isfinite(part).all() for part in repaired):
        raise EvaluationError(
            f"layer '{layer.name}' cannot be repaired: its activations are not finite; check the data"
        )
    _write(draft, layer, repaired, has_bias)


def _by_group(inputs: Array, rows: Array) -> tuple[Array, Array]:
    """(groups, rows, unknowns) and (groups, outputs of a group, unknowns), from (channels, rows, taps) and weights."""
    channels, count, taps = inputs.shape
    of_group = rows.shape[1]
    groups, unknowns = channels // of_group, of_group * taps
    if of_group > 1:
        inputs = inputs.reshape(groups, of_group, count, taps).transpose(0, 2, 1, 3)
    return inputs.reshape(groups, count, unknowns), rows.reshape(groups, -1, unknowns)


def _write(draft: Draft, layer: Layer, repaired: Repair, has_bias: bool) -> None:
    rows, bias = repaired
    old = draft.arrays[layer.weight]
    if layer.output_axis == 1:
        rows = _swapped(rows.reshape(weight_rows(old, layer).shape), layer)
    draft.arrays[layer.weight] = rows.reshape(old.shape).astype(old.dtype)
    draft.changed.add(layer.weight)
    if not has_bias:
        return
    name = layer.bias
    if name is None:
        name = _added_bias(draft, layer)
    shape = draft.arrays[name].shape if name in draft.arrays else (len(bias),)
    draft.arrays[name] = bias.reshape(shape).astype(old.dtype)
    draft.changed.add(name)


def _added_bias(draft: Draft, layer: Layer) -> str:
    """Give the node a third input. The name is free: base names of initializers are unique and end otherwise."""
    name = f"{layer.weight}/bias"
    while name in draft.arrays:
        name += "_"
    node = onnx.NodeProto()
    node.CopyFrom(draft.nodes[layer.node])
    del node.input[2:]
    node.input.append(name)
    draft.nodes[layer.node] = node
    return name
