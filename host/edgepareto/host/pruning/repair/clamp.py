"""The activations that cut off: of what a layer puts out beyond the limits nothing arrives, so no repair need keep it.

For an activation c, outputs y and dense targets t a repair minimises the matching loss, the integral of c(s) - c(t)
over s from t to y: it is convex, it is zero where both are cut off, and its derivative by y is c(y) - c(t). Source:
Auer, Herbster & Warmuth, Exponentially many local minima for single neurons (1996).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray

__all__ = ["Clamp", "clamp_of"]

Array = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Clamp:
    """The activation min(max(x, low), high): ReLU (0, infinity), ReLU6 (0, 6)."""

    low: float
    high: float

    def apply(self, values: Array) -> Array:
        clamped: Array = np.maximum(values, np.float32(self.low))
        return clamped if np.isinf(self.high) else np.minimum(clamped, np.float32(self.high))


def clamp_of(node: onnx.NodeProto, constants: Mapping[str, NDArray[np.generic]]) -> Clamp | None:
    """None where the node is another operator or computes its limits at run time."""
    if node.op_type == "Relu":
        return Clamp(low=0.0, high=np.inf)
    if node.op_type != "Clip":
        return None
    limits = {"min": -np.inf, "max": np.inf}
    limits.update({attribute.name: attribute.f for attribute in node.attribute})  # before opset 11
    for key, name in zip(limits, node.input[1:], strict=False):
        if name and name not in constants:
            return None
        if name:
            limits[key] = float(constants[name].reshape(-1)[0])
    return Clamp(low=limits["min"], high=limits["max"])
