"""ONNX Runtime's execution providers: how each is asked for, and how it is seen that it really runs the model."""

from __future__ import annotations

import ctypes
from collections import Counter
from pathlib import Path
from typing import TypeAlias

import onnxruntime
from edgepareto.agent.errors import Status, WorkerError
from edgepareto.agent.runtime.runtime import TENSORRT, RuntimeOptions
from edgepareto.agent.runtime.verdicts import one_line, wrong_provider

__all__ = [
    "CPU",
    "ON_GPU",
    "ProviderOptions",
    "check_provider",
    "missing_library",
    "provider_options",
    "session_entries",
]

CPU, XNNPACK, CUDA = "CPUExecutionProvider", "XnnpackExecutionProvider", "CUDAExecutionProvider"
ON_GPU = (CUDA, TENSORRT)
_OF_THE_FOLDER = "trt_engine_cache_path"
_LIBRARIES = {CUDA: "libonnxruntime_providers_cuda.so", TENSORRT: "libonnxruntime_providers_tensorrt.so"}

ProviderOptions: TypeAlias = dict[str, str | bool]


def session_entries(provider: str) -> dict[str, str]:
    """XNNPACK has few operators and shares the model with the CPU, of whose cores both are; a GPU must take all of it,
    or what is timed is the way between the two."""
    if provider == CPU:
        return {}
    entries = {"session.record_ep_graph_assignment_info": "1"}
    if provider in ON_GPU:
        entries["session.disable_cpu_ep_fallback"] = "1"
    return entries


def provider_options(options: RuntimeOptions, engines: Path | None) -> ProviderOptions:
    """engines: a folder of this session's own for TensorRT's engine; None: it makes one anew.
    Source: onnxruntime.ai, Execution Providers, the page of each."""
    if options.provider == XNNPACK:
        return {"intra_op_num_threads": str(options.threads)}
    if options.provider == CUDA:
        return {"device_id": "0"}
    if options.provider != TENSORRT:
        return {}
    told: ProviderOptions = {
        "device_id": "0",
        "trt_fp16_enable": options.precision == "fp16",
        "trt_int8_enable": options.precision == "int8",
        "trt_engine_cache_enable": engines is not None,
    }
    if engines is not None:
        told[_OF_THE_FOLDER] = str(engines)
    return told


def missing_library(provider: str) -> str | None:
    """Why the provider's library cannot be loaded, which ONNX Runtime says on stderr alone. None: it can."""
    library = Path(onnxruntime.__file__).parent / "capi" / _LIBRARIES.get(provider, "")
    if not library.is_file():
        return None
    try:
        ctypes.CDLL(str(library))
    except OSError as error:
        return one_line(error)
    return None


def check_provider(session: onnxruntime.InferenceSession, asked: ProviderOptions, wanted: str) -> dict[str, str]:
    """How it runs the model, as the loaded session tells it. Raises WorkerError(WRONG_PROVIDER)."""
    used = str(session.get_providers()[0])
    if used != wanted:
        raise wrong_provider(wanted, f"the session uses {used}")
    told = {name: str(value) for name, value in asked.items() if name != _OF_THE_FOLDER}
    if wanted == CPU:
        return told
    nodes = _nodes(session)
    if nodes and wanted not in nodes:
        raise WorkerError(
            Status.WRONG_PROVIDER,
            f"provider {wanted} was asked for and takes none of the model's {sum(nodes.values())} nodes; "
            "run this model with another runtime",
        )
    return told | {f"nodes_on_{provider}": str(count) for provider, count in sorted(nodes.items())}


def _nodes(session: onnxruntime.InferenceSession) -> Counter[str]:
    """Of the model, by the provider that took them. Empty: this release does not tell."""
    if not hasattr(session, "get_provider_graph_assignment_info"):
        return Counter()
    counts: Counter[str] = Counter()
    for subgraph in session.get_provider_graph_assignment_info():
        counts[str(subgraph.ep_name)] += len(subgraph.get_nodes())
    return counts
