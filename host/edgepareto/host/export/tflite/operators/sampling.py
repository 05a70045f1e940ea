"""Where a resized axis takes its values from, as ONNX says it (operator Resize-19) and as TFLite's two operators do it.

In 32 bits as both runtimes: how a position at half a pixel is rounded decides which value is the nearest.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from edgepareto.host.export.tflite.conversion import Array

__all__ = ["POSITIONS", "ROUNDINGS", "Sampling", "lite_nearest", "lite_positions"]

POSITIONS = (
    "half_pixel", "pytorch_half_pixel", "half_pixel_symmetric", "align_corners", "asymmetric", "tf_half_pixel_for_nn",
)  # fmt: skip
ROUNDINGS = ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil", "simple")
ONE = np.float32(1)
HALF = np.float32(0.5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """One axis. scale: as the node gives it; with sizes that are rounded down it is not new / old."""

    old: int
    new: int
    scale: float
    where: str

    def positions(self) -> Array:
        """(new,), not clipped."""
        places: Array = np.arange(self.new, dtype=np.float32)
        scale = np.float32(self.scale)
        if self.where == "asymmetric":
            at: Array = places / scale
        elif self.where == "tf_half_pixel_for_nn":
            at = (places + HALF) / scale
        elif self.where == "align_corners":
            at = places * (np.float32(self.old - 1) / np.float32(max(self.new - 1, 1)))
        elif self.where == "pytorch_half_pixel" and self.new == 1:
            at = places
        else:
            at = (places + HALF) / scale - HALF
        if self.where == "half_pixel_symmetric":  # sizes that were rounded down leave as much out on either side
            at = at + np.float32(self.old) / 2 * (ONE - np.float32(self.new) / (scale * np.float32(self.old)))
        return at

    def nearest(self, rounding: str) -> Array:
        """(new,) places of the old axis. simple: of opset 10, down by ceil and up by floor."""
        at = self.positions()
        if rounding == "simple":
            rounding = "ceil" if self.scale < 1 else "floor"
        if rounding == "floor":
            found = np.floor(at)
        elif rounding == "ceil":
            found = np.ceil(at)
        elif rounding == "round_prefer_floor":
            found = np.ceil(at - HALF)
        else:
            found = np.floor(at + HALF)
        inside: Array = found.astype(np.int64).clip(0, self.old - 1)
        return inside

    def linear(self) -> Array:
        """(new, old): each new value's weights."""
        at = self.positions().clip(0, self.old - 1).astype(np.float64)
        low = np.floor(at)
        return self._weighed(low[:, None] + [0, 1], np.stack([1 - (at - low), at - low], axis=1))

    def cubic(self, a: float, *, inside_only: bool) -> Array:
        """(new, old), by four values (Keys 1981). inside_only: what lies outside has no weight, the rest has all."""
        at = self.positions().astype(np.float64)
        low = np.floor(at)
        away = np.abs((at - low)[:, None] - [-1, 0, 1, 2])
        weights = np.where(
            away <= 1,
            ((a + 2) * away - (a + 3)) * away**2 + 1,
            ((a * away - 5 * a) * away + 8 * a) * away - 4 * a,
        )
        places = low[:, None] + [-1, 0, 1, 2]
        if inside_only:
            weights = np.where((places >= 0) & (places < self.old), weights, 0)
            weights = weights / weights.sum(axis=1, keepdims=True)
        return self._weighed(places, weights)

    def _weighed(self, places: Array, weights: Array) -> Array:
        matrix = np.zeros((self.new, self.old))
        rows = np.broadcast_to(np.arange(self.new)[:, None], places.shape)
        np.add.at(matrix, (rows, places.astype(np.int64).clip(0, self.old - 1)), weights)
        return matrix.astype(np.float32)


def lite_nearest(old: int, new: int, *, half_pixel: bool) -> Array:
    """(new,) places that RESIZE_NEAREST_NEIGHBOR takes."""
    offset = HALF if half_pixel else np.float32(0)
    scale = np.float32(old) / np.float32(new)
    at: Array = np.floor((np.arange(new, dtype=np.float32) + offset) * scale)
    return at.astype(np.int64).clip(0, old - 1)


def lite_positions(old: int, new: int, *, half_pixel: bool, align_corners: bool) -> Array:
    """(new,) that RESIZE_BILINEAR takes, clipped."""
    scale = (old - 1) / (new - 1) if align_corners and new > 1 else old / new
    offset = 0.5 if half_pixel else 0.0
    at: Array = (np.arange(new) + offset) * scale - offset
    return at.clip(0, old - 1)
