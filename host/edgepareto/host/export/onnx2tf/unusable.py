"""Why what onnx2tf gives is not to be had."""

from __future__ import annotations

__all__ = ["Unusable"]


class Unusable(Exception):
    """The message says what it did, without its name: `left a custom operator, ONNX_LOOP`."""
