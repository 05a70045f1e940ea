"""How a pruned model is run on a device: what a search may vary beside its channels."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeAlias

__all__ = [
    "AS_SET",
    "LITERT",
    "ONNX_RUNTIME",
    "ON_A_DEVICE",
    "ON_GPU",
    "PRECISIONS",
    "RUNTIMES",
    "Deployment",
    "DeploymentGenes",
    "Format",
]

ONNX_RUNTIME, LITERT = "onnxruntime", "litert"
ON_GPU = ("onnxruntime-cuda", "onnxruntime-tensorrt")  # ONNX Runtime with that provider, and no other
RUNTIMES = (ONNX_RUNTIME, LITERT, *ON_GPU)
# What an agent calls each, and the provider to ask it for.
ON_A_DEVICE = {
    ONNX_RUNTIME: ("onnxruntime", "CPUExecutionProvider"),
    LITERT: ("litert", "XNNPACK"),
    "onnxruntime-cuda": ("onnxruntime", "CUDAExecutionProvider"),
    "onnxruntime-tensorrt": ("onnxruntime", "TensorrtExecutionProvider"),
}
PRECISIONS = ("fp32", "fp16", "int8")
Format: TypeAlias = tuple[str, str]  # runtime and precision: what decides the file and its accuracy


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

    @property
    def format(self) -> Format:
        return (self.runtime, self.precision)

    def on_device(self, threads: int) -> Deployment:
        """threads: that the device is set to, which count where the deployment does not say."""
        return replace(self, threads=self.threads or threads)


AS_SET = Deployment()  # ONNX Runtime, 32 bits, and all else as the device is set


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentGenes:
    """What a device offers a search, at least one of each. The first format and clock mode and `usual_threads`, one of
    threads, are how the unpruned model runs that everything is compared with.

    threads: ascending. Formats change a candidate's file and accuracy, threads and clock modes neither.
    """

    formats: tuple[Format, ...] = (AS_SET.format,)
    threads: tuple[int, ...] = (AS_SET.threads,)
    clock_modes: tuple[str, ...] = (AS_SET.clock_mode,)
    usual_threads: int = AS_SET.threads

    def __post_init__(self) -> None:
        assert self.usual_threads in self.threads, self

    @property
    def usual(self) -> Deployment:
        return self.at((0, self.threads.index(self.usual_threads), 0))

    @property
    def sizes(self) -> tuple[int, int, int]:
        """How many there are of each, in the order of `at`."""
        return (len(self.formats), len(self.threads), len(self.clock_modes))

    def at(self, indices: tuple[int, int, int]) -> Deployment:
        form, threads, mode = indices
        runtime, precision = self.formats[form]
        return Deployment(
            runtime=runtime, precision=precision, threads=self.threads[threads], clock_mode=self.clock_modes[mode]
        )

    def indices(self, deployment: Deployment) -> tuple[int, int, int]:
        """The inverse of `at`. ValueError where this device does not offer it."""
        return (
            self.formats.index(deployment.format),
            self.threads.index(deployment.threads),
            self.clock_modes.index(deployment.clock_mode),
        )
