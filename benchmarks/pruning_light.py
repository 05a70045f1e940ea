"""The light_* models of the onnx package: what can be pruned in them, by us and by onnxsim."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from edgepareto.host.export import read_model
from edgepareto.host.pruning import analyse, prepare
from markdown_table import markdown_table
from onnx import numpy_helper
from rival_environment import Rivals

__all__ = ["channels_prunable", "light_models", "pruned_by_onnxsim"]

FOLDER = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
HALF = 0.5
SEED = 9
FIXED_BY_OUTPUT = "reaches the model's output"


def light_models(folder: Path, only: Sequence[str] = ()) -> dict[str, Path]:
    """Written to the folder with random weights: as they come, all weights are one number and all channels alike."""
    written = {}
    for path in sorted(FOLDER.glob("light_*.onnx")):
        name = path.stem.removeprefix("light_")
        if only and name not in only:
            continue
        written[path.stem] = folder / path.name
        onnx.save(_randomised(onnx.load(path)), written[path.stem])
    return written


def channels_prunable(models: Mapping[str, Path]) -> str:
    """Of all channels that layers make, but for the model's outputs."""
    rows = []
    for name, path in models.items():
        analysis = analyse(read_model(path))
        frozen = [group for group in analysis.frozen if not group.reason.startswith(FIXED_BY_OUTPUT)]
        prunable = sum(group.channels for group in analysis.groups)
        every = prunable + sum(group.channels for group in frozen)
        reasons = "; ".join(dict.fromkeys(group.reason for group in frozen))
        rows.append([name, str(len(analysis.groups)), f"{every}", f"{prunable / every:.0%}", reasons])
    return markdown_table(["model", "groups", "channels", "prunable", "the others: why not"], rows)


def pruned_by_onnxsim(models: Mapping[str, Path], rivals: Rivals) -> str:
    """The share of parameters kept is of what its own simplify leaves, ours of the model's."""
    rows = []
    for name, path in models.items():
        answer = rivals.ask("onnxsim", model=str(path), to=str(path.with_suffix(".pruned.onnx")), ratio=HALF)
        theirs = _their_cells(answer)
        start = time.perf_counter()
        analysis = analyse(read_model(path))
        prepared = prepare(analysis, None, criterion="l2")
        ready = time.perf_counter()
        candidate = prepared.prune(analysis.search_space().uniform(HALF), recovery="none")
        seconds = time.perf_counter() - ready
        rows.append(
            [
                name,
                *theirs,
                f"{candidate.parameters / analysis.parameters:.3f}",
                _fault(candidate.content),
                f"{ready - start:.2f} s once, {seconds:.3f} s",
            ]
        )
    header = [
        "model",
        "onnxsim: parameters kept",
        "fault",
        "simplify + prune",
        "ours: parameters kept",
        "fault",
        "time",
    ]
    return markdown_table(header, rows)


def _their_cells(answer: Mapping[str, float | str]) -> list[str]:
    fault = str(answer["fault"]) or "none"
    if "parameters" not in answer:
        return ["", fault, ""]
    kept = float(answer["parameters"]) / float(answer["dense_parameters"])
    return [f"{kept:.3f}", fault, f"{answer['simplify_s']:.2f} + {answer['prune_s']:.2f} s"]


def _fault(model: bytes) -> str:
    """Of a model that the checker refuses or that does not run."""
    try:
        onnx.checker.check_model(model, full_check=True)
        session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
        session.run(None, {value.name: np.zeros(value.shape, np.float32) for value in session.get_inputs()})
    except Exception as error:  # noqa: BLE001 - whatever it is, it belongs into the table
        return f"{type(error).__name__}: {str(error).strip().splitlines()[0][:160]}"
    return "none"


def _randomised(model: onnx.ModelProto) -> onnx.ModelProto:
    """Weights that ConstantOfShape nodes make become initializers; scales and variances of a BN are positive."""
    random = np.random.default_rng(SEED)
    model.ir_version = max(model.ir_version, 4)  # before, an initializer has to be an input too
    shapes = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    for node in [node for node in model.graph.node if node.op_type == "ConstantOfShape"]:
        shape = shapes[node.input[0]]
        if len(shape) > 1:
            value = random.standard_normal(shape, dtype=np.float32) * np.sqrt(2 / np.prod(shape[1:]), dtype=np.float32)
        else:
            value = random.uniform(0.5, 1.5, shape).astype(np.float32)
        model.graph.initializer.append(numpy_helper.from_array(value, node.output[0]))
        model.graph.node.remove(node)
    return model
