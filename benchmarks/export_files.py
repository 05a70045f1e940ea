"""One net as a .tflite file, by us and by onnx2tf: the seconds, and how LiteRT runs both."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx
from edgepareto.host.export import fix_every_size, input_tensors, read_model
from edgepareto.host.export.onnx2tf import ForeignFile
from edgepareto.host.export.parity import Feed, measure_parity, onnx_outputs
from edgepareto.host.export.tflite import LiteModel, to_tflite
from edgepareto.host.pruning.inference import Interpreter, open_lite
from onnx_nets import NETS
from rival_environment import Rivals

__all__ = ["Net", "compare_files", "write_nets"]

EXAMPLES = Path(__file__).resolve().parents[1] / "examples" / "fashion_mnist"
BARS_S = {"MobileNetV2, 224": 0.060, "ResNet-18, 224": 0.400}
EXAMPLE_BAR_S = 0.020
TIMES_FASTER = 10
LATENCY_WITHIN = 0.03
LARGEST_ERROR = 1e-5
ROUNDS = 25
WARM_UP_S = 0.1
VISIT_S = 0.010  # how long a file runs before it is the other's turn
SEED = 9


@dataclass(frozen=True, slots=True, kw_only=True)
class Net:
    """All sizes of `file` are numbers. bar_s: of a conversion."""

    name: str
    file: Path
    bar_s: float


def write_nets(folder: Path) -> Iterator[Net]:
    for number, (name, make) in enumerate(NETS.items()):
        file = folder / f"{number}.onnx"
        onnx.save(make(), file)
        yield Net(name=name, file=file, bar_s=BARS_S[name])
    for example in sorted(EXAMPLES.glob("*.onnx")):
        file = folder / example.name
        onnx.save(fix_every_size(read_model(example), [("x", (1, 1, 28, 28))]), file)
        yield Net(name=f"examples, {example.name}", file=file, bar_s=EXAMPLE_BAR_S)


def compare_files(net: Net, rival: Rivals, *, conversions: int, pairs: int) -> tuple[list[str], list[str]]:
    """A row of the table, and the bars that it misses. From file to file, ours and theirs in turn, after one each; and
    ours from a model in memory to bytes, the conversion proper, which is what its bar is of.

    Seconds are CPU time, which others on the machine change least.
    """
    lite_files = {whose: net.file.with_suffix(f".{whose}.tflite") for whose in ("ours", "theirs")}
    ours_s, theirs_s, proper_s = [], [], []
    loaded = onnx.load(net.file)
    for number in range(conversions + 1):
        seconds = _seconds_of_ours(net.file, lite_files["ours"])
        start = time.process_time()
        to_tflite(loaded)
        proper = time.process_time() - start
        answer = rival.ask("convert", model=str(net.file), to=str(lite_files["theirs"]))
        if number:
            ours_s.append(seconds)
            proper_s.append(proper)
            theirs_s.append(float(answer["seconds"]))
    mine, proper, others = map(statistics.median, (ours_s, proper_s, theirs_s))
    model = loaded
    feeds = [_feed(model, seed) for seed in range(2)]
    expected = onnx_outputs(net.file.read_bytes(), feeds)
    names = {value.name: value.name for value in (*model.graph.input, *model.graph.output)}
    theirs = lite_files["theirs"].read_bytes()
    placed = ForeignFile(theirs, names, "onnx2tf").lite_model(feeds, expected)
    files = [to_tflite(model, net.name), replace(placed, content=theirs)]  # as it wrote it
    errors = [measure_parity(lite, feeds, expected).relative for lite in files]
    ratio, low, high = _latency_ratio(files, feeds[0], pairs)
    row = [
        net.name,
        f"**{1e3 * proper:.0f} ms** ({1e3 * min(proper_s):.0f})",
        f"{1e3 * net.bar_s:.0f} ms",
        f"{1e3 * mine:.0f} ms ({1e3 * min(ours_s):.0f})",
        f"{1e3 * others:.0f} ms ({1e3 * min(theirs_s):.0f})",
        f"**{others / mine:.0f}**",
        f"**{ratio:.3f}** ({low:.3f} to {high:.3f})",
        f"{errors[0]:.1e}, {errors[1]:.1e}",
    ]
    missed = [
        (proper > net.bar_s, f"{proper:.3f} s, at most {net.bar_s} s"),
        (others < TIMES_FASTER * mine, f"{others / mine:.1f} times faster, at least {TIMES_FASTER}"),
        (ratio > 1 + LATENCY_WITHIN, f"latency {ratio - 1:+.1%}, at most {LATENCY_WITHIN:+.0%}"),
        (errors[0] > LARGEST_ERROR, f"relative error {errors[0]:.1e}, at most {LARGEST_ERROR:.0e}"),
    ]
    return row, [f"{net.name}: {fault}" for is_missed, fault in missed if is_missed]


def _seconds_of_ours(model: Path, to: Path) -> float:
    start = time.process_time()
    to.write_bytes(to_tflite(onnx.load(model)).content)
    return time.process_time() - start


def _feed(model: onnx.ModelProto, seed: int) -> Feed:
    draw = np.random.default_rng(seed)
    return {tensor.name: draw.standard_normal(tensor.shape, np.float32) for tensor in input_tensors(model)}


def _latency_ratio(files: list[LiteModel], feed: Feed, pairs: int) -> tuple[float, float, float]:
    """The first's latency by the second's: the mean over pairs of interpreters, the smallest and the largest.

    Where in memory an interpreter comes to lie is worth 3 %: each pair is loaded anew, the one or the other file first.
    """
    ratios = [_ratio_of_a_pair(files, feed, first=pair % 2) for pair in range(pairs)]
    return statistics.geometric_mean(ratios), min(ratios), max(ratios)


def _ratio_of_a_pair(files: list[LiteModel], feed: Feed, *, first: int) -> float:
    """The median over rounds, in each of which both run in turn.

    The smallest of a visit stands for it: what a busy machine adds is not the file's.
    """
    loaded = {place: _fed(files[place], feed) for place in (first, 1 - first)}
    runs = max(1, round(VISIT_S / max(_warm(interpreter) for interpreter in loaded.values())))
    order = random.Random(SEED)
    ratios = []
    for _ in range(ROUNDS):
        turn = [0, 1]
        order.shuffle(turn)
        seen = [0.0, 0.0]
        for place in turn:
            loaded[place].invoke()  # its weights come back into the caches
            seen[place] = min(_seconds(loaded[place]) for _ in range(runs))
        ratios.append(seen[0] / seen[1])
    return statistics.median(ratios)


def _fed(lite: LiteModel, feed: Feed) -> Interpreter:
    interpreter = open_lite(lite.content)
    numbers = interpreter.get_signature_runner().get_input_details()
    for name in lite.inputs:
        interpreter.set_tensor(numbers[name]["index"], lite.input_of(name, feed[name]))
    return interpreter


def _warm(interpreter: Interpreter) -> float:
    end, last = time.perf_counter() + WARM_UP_S, 0.0
    while time.perf_counter() < end:
        last = _seconds(interpreter)
    return last


def _seconds(interpreter: Interpreter) -> float:
    """CPU time of the one thread: others may use the machine meanwhile."""
    start = time.thread_time()
    interpreter.invoke()
    return time.thread_time() - start
