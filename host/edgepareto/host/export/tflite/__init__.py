"""Writes TFLite files that LiteRT runs, from ONNX models: one function per operator, layout NHWC."""

from edgepareto.host.export.tflite.convert import LiteModel, LiteTensor, UnsupportedModel, to_tflite

__all__ = ["LiteModel", "LiteTensor", "UnsupportedModel", "to_tflite"]
