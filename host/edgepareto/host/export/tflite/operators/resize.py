"""Resize of images."""

from __future__ import annotations

import numpy as np
import onnx
from ai_edge_litert import schema_py_generated as schema
from edgepareto.host.export.tflite.conversion import Conversion
from edgepareto.host.export.tflite.placement import channels_last
from edgepareto.host.export.tflite.registry import converts
from edgepareto.host.export.tflite.unsupported import Unsupported
from edgepareto.host.pruning.normal_form import text_attribute

__all__ = ["resize"]


@converts("Resize", "Upsample")
def resize(c: Conversion, node: onnx.NodeProto) -> None:
    """TFLite samples at half pixels, at aligned corners, or at i * in / out: ONNX's asymmetric."""
    before, after = c.shape(node.input[0]), c.shape(node.output[0])
    if len(before) != 4 or before[:2] != after[:2]:
        raise Unsupported(f"Resize from {before} to {after}: only height and width of an image are possible")
    old = node.op_type == "Upsample" or c.opset < 11
    mode = text_attribute(node, "mode", "nearest")
    where = text_attribute(node, "coordinate_transformation_mode", "asymmetric" if old else "half_pixel")
    whole = all(new % size == 0 for size, new in zip(before[2:], after[2:], strict=True))
    if mode == "nearest":
        rounding = "floor" if old else text_attribute(node, "nearest_mode", "round_prefer_floor")
        options = schema.ResizeNearestNeighborOptionsT()
        twice = whole and all(new <= 2 * size for size, new in zip(before[2:], after[2:], strict=True))
        if where == "asymmetric" and (rounding == "floor" or (rounding == "round_prefer_floor" and twice)):
            pass
        elif where == "tf_half_pixel_for_nn" and rounding == "floor":
            options.halfPixelCenters = True
        elif where in ("half_pixel", "pytorch_half_pixel") and whole:
            options.halfPixelCenters = True  # the rounding cannot matter: by whole factors no sample lies between two
        else:
            raise Unsupported(f"Resize of mode nearest, {where}, {rounding}")
        code = "RESIZE_NEAREST_NEIGHBOR"
    elif mode == "linear":
        options = schema.ResizeBilinearOptionsT()
        if where in ("half_pixel", "pytorch_half_pixel") and min(after[2:]) > 1:
            options.halfPixelCenters = True
        elif where == "align_corners":
            options.alignCorners = True
        elif where != "asymmetric":
            raise Unsupported(f"Resize of mode linear, {where}")
        code = "RESIZE_BILINEAR"
    else:
        raise Unsupported(f"Resize of mode {mode}")
    size = c.flat.constant(np.array(after[2:], np.int32), "size")
    order = channels_last(4)
    made = c.compute(
        code, [c.channels_last(node.input[0]), size], [after[axis] for axis in order], "float32", options, version=3
    )
    c.give(node.output[0], made, order)
