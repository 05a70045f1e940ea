"""Each network as a .tflite file beside ONNX Runtime: the error, or why there is none."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from edgepareto.host.export import input_tensors
from edgepareto.host.export.parity import Feed, measure_parity, onnx_outputs
from edgepareto.host.export.tflite import UnsupportedModel, to_tflite
from markdown_table import markdown_table
from pruning_light import light_models

__all__ = ["LARGEST_ERROR", "Outcome", "outcomes", "table_of"]

NETWORKS = Path(__file__).resolve().parents[1] / "tests" / "models"
LARGEST_ERROR = 1e-5
SAMPLES = 2
SEED = 9
FREE_SIZE = 8  # of open axes behind the first


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """error: relative to the largest output; None: there is no file, and text says why."""

    network: str
    written_by: str
    error: float | None
    text: str


def outcomes(folder: Path, *, light: bool) -> Iterator[Outcome]:
    for path in sorted(NETWORKS.glob("*.*.onnx")):
        name, exporter, _ = path.name.split(".")
        yield _outcome(name, exporter, onnx.load(path))
    for name, path in light_models(folder).items() if light else ():
        model = onnx.load(path)
        path.unlink()  # up to 600 MB each
        yield _outcome(name, "onnx", _up_to_logits(model))


def table_of(found: Iterable[Outcome]) -> str:
    """One row per network: what different exporters wrote shares it where the answer is the same; the worst error."""
    rows: dict[tuple[str, str | None], list[Outcome]] = {}
    for outcome in found:
        rows.setdefault((outcome.network, outcome.text if outcome.error is None else None), []).append(outcome)
    cells = []
    for (network, why), same in rows.items():
        said = why or _upwards(max(outcome.error or 0.0 for outcome in same))
        cells.append([network, ", ".join(outcome.written_by for outcome in same), said])
    return markdown_table(["network", "written by", "relative error"], cells)


def _outcome(network: str, written_by: str, model: onnx.ModelProto) -> Outcome:
    _close(model)
    feeds = [_feed(model, SEED + sample) for sample in range(SAMPLES)]
    expected = onnx_outputs(model.SerializeToString(), feeds)
    try:
        error = measure_parity(to_tflite(model, network), feeds, expected).relative
    except UnsupportedModel as why:
        listed = ", ".join(why.operators)
        return Outcome(network=network, written_by=written_by, error=None, text=f"no file: {listed}")
    return Outcome(network=network, written_by=written_by, error=error, text=f"{error:.1e}")


def _upwards(error: float) -> str:
    """To one digit, so that another machine's rounding rarely changes the table."""
    exponent = int(np.floor(np.log10(max(error, 1e-9))))
    return f"{np.ceil(error / 10.0**exponent) * 10.0**exponent:.0e}"


def _close(model: onnx.ModelProto) -> None:
    """In place: one sample, and a size for what is open besides."""
    weights = {tensor.name for tensor in model.graph.initializer}
    for value in model.graph.input:
        for place, axis in enumerate(value.type.tensor_type.shape.dim):
            if value.name not in weights and not axis.HasField("dim_value"):
                axis.dim_value = FREE_SIZE if place else 1


def _feed(model: onnx.ModelProto, seed: int) -> Feed:
    """Normal numbers; small whole ones where those are asked for."""
    random = np.random.default_rng(seed)
    return {
        tensor.name: random.standard_normal(tensor.shape, np.float32)
        if tensor.dtype == np.float32
        else random.integers(0, 4, tensor.shape).astype(tensor.dtype)
        for tensor in input_tensors(model)
    }


def _up_to_logits(model: onnx.ModelProto) -> onnx.ModelProto:
    """Without the Softmax at its end: probabilities of a network of weights by chance are nearly 0 and 1."""
    last = model.graph.node[-1]
    if last.op_type == "Softmax":
        model.graph.output[0].name = last.input[0]
        model.graph.node.remove(last)
    return model
