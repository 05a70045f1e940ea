"""One ONNX node, as the function that computes its operator sees it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import onnx
from edgepareto.host.distil.unsupported import Unsupported

__all__ = ["Node", "Tensor"]

Tensor: TypeAlias = Any  # torch has types only where it is installed
Value: TypeAlias = Any  # of an attribute: a number, text, several of them, or a tensor


@dataclass(frozen=True, slots=True)
class Node:
    """opset: of the default domain, as the model imports it."""

    proto: onnx.NodeProto
    opset: int
    attributes: dict[str, Value] = field(default_factory=dict)

    @classmethod
    def of(cls, proto: onnx.NodeProto, opset: int) -> Node:
        attributes = {one.name: onnx.helper.get_attribute_value(one) for one in proto.attribute}
        return cls(proto, opset, {name: _text(value) for name, value in attributes.items()})

    @property
    def op_type(self) -> str:
        return self.proto.op_type

    @property
    def outputs(self) -> Sequence[str]:
        return self.proto.output

    def get(self, name: str, default: Value = None) -> Value:
        """An attribute's value; text as str."""
        return self.attributes.get(name, default)

    def require(self, name: str, *known: object) -> None:
        """Raises Unsupported where the attribute is given and none of these values."""
        value = self.attributes.get(name)
        if name in self.attributes and value not in known:
            raise Unsupported(f"{self.op_type} with {name} = {value}")

    def require_one_output(self) -> None:
        if any(self.outputs[1:]):
            raise Unsupported(f"{self.op_type} with more than one output")


def _text(value: Value) -> Value:
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, list) and value and isinstance(value[0], bytes):
        return [part.decode() for part in value]
    return value
