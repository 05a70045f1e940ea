"""What int8 costs in accuracy and in seconds per candidate, in both runtimes, on the example nets dense and pruned.

    python benchmarks/int8.py [--nets resnet,mobilenet] [--ratios 0,0.3,0.5,0.7]

One thread. Accuracy is that of the quantised file on the test split, which neither pruning nor calibration has seen.
Prints pass or fail and ends with 1 where something failed.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"

import onnx
import onnxruntime
from edgepareto.host.accuracy import Dataset, load_dataset, metric_by_name, score
from edgepareto.host.api import prune
from edgepareto.host.config import DataConfig
from edgepareto.host.export import input_tensors
from edgepareto.host.export.input_shapes import close_batch
from edgepareto.host.export.parity import Feed, lite_outputs, onnx_outputs
from edgepareto.host.export.quantize import (
    CALIBRATION_SAMPLES,
    int8_method,
    measure_fidelity,
    quantize_lite,
    quantize_onnx,
)
from edgepareto.host.export.tflite import LiteModel, to_tflite
from edgepareto.host.pruning.inference import open_lite
from markdown_table import markdown_table
from measurement_verdict import Verdict

EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "fashion_mnist"
DATA = DataConfig(scale=1 / 255)
MOST_POINTS = 1.0
MOST_SECONDS = 3.0
RUNS = 200
ROUNDS = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantised:
    """One candidate in one runtime. lost: accuracy, of fp32 less int8. seconds: conversion and quantisation."""

    net: str
    ratio: float
    runtime: str
    accuracy: float
    lost: float
    cosine: float
    seconds: float
    float_latency_s: float
    latency_s: float
    float_bytes: int
    bytes: int


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nets", default="resnet,mobilenet")
    parser.add_argument("--ratios", default="0,0.3,0.5,0.7")
    asked = parser.parse_args(arguments)
    found: list[Quantised] = []
    for net in asked.nets.split(","):
        for ratio in map(float, asked.ratios.split(",")):
            found.extend(quantised(net, ratio))
    print(table(found))
    worst = max(found, key=lambda one: one.lost)
    slowest = max(found, key=lambda one: one.seconds)
    checks = [
        Verdict(
            check="most points of top-1 lost",
            seen=f"{100 * worst.lost:.2f} ({worst.net} {worst.ratio:g}, {worst.runtime})",
            bar=f"at most {MOST_POINTS:g}",
            passed=100 * worst.lost <= MOST_POINTS,
        ),
        Verdict(
            check="longest conversion and quantisation",
            seen=f"{slowest.seconds:.2f} s ({slowest.net} {slowest.ratio:g}, {slowest.runtime})",
            bar=f"at most {MOST_SECONDS:g} s",
            passed=slowest.seconds <= MOST_SECONDS,
        ),
    ]
    print()
    print(markdown_table(["check", "seen", "bar", ""], [[one.check, one.seen, one.bar, one.word] for one in checks]))
    return 0 if all(one.passed for one in checks) else 1


def quantised(net: str, ratio: float) -> Iterator[Quantised]:
    floats = prune(EXAMPLE / f"{net}.onnx", ratio=ratio, settings=EXAMPLE / "edgepareto.toml").pruned.content
    model = onnx.load_from_string(floats)
    inputs = input_tensors(model)
    calibration = load_dataset("calibration.npz", DATA, inputs, folder=EXAMPLE, labelled=False)
    test = load_dataset("test.npz", DATA, inputs, folder=EXAMPLE, labelled=True)
    feeds = [calibration.run_feed(index) for index in range(CALIBRATION_SAMPLES)]
    wanted = onnx_outputs(floats, feeds)
    before = accuracy(floats, test)
    method = int8_method(model)

    began = time.perf_counter()
    made = quantize_onnx(model, feeds, method=method, name=net)
    seconds = time.perf_counter() - began
    yield Quantised(
        net=net,
        ratio=ratio,
        runtime="onnxruntime",
        accuracy=accuracy(made, test),
        lost=before - accuracy(made, test),
        cosine=measure_fidelity(wanted, onnx_outputs(made, feeds)).cosine,
        seconds=seconds,
        float_latency_s=onnx_latency_s(floats, feeds[0]),
        latency_s=onnx_latency_s(made, feeds[0]),
        float_bytes=len(floats),
        bytes=len(made),
    )
    began = time.perf_counter()
    lite = to_tflite(close_batch(model), net)
    small = quantize_lite(lite, feeds, method=method, name=net)
    seconds = time.perf_counter() - began
    yield Quantised(
        net=net,
        ratio=ratio,
        runtime="litert",
        accuracy=accuracy(small, test),
        lost=before - accuracy(small, test),
        cosine=measure_fidelity(wanted, lite_outputs(small, feeds)).cosine,
        seconds=seconds,
        float_latency_s=lite_latency_s(lite, feeds[0]),
        latency_s=lite_latency_s(small, feeds[0]),
        float_bytes=len(lite.content),
        bytes=len(small.content),
    )


def accuracy(model: bytes | LiteModel, test: Dataset) -> float:
    return score(model, test, metric_by_name("top1")).value


def onnx_latency_s(model: bytes, feed: Feed) -> float:
    """As a board runs it; the host's own sessions are exact where VNNI lacks, and slower."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return fastest_s(lambda: session.run(None, dict(feed)))


def lite_latency_s(lite: LiteModel, feed: Feed) -> float:
    interpreter = open_lite(lite.content)
    (details,) = interpreter.get_input_details()
    interpreter.set_tensor(details["index"], lite.input_of("x", feed["x"]))
    return fastest_s(interpreter.invoke)


def fastest_s(run: Callable[[], object]) -> float:
    """Of the processor for one run, in the fastest of several rounds: other load only ever makes it slower."""
    rounds = []
    for _ in range(ROUNDS):
        began = time.process_time()
        for _ in range(RUNS):
            run()
        rounds.append((time.process_time() - began) / RUNS)
    return min(rounds)


def table(found: Sequence[Quantised]) -> str:
    return markdown_table(
        [
            "net, ratio",
            "runtime",
            "top-1 int8",
            "points lost",
            "cosine",
            "s",
            "us fp32",
            "us int8",
            "kB fp32",
            "kB int8",
        ],
        [
            [
                f"{one.net} {one.ratio:g}",
                one.runtime,
                f"{one.accuracy:.4f}",
                f"{100 * one.lost:+.2f}",
                f"{one.cosine:.4f}",
                f"{one.seconds:.2f}",
                f"{one.float_latency_s * 1e6:.0f}",
                f"{one.latency_s * 1e6:.0f}",
                f"{one.float_bytes / 1e3:.0f}",
                f"{one.bytes / 1e3:.0f}",
            ]
            for one in found
        ],
    )


if __name__ == "__main__":
    sys.exit(main())
