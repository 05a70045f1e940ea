"""Attributes of a node, with the type that the operator's definition gives them."""

from __future__ import annotations

import onnx

__all__ = ["float_attribute", "int_attribute", "ints_attribute", "text_attribute"]


def int_attribute(node: onnx.NodeProto, name: str, default: int) -> int:
    return next((int(attribute.i) for attribute in node.attribute if attribute.name == name), default)


def float_attribute(node: onnx.NodeProto, name: str, default: float) -> float:
    return next((float(attribute.f) for attribute in node.attribute if attribute.name == name), default)


def ints_attribute(node: onnx.NodeProto, name: str) -> list[int] | None:
    return next((list(attribute.ints) for attribute in node.attribute if attribute.name == name), None)


def text_attribute(node: onnx.NodeProto, name: str, default: str) -> str:
    return next((attribute.s.decode() for attribute in node.attribute if attribute.name == name), default)
