"""Resize, over any axes: by TFLite's operators where they take the same values, else axis by axis."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
from ai_edge_litert import schema_py_generated as schema
from edgepareto.host.export.tflite.conversion import Conversion
from edgepareto.host.export.tflite.operators.builtin import chosen, integers, mixed
from edgepareto.host.export.tflite.operators.sampling import (
    POSITIONS,
    ROUNDINGS,
    Sampling,
    lite_nearest,
    lite_positions,
)
from edgepareto.host.export.tflite.placement import channels_last
from edgepareto.host.export.tflite.registry import converts
from edgepareto.host.export.tflite.unsupported import Unsupported
from edgepareto.host.pruning.normal_form import float_attribute, int_attribute, ints_attribute, text_attribute

__all__ = ["resize"]

SAME_POSITION = 1e-5  # pixels


@converts("Resize", "Upsample")
def resize(c: Conversion, node: onnx.NodeProto) -> None:
    mode = text_attribute(node, "mode", "nearest")
    axes = _samplings(c, node)
    options = None
    if mode == "nearest":
        default = "round_prefer_floor" if c.opset >= 11 else "simple"
        rounding = text_attribute(node, "nearest_mode", default)
        if rounding not in ROUNDINGS:
            raise Unsupported(f"Resize of nearest mode {rounding}")
        options = _nearest_options(axes, rounding)
    elif mode == "linear":
        options = _linear_options(axes)
    elif mode != "cubic":
        raise Unsupported(f"Resize of mode {mode}")
    if mode != "nearest" and c.dtype(node.input[0]) != "float32":
        raise Unsupported(f"Resize of mode {mode} of {c.dtype(node.input[0])}")
    rank = len(c.shape(node.input[0]))
    if options is not None and rank == 4 and set(axes) <= {2, 3}:
        after = c.shape(node.output[0])
        code = "RESIZE_NEAREST_NEIGHBOR" if mode == "nearest" else "RESIZE_BILINEAR"
        inputs = [c.channels_last(node.input[0]), integers(c, after[2:], "size")]
        stored = c.stored(node.output[0], channels_last(4))
        made = c.compute(code, inputs, stored, c.dtype(node.output[0]), options, version=3)
        c.give_channels_last(node.output[0], made)
        return
    x = c.placed(node.input[0])
    made = x.tensor
    for axis, sampling in axes.items():
        place = x.order.index(axis)
        if mode == "nearest":
            made = chosen(c, made, sampling.nearest(rounding), place)
        elif mode == "linear":
            made = mixed(c, made, sampling.linear(), place, f"{node.output[0]}_axis{axis}")
        else:
            a, inside_only = float_attribute(node, "cubic_coeff_a", -0.75), int_attribute(node, "exclude_outside", 0)
            weights = sampling.cubic(a, inside_only=inside_only == 1)
            made = mixed(c, made, weights, place, f"{node.output[0]}_axis{axis}")
    c.give(node.output[0], made, x.order)


def _samplings(c: Conversion, node: onnx.NodeProto) -> dict[int, Sampling]:
    """Of each axis that is resized."""
    before, after = c.shape(node.input[0]), c.shape(node.output[0])
    old = node.op_type == "Upsample" or c.opset < 11
    where = text_attribute(node, "coordinate_transformation_mode", "asymmetric" if old else "half_pixel")
    if where not in POSITIONS:
        raise Unsupported(f"Resize of coordinates {where}")
    if int_attribute(node, "antialias", 0):
        raise Unsupported("Resize with antialias")
    if text_attribute(node, "keep_aspect_ratio_policy", "stretch") != "stretch":
        raise Unsupported("Resize that keeps the aspect ratio")
    scales = _scales(c, node, old=old)
    axes = [axis % len(before) for axis in ints_attribute(node, "axes") or range(len(before))]
    given = dict(zip(axes, scales, strict=True)) if scales else {}
    return {
        axis: Sampling(old=size, new=new, scale=given.get(axis, new / size), where=where)
        for axis, (size, new) in enumerate(zip(before, after, strict=True))
        if new != size or given.get(axis, 1) != 1
    }


def _scales(c: Conversion, node: onnx.NodeProto, *, old: bool) -> list[float]:
    """Empty where sizes are given instead."""
    attribute = next((list(a.floats) for a in node.attribute if a.name == "scales"), None)
    if attribute is not None:
        return attribute
    place = 1 if old else 2
    if len(node.input) <= place or not node.input[place]:
        return []
    return [float(scale) for scale in c.need_constant(node, place, "scale")]


def _nearest_options(axes: Mapping[int, Sampling], rounding: str) -> schema.ResizeNearestNeighborOptionsT | None:
    for half_pixel in (False, True):
        if all(
            np.array_equal(axis.nearest(rounding), lite_nearest(axis.old, axis.new, half_pixel=half_pixel))
            for axis in axes.values()
        ):
            options = schema.ResizeNearestNeighborOptionsT()
            options.halfPixelCenters = half_pixel
            return options
    return None


def _linear_options(axes: Mapping[int, Sampling]) -> schema.ResizeBilinearOptionsT | None:
    for half_pixel, align_corners in ((False, False), (True, False), (False, True)):
        if all(
            np.abs(
                axis.positions().clip(0, axis.old - 1)
                - lite_positions(axis.old, axis.new, half_pixel=half_pixel, align_corners=align_corners)
            ).max()
            <= SAME_POSITION
            for axis in axes.values()
        ):
            options = schema.ResizeBilinearOptionsT()
            options.halfPixelCenters, options.alignCorners = half_pixel, align_corners
            return options
    return None
