"""The other pruners at the same work: one JSON request per line in, one JSON answer per line out, one thread.

Runs in an environment of its own, with torch, torch-pruning and onnxsim (rival_environment.py).
"""

from __future__ import annotations

import copy
import json
import sys
import time
import warnings
from contextlib import redirect_stdout

import numpy as np
import onnx
import onnxruntime
import torch
import torch_pruning
from onnxsim import simplify
from onnxsim.pruning import apply_structured_pruning
from torch_nets import NETS, Classifier

IMAGE = torch.zeros(1, 3, 224, 224)
OPSET = 17
SEED = 9

Answer = dict[str, float | str]


def main() -> None:
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    does = {"export": export_dense, "torch-pruning": prune_in_torch, "onnxsim": prune_with_onnxsim}
    for line in sys.stdin:
        request = json.loads(line)
        verb = does[request.pop("do")]
        with redirect_stdout(sys.stderr):  # both tools print to stdout now and then
            answer = verb(**request)
        print(json.dumps(answer), flush=True)


def export_dense(net: str, to: str) -> Answer:
    _export(_dense(net), to)
    return {}


def prune_in_torch(net: str, to: str, ratio: float) -> Answer:
    """A candidate from the dense net: the pruning changes the net in place, so each candidate needs a copy."""
    dense = _dense(net)
    start = time.perf_counter()
    candidate = copy.deepcopy(dense)
    importance = torch_pruning.importance.MagnitudeImportance(p=2)
    pruner = torch_pruning.pruner.BasePruner(
        candidate, IMAGE, importance, pruning_ratio=ratio, ignored_layers=[candidate.head]
    )
    pruner.step()
    pruned = time.perf_counter()
    _export(candidate, to)
    return {"prune_s": pruned - start, "export_s": time.perf_counter() - pruned}


def prune_with_onnxsim(model: str, to: str, ratio: float) -> Answer:
    """fault: empty where the pruned model passes the checker and runs. dense_parameters: after its simplify."""
    dense = onnx.load(model)
    start = time.perf_counter()
    try:
        simple, _ = simplify(dense)
        simplified = time.perf_counter()
        pruned = apply_structured_pruning(simple, sparsity=ratio)
    except Exception as error:  # noqa: BLE001 - whatever it raises is the result
        return {"fault": _one_line(error)}
    seconds = time.perf_counter() - simplified
    onnx.save(pruned, to)
    return {
        "simplify_s": simplified - start,
        "prune_s": seconds,
        "dense_parameters": _parameters(simple),
        "parameters": _parameters(pruned),
        "fault": _fault(to),
    }


def _dense(net: str) -> Classifier:
    """Random weights, those of the normalisation too: the exporter would store equal ones once."""
    torch.manual_seed(SEED)
    dense = NETS[net]().eval()
    for module in dense.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.normal_(module.bias)
    return dense


def _export(net: Classifier, to: str) -> None:
    torch.onnx.export(net, (IMAGE,), to, dynamo=False, opset_version=OPSET, input_names=["image"])


def _fault(path: str) -> str:
    try:
        onnx.checker.check_model(path, full_check=True)
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        session.run(None, {value.name: np.zeros(value.shape, np.float32) for value in session.get_inputs()})
    except Exception as error:  # noqa: BLE001 - the same
        return _one_line(error)
    return ""


def _one_line(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).strip().splitlines()[0][:160]}"


def _parameters(model: onnx.ModelProto) -> int:
    return sum(
        int(np.prod(tensor.dims, dtype=np.int64))
        for tensor in model.graph.initializer
        if tensor.data_type == onnx.TensorProto.FLOAT
    )


if __name__ == "__main__":
    main()
