"""8-bit integers in place of 32-bit floats, by each runtime's own quantiser; what it may not be used for, and a gate.

    kind = model_kind(model)
    if reason := refusal(runtime="litert", library="ai-edge-litert", version="2.3.0", precision="int8", kind=kind):
        ...                                              # this precision is no choice on that board
    method = kind.method                                 # static or dynamic
    content = quantize_onnx(model, feeds, method=method, name="resnet.onnx")
    lite = quantize_lite(to_tflite(model, "resnet.onnx"), feeds, method=method, name="resnet.onnx")
    require_fidelity(measure_fidelity(onnx_outputs(floats, feeds), lite_outputs(lite, feeds)), "resnet.onnx")

feeds: one run's inputs each, as ONNX takes them; at least FEWEST_SAMPLES, of which the first CALIBRATION_SAMPLES count.
"""

from edgepareto.host.export.quantize.fidelity import Fidelity, measure_fidelity, require_fidelity
from edgepareto.host.export.quantize.lite_quantizer import missing_lite_quantizer, quantize_lite
from edgepareto.host.export.quantize.onnx_quantizer import quantize_onnx
from edgepareto.host.export.quantize.rules import Method, ModelKind, int8_method, model_kind, refusal
from edgepareto.host.export.quantize.samples import CALIBRATION_SAMPLES, FEWEST_SAMPLES

__all__ = [
    "CALIBRATION_SAMPLES",
    "FEWEST_SAMPLES",
    "Fidelity",
    "Method",
    "ModelKind",
    "int8_method",
    "measure_fidelity",
    "missing_lite_quantizer",
    "model_kind",
    "quantize_lite",
    "quantize_onnx",
    "refusal",
    "require_fidelity",
]
