"""Resize and Upsample, axis by axis: where each output lies among the inputs, then the nearest one or two of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from edgepareto.host.distil.node import Node, Tensor
from edgepareto.host.distil.operators.shape import numbers
from edgepareto.host.distil.registry import computes
from edgepareto.host.distil.unsupported import Unsupported
from numpy.typing import NDArray

__all__ = ["resize", "upsample"]

Places = NDArray[np.float32]  # as ONNX Runtime computes them: where they are whole numbers, rounding decides


@computes("Upsample")
def upsample(node: Node, inputs: Sequence[Tensor]) -> Tensor:
    scales = inputs[1].tolist() if len(inputs) > 1 else node.get("scales")
    sizes = [int(np.floor(size * scale)) for size, scale in zip(inputs[0].shape, scales, strict=True)]
    return _resized(node, inputs[0], range(inputs[0].dim()), sizes, scales, "asymmetric", "simple")


@computes("Resize")
def resize(node: Node, inputs: Sequence[Tensor]) -> Tensor:
    for name, known in (("antialias", 0), ("keep_aspect_ratio_policy", "stretch")):
        node.require(name, known)
    data = inputs[0]
    if len(inputs) == 2:  # opset 10
        inputs = (data, None, inputs[1])
    axes = [axis % data.dim() for axis in node.get("axes", range(data.dim()))]
    sizes = numbers(node, inputs, 3, "sizes")
    before = [data.shape[axis] for axis in axes]
    if sizes:
        scales = [after / size for after, size in zip(sizes, before, strict=True)]
    else:
        scales = inputs[2].tolist()
        sizes = [int(np.floor(size * scale)) for size, scale in zip(before, scales, strict=True)]
    # Opset 10 knew neither attribute, and placed and rounded as Upsample did.
    placing = node.get("coordinate_transformation_mode", "half_pixel" if node.opset > 10 else "asymmetric")
    rounding = node.get("nearest_mode", "round_prefer_floor" if node.opset > 10 else "simple")
    return _resized(node, data, axes, sizes, scales, placing, rounding)


def _resized(
    node: Node, data: Tensor, axes: Sequence[int], sizes: Sequence[int], scales: Sequence[float], placing: str,
    rounding: str,
) -> Tensor:  # fmt: skip
    mode = node.get("mode", "nearest")
    if mode not in ("nearest", "linear"):
        raise Unsupported(f"{node.op_type} with mode = {mode}")
    for axis, after, scale in zip(axes, sizes, scales, strict=True):
        before = data.shape[axis]
        if (before, scale) == (after, 1.0):
            continue
        places = _places(node, placing, before, after, scale)
        if mode == "nearest":
            data = data.index_select(axis, _taken(_rounded(node, places, rounding, scale), before))
            continue
        left = np.floor(places)
        share = torch.from_numpy(places - left)
        share = share.reshape(-1, *[1] * (data.dim() - axis - 1))
        first, second = (data.index_select(axis, _taken(place, before)) for place in (left, left + 1))
        data = first + share * (second - first)
    return data


def _places(node: Node, placing: str, before: int, after: int, scale: float) -> Places:
    """Of each of `after` outputs among `before` inputs."""
    own, half, by = np.arange(after, dtype=np.float32), np.float32(0.5), np.float32(scale)
    if placing == "asymmetric":
        places = own / by
    elif placing == "align_corners":
        places = own * np.float32(before - 1) / np.float32(max(1, after - 1))
    elif placing == "pytorch_half_pixel" and after == 1:
        places = own
    elif placing in ("half_pixel", "pytorch_half_pixel"):
        places = (own + half) / by - half
    elif placing == "tf_half_pixel_for_nn":
        places = (own + half) / by
    elif placing == "half_pixel_symmetric":
        places = np.float32(before / 2) * (1 - np.float32(after) / (by * np.float32(before))) + (own + half) / by - half
    else:
        raise Unsupported(f"{node.op_type} with coordinate_transformation_mode = {placing}")
    return np.asarray(places, np.float32)


def _rounded(node: Node, places: Places, rounding: str, scale: float) -> Places:
    if rounding == "simple":
        rounding = "ceil" if scale < 1 else "floor"
    if rounding == "round_prefer_floor":
        return np.asarray(np.ceil(places - np.float32(0.5)))
    if rounding == "round_prefer_ceil":
        return np.asarray(np.floor(places + np.float32(0.5)))
    if rounding == "floor":
        return np.asarray(np.floor(places))
    if rounding == "ceil":
        return np.asarray(np.ceil(places))
    raise Unsupported(f"{node.op_type} with nearest_mode = {rounding}")


def _taken(places: Places, before: int) -> Tensor:
    return torch.from_numpy(places.astype(np.int64).clip(0, before - 1))
