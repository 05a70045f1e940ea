"""How a pruned model is run on a device: what a search may vary beside its channels."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["AS_SET", "LITERT", "ONNX_RUNTIME", "ON_GPU", "PRECISIONS", "RUNTIMES", "Deployment"]

ONNX_RUNTIME, LITERT = "onnxruntime", "litert"
ON_GPU = ("onnxruntime-cuda", "onnxruntime-tensorrt")  # ONNX Runtime with that provider, and no other
RUNTIMES = (ONNX_RUNTIME, LITERT, *ON_GPU)
PRECISIONS = ("fp32", "fp16", "int8")


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """threads 0: as many as the device is set to. clock_mode: one of the device's, empty: as the board is."""

    runtime: str = ONNX_RUNTIME
    precision: str = "fp32"
    threads: int = 0
    clock_mode: str = ""

    def __post_init__(self) -> None:
        assert self.runtime in RUNTIMES, self.runtime
        assert self.precision in PRECISIONS, self.precision


AS_SET = Deployment()  # ONNX Runtime, 32 bits, and all else as the device is set
