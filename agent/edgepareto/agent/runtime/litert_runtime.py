"""LiteRT, with what really ran the model reported: XNNPACK takes over what it can, LiteRT's own kernels do the rest."""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping, Sequence
from importlib import metadata, util
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from edgepareto.agent.errors import Status, WorkerError
from edgepareto.agent.runtime.runtime import OperatorCost, RuntimeOptions, RuntimeUsed
from edgepareto.agent.runtime.verdicts import one_line, run_error, wrong_provider
from numpy.typing import NDArray

__all__ = ["LiteRuntime"]

# The living one first; tflite-runtime has the same Interpreter and is all that there is for 32-bit boards.
LIBRARIES = {"ai-edge-litert": "ai_edge_litert.interpreter", "tflite-runtime": "tflite_runtime.interpreter"}
OLD_LIBRARY = "tflite-runtime"
FIRST_UNFIT_NUMPY = 2  # with which it imports, and then fails without a reason at the first interpreter
IDENTIFIER = b"TFL3"  # bytes 4 to 8 of every file, tensorflow/lite/schema/schema.fbs
# The last three by tflite-runtime, which checks no file as a whole and reads zeros behind its end.
BROKEN_FILE = (
    "ould not open", "not a valid Flatbuffer", "Model provided",
    "Missing registration for opcode_index", "No subgraph in the model", "Did not get tensors in subgraph",
)  # fmt: skip
XNNPACK, OWN_KERNELS = "XNNPACK", "CPU"
DELEGATE = "DELEGATE"  # how the interpreter calls what a delegate took over
Interpreter: TypeAlias = Any  # neither library has types


class LiteRuntime:
    """See Runtime. One interpreter of `options.threads` threads; the file's first signature names inputs and outputs.

    provider: XNNPACK, for what it can (a model of which it takes nothing over is reported as CPU), or CPU alone.
    The state of recurrent layers is forgotten before each inference, as ONNX Runtime keeps none.
    """

    def __init__(self, options: RuntimeOptions) -> None:
        if options.provider not in (XNNPACK, OWN_KERNELS):
            raise wrong_provider(options.provider, f"LiteRT has {XNNPACK} and {OWN_KERNELS}")
        self._options = options
        self._library, self._version, self._module = _library()
        self._interpreter: Interpreter = None
        self._inputs: dict[str, int] = {}
        self._outputs: dict[str, int] = {}
        self._has_state = False

    def load(self, model: Path) -> RuntimeUsed:
        with model.open("rb") as file:
            if file.read(8)[4:] != IDENTIFIER:
                raise WorkerError(Status.INVALID_MODEL, f"{model.name} is not a TFLite model; convert it again")
        extra: dict[str, object] = {}
        if self._options.provider == OWN_KERNELS:
            resolvers = self._module.OpResolverType
            extra["experimental_op_resolver_type"] = resolvers.BUILTIN_WITHOUT_DEFAULT_DELEGATES
        try:
            interpreter = self._module.Interpreter(
                model_path=os.fspath(model), num_threads=self._options.threads, **extra
            )
            interpreter.allocate_tensors()
            signatures = interpreter.get_signature_list()
        except (RuntimeError, ValueError) as error:
            raise _load_error(error) from error
        self._interpreter = interpreter
        self._inputs, self._outputs = _names(interpreter, signatures)
        nodes = [str(node["op_name"]) for node in interpreter._get_ops_details()]  # the only way to ask
        delegated = nodes.count(DELEGATE)
        self._has_state = any("SEQUENCE" in node for node in nodes)
        return RuntimeUsed(
            name="litert",
            version=self._version,
            provider=XNNPACK if delegated else OWN_KERNELS,
            threads=self._options.threads,
            options={
                "library": self._library,
                "num_threads": str(self._options.threads),
                "delegated_partitions": str(delegated),
            },
        )

    @property
    def interpreter(self) -> Interpreter:
        """The library's own, with the model loaded."""
        assert self._interpreter is not None, "load comes first"
        return self._interpreter

    def outputs(self, feed: Mapping[str, NDArray[np.generic]]) -> dict[str, NDArray[np.generic]]:
        self.run(feed)
        return {name: self._interpreter.get_tensor(place) for name, place in self._outputs.items()}

    def run(self, feed: Mapping[str, NDArray[np.generic]]) -> None:
        assert self._interpreter is not None, "load comes first"
        try:
            if self._has_state:
                self._interpreter.reset_all_variables()
            for name, place in self._inputs.items():
                self._interpreter.set_tensor(place, feed[name])
            self._interpreter.invoke()
        except KeyError as error:
            raise WorkerError(Status.LOAD_FAILED, f"the sample inputs lack {error.args[0]}") from error
        except (RuntimeError, ValueError) as error:
            text = one_line(error)
            raise run_error(text, is_out_of_memory=_says_out_of_memory(text)) from error

    def time_operators(self, feeds: Sequence[Mapping[str, NDArray[np.generic]]]) -> tuple[OperatorCost, ...]:
        """LiteRT's Python has no profile of its nodes."""
        del feeds
        raise WorkerError(
            Status.LOAD_FAILED, "LiteRT does not tell the time of single operators; ask for them with onnxruntime"
        )


def _library() -> tuple[str, str, Interpreter]:
    """Its name, its version as device_info.py tells it, its module. Raises ImportError where there is neither."""
    for distribution, module in LIBRARIES.items():
        if util.find_spec(module.partition(".")[0]) is None:
            continue
        version = metadata.version(distribution)
        if distribution == OLD_LIBRARY:
            _require_old_numpy(version)
            version = f"{version} ({OLD_LIBRARY})"
        return distribution, version, importlib.import_module(module)
    raise ImportError("neither ai-edge-litert nor tflite-runtime is installed")


def _require_old_numpy(version: str) -> None:
    if int(np.__version__.partition(".")[0]) >= FIRST_UNFIT_NUMPY:
        raise WorkerError(
            Status.LOAD_FAILED,
            f"{OLD_LIBRARY} {version} runs with numpy 1 alone, and numpy {np.__version__} is installed beside it; "
            "install edgepareto[agent-tflite-legacy] on the board",
        )


def _names(interpreter: Interpreter, signatures: Mapping[str, object]) -> tuple[dict[str, int], dict[str, int]]:
    """Tensor of each name: the signature's where there is one, else the tensors' own."""
    if signatures:
        runner = interpreter.get_signature_runner(next(iter(signatures)))
        details = (runner.get_input_details(), runner.get_output_details())
        inputs, outputs = ({name: int(one["index"]) for name, one in tensors.items()} for tensors in details)
        return inputs, outputs
    lists = (interpreter.get_input_details(), interpreter.get_output_details())
    inputs, outputs = ({str(one["name"]): int(one["index"]) for one in tensors} for tensors in lists)
    return inputs, outputs


def _load_error(error: Exception) -> WorkerError:
    text = one_line(error)
    if _says_out_of_memory(text):
        return WorkerError(Status.OOM, f"the model does not fit in memory: {text}")
    if "custom op" in text or "unsupported op" in text or "Didn't find op" in text:
        return WorkerError(Status.UNSUPPORTED_OP, text)
    if any(told in text for told in BROKEN_FILE):
        return WorkerError(Status.INVALID_MODEL, text)
    return WorkerError(Status.LOAD_FAILED, text)


def _says_out_of_memory(text: str) -> bool:
    return "bad_alloc" in text or "ailed to allocate" in text
