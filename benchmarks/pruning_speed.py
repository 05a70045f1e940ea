"""One candidate, ours against Torch-Pruning and the exporter of torch: time, memory, size."""

from __future__ import annotations

import multiprocessing
import re
import statistics
import time
import tracemalloc
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
from edgepareto.host.domain import Genome
from edgepareto.host.export import read_model
from edgepareto.host.pruning import analyse, prepare
from markdown_table import markdown_table
from rival_environment import Rivals

__all__ = ["exported_nets", "parameters_kept", "peak_memory", "seconds_per_candidate"]

NETS = ("mobilenet_v2", "resnet50")
HALF = 0.5


def exported_nets(rivals: Rivals, folder: Path) -> dict[str, Path]:
    """Dense, with random weights: what is cut does not depend on them, and neither does the time."""
    paths = {net: folder / f"{net}.onnx" for net in NETS}
    for net, path in paths.items():
        rivals.ask("export", net=net, to=str(path))
    return paths


def seconds_per_candidate(nets: Mapping[str, Path], rivals: Rivals, repeats: int) -> str:
    """Half of every group; ours and theirs in turn, so that both see the same moods of the machine."""
    rows = []
    for net, path in nets.items():
        analysis = analyse(read_model(path))
        prepared = prepare(analysis, None, criterion="l2")
        genome = analysis.search_space().uniform(HALF)
        ours, prunes, exports = [], [], []
        for _ in range(repeats):
            start = time.perf_counter()
            prepared.prune(genome, recovery="none")
            ours.append(time.perf_counter() - start)
            answer = rivals.ask("torch-pruning", net=net, ratio=HALF, to=str(path.with_suffix(".pruned.onnx")))
            prunes.append(float(answer["prune_s"]))
            exports.append(float(answer["export_s"]))
        mine = statistics.median(ours)
        theirs = statistics.median(map(sum, zip(prunes, exports, strict=True)))
        rows.append(
            [
                net,
                f"{analysis.seconds:.2f} s",
                f"**{1e3 * mine:.1f} ms**",
                f"{1e3 * statistics.median(prunes):.0f} + {1e3 * statistics.median(exports):.0f} ms",
                f"**{theirs / mine:.0f}**",
            ]
        )
    header = ["net", "analysis, once", "slice + serialise", "Torch-Pruning + export", "times faster"]
    return markdown_table(header, rows)


def parameters_kept(nets: Mapping[str, Path], rivals: Rivals, ratios: tuple[float, ...]) -> str:
    """Counted in the ONNX files of both, each group rounded down to whole channels as Torch-Pruning does."""
    rows = []
    for net, path in nets.items():
        analysis = analyse(read_model(path))
        prepared = prepare(analysis, None, criterion="l2")
        for ratio in ratios:
            pruned = path.with_suffix(".pruned.onnx")
            rivals.ask("torch-pruning", net=net, ratio=ratio, to=str(pruned))
            theirs = _parameters(onnx.load(pruned))
            widths = tuple(int(group.channels * (1 - ratio)) for group in analysis.groups)
            ours = prepared.prune(Genome(widths=widths), recovery="none").parameters
            dense = analysis.parameters
            rows.append(
                [net, f"{ratio:.0%}", f"{ours / dense:.4f}", f"{theirs / dense:.4f}", f"{ours / theirs - 1:+.2%}"]
            )
    return markdown_table(["net", "removed", "ours", "Torch-Pruning", "ours are more by"], rows)


def peak_memory(nets: Mapping[str, Path]) -> str:
    """In a fresh process each, in sizes of the model file; the widest candidate is the costliest."""
    rows = []
    for net, path in nets.items():
        for kept in (HALF, 1.0):
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                candidate, whole = pool.apply(_peaks, (path, kept))
            size = path.stat().st_size
            rows.append([net, f"{1 - kept:.0%}", f"{candidate / size:.1f}", f"{whole / size:.1f}"])
    header = ["net", "removed", "slice + serialise", "the process, from reading the file on"]
    return markdown_table(header, rows)


def _peaks(path: Path, kept: float) -> tuple[int, int]:
    """Bytes: all that a candidate allocates, and the growth of the resident set from before the file is read."""
    start = _resident("VmRSS")
    prepared = prepare(analyse(read_model(path)), None, criterion="l2")
    genome = prepared.analysis.search_space().uniform(kept)
    tracemalloc.start()
    prepared.prune(genome, recovery="none")
    _, candidate = tracemalloc.get_traced_memory()
    return candidate, _resident("VmHWM") - start


def _resident(field: str) -> int:
    found = re.search(rf"^{field}:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="ascii"), re.MULTILINE)
    assert found is not None, "Linux tells it"
    return 1024 * int(found[1])


def _parameters(model: onnx.ModelProto) -> int:
    floats = [tensor for tensor in model.graph.initializer if tensor.data_type == onnx.TensorProto.FLOAT]
    return sum(int(np.prod(tensor.dims, dtype=np.int64)) for tensor in floats)
