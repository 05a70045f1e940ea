"""Each profile's cost tables against published latencies of named models (docs/board-facts.md, 3a, 3b and 3c).

The bar is the mean absolute error that docs/board-facts.md reaches with the same constants, plus five points.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

import pytest
from edgepareto.agent.runtime import RuntimeOptions
from edgepareto.agent.simulation.cost_model import CostTable, OpKind
from edgepareto.agent.simulation.profile import BOARD_NAMES, load_profile
from fakes.published_networks import (
    Network,
    alexnet,
    densenet121,
    densenet161,
    densenet169,
    densenet201,
    googlenet,
    mnasnet,
    mobilenet_v1,
    mobilenet_v2,
    mobilenet_v3_large,
    mobilenet_v3_small,
    resnet18,
    resnet34,
    resnet50,
    resnet50_of_caffe,
    resnet101,
    resnet152,
    squeezenet,
    squeezenet_1_0,
    squeezenet_1_1,
    vgg11,
    vgg13,
    vgg16,
    wide_resnet50_2,
    yolox_s,
)

Published = Sequence[tuple[Callable[[], Network], float]]
ORT, LITERT, TENSORRT = "onnxruntime", "litert", "TensorrtExecutionProvider"


def costs_of(board: str, runtime: str = ORT, precision: str = "fp32") -> CostTable:
    """runtime: TENSORRT is ONNX Runtime with it."""
    name, provider = {
        ORT: (ORT, "CPUExecutionProvider"),
        LITERT: (LITERT, "XNNPACK"),
        TENSORRT: (ORT, TENSORRT),
    }[runtime]
    options = RuntimeOptions(name=name, threads=1, provider=provider, precision=precision)
    return load_profile(board).costs_of(options).table


@pytest.mark.parametrize(
    ("build", "giga_macs"),
    [
        (mobilenet_v1, 0.569),
        (mobilenet_v2, 0.301),
        (mobilenet_v3_large, 0.217),
        (mobilenet_v3_small, 0.057),
        (resnet18, 1.814),
        (resnet34, 3.664),
        (resnet50, 4.089),
        (yolox_s, 13.34),
        (wide_resnet50_2, 11.40),
        (squeezenet_1_0, 0.819),
        (squeezenet_1_1, 0.349),
    ],
)
def test_a_network_written_down_here_has_the_macs_it_is_known_for(build, giga_macs):
    assert sum(operator.macs for operator in build().operators) / 1e9 == pytest.approx(giga_macs, rel=0.001, abs=0.001)


PI_4B_ALL_CORES = [  # XNN, then NETS
    (mobilenet_v1, 77.0),
    (mobilenet_v2, 46.0),
    (mobilenet_v3_large, 40.0),
    (mobilenet_v3_small, 15.0),
    (mobilenet_v3_small, 14.2),
    (mobilenet_v3_large, 43.9),
    (resnet18, 254.6),
    (resnet34, 486.3),
    (resnet50, 556.2),
    (yolox_s, 1489.0),
]
PI_5_ALL_CORES = [  # NETS
    (mobilenet_v3_small, 4.08),
    (mobilenet_v3_large, 15.2),
    (resnet18, 55.3),
    (resnet34, 98.1),
    (resnet50, 130.8),
    (yolox_s, 418.7),
]
# NCNN: one thread, then all cores.
ZERO_2W = [
    (squeezenet, 241.0, 120.0),
    (mobilenet_v1, 394.0, 163.0),
    (mobilenet_v2, 274.0, 146.0),
    (mobilenet_v3_large, 234.0, 114.0),
    (mnasnet, 266.0, 126.0),
    (googlenet, 780.0, 324.0),
    (resnet18, 654.0, 351.0),
    (resnet50_of_caffe, 1801.0, 777.0),
]
NANO = [
    (squeezenet, 85.9, 30.0),
    (mobilenet_v1, 137.0, 41.7),
    (mobilenet_v2, 93.8, 33.5),
    (mobilenet_v3_large, 81.8, 30.6),
    (mnasnet, 91.7, 31.7),
    (googlenet, 287.0, 92.7),
    (resnet18, 221.0, 83.1),
    (resnet50_of_caffe, 624.0, 203.0),
    (vgg16, 1242.0, 446.0),
]
ORIN_NANO = [
    (squeezenet, 15.9, 5.07),
    (mobilenet_v1, 28.8, 6.96),
    (mobilenet_v2, 19.3, 5.86),
    (mobilenet_v3_large, 16.6, 5.60),
    (mnasnet, 18.6, 5.43),
    (googlenet, 66.8, 19.4),
    (resnet18, 48.5, 12.3),
    (resnet50_of_caffe, 138.0, 38.7),
    (vgg16, 280.0, 59.4),
]


ZERO_2W_LITERT = [  # NETS
    (mobilenet_v3_small, 32.5),
    (mobilenet_v3_large, 94.6),
    (resnet18, 441.0),
    (resnet34, 817.0),
    (resnet50, 941.0),
    (yolox_s, 2516.0),
]
PI_5_LITERT = [(mobilenet_v2, 10.89), (resnet18, 31.6), (wide_resnet50_2, 292.0), (squeezenet_1_0, 20.2)]  # ARM
PI_5_INT8 = [
    (mobilenet_v2, 4.01),
    (resnet18, 8.75),
    (resnet50, 20.6),
    (squeezenet_1_0, 5.09),
    (wide_resnet50_2, 49.4),
]
PI_4B_INT8 = [(mobilenet_v1, 24.0), (mobilenet_v2, 17.0)]  # XNN
NANO_TENSORRT = [  # T2T, then NETS
    (alexnet, 14.7),
    (squeezenet_1_0, 7.6),
    (squeezenet_1_1, 4.34),
    (resnet18, 11.4),
    (resnet34, 20.2),
    (resnet50, 29.8),
    (resnet101, 51.1),
    (resnet152, 72.3),
    (densenet121, 24.8),
    (densenet169, 31.2),
    (densenet201, 40.8),
    (densenet161, 65.8),
    (vgg11, 55.1),
    (vgg13, 68.7),
    (vgg16, 85.1),
    (mobilenet_v3_small, 5.02),
    (mobilenet_v3_large, 11.28),
    (resnet18, 10.86),
    (resnet34, 19.5),
    (resnet50, 29.3),
    (yolox_s, 95.9),
]
# NETS without YOLOX, which 5c takes for outliers.
ORIN_TENSORRT = [
    (mobilenet_v3_small, 1.563),
    (mobilenet_v3_large, 2.512),
    (resnet18, 1.998),
    (resnet34, 3.484),
    (resnet50, 4.802),
]


@pytest.mark.parametrize(
    ("board", "runtime", "precision", "threads", "published", "fitted_to"),
    [
        ("raspberry-pi-zero-2w", ORT, "fp32", 1, [row[:2] for row in ZERO_2W], 0.063),
        ("raspberry-pi-zero-2w", ORT, "fp32", 4, [row[::2] for row in ZERO_2W], 0.095),
        ("raspberry-pi-4b", ORT, "fp32", 4, PI_4B_ALL_CORES, 0.057),
        ("raspberry-pi-5", ORT, "fp32", 4, PI_5_ALL_CORES, 0.075),
        ("jetson-nano", ORT, "fp32", 1, [row[:2] for row in NANO], 0.085),
        ("jetson-nano", ORT, "fp32", 4, [row[::2] for row in NANO], 0.110),
        ("jetson-orin-nano", ORT, "fp32", 1, [row[:2] for row in ORIN_NANO], 0.059),
        ("jetson-orin-nano", ORT, "fp32", 6, [row[::2] for row in ORIN_NANO], 0.116),
        ("raspberry-pi-zero-2w", LITERT, "fp32", 4, ZERO_2W_LITERT, 0.054),
        ("raspberry-pi-4b", LITERT, "fp32", 4, PI_4B_ALL_CORES, 0.057),
        ("raspberry-pi-4b", LITERT, "int8", 4, PI_4B_INT8, 0.042),
        ("raspberry-pi-5", LITERT, "fp32", 4, PI_5_LITERT, 0.112),
        ("raspberry-pi-5", LITERT, "int8", 4, PI_5_INT8, 0.038),
        ("jetson-nano", TENSORRT, "fp16", 1, NANO_TENSORRT, 0.049),
        ("jetson-orin-nano", TENSORRT, "fp16", 1, ORIN_TENSORRT, 0.030),
    ],
)
def test_published_latencies_are_predicted_as_well_as_the_constants_allow(
    board: str, runtime: str, precision: str, threads: int, published: Published, fitted_to: float, capsys
):
    allowed = fitted_to + 0.05
    costs = costs_of(board, runtime, precision)
    lines, errors = [], []
    for build, published_ms in published:
        predicted_ms = costs.latency_s(build().operators, threads) * 1e3
        errors.append(predicted_ms / published_ms - 1)
        lines.append(f"  {build.__name__:20} {predicted_ms:8.1f} ms  published {published_ms:7.1f}  {errors[-1]:+6.1%}")
    mean_error = sum(map(abs, errors)) / len(errors)
    title = f"{board}, {runtime} {precision}, {threads} threads"
    with capsys.disabled():
        sys.stdout.write(f"\n{title}: mean absolute error {mean_error:.1%}, allowed {allowed:.1%}\n")
        sys.stdout.write("\n".join(lines) + "\n")
    assert mean_error <= allowed


@pytest.mark.parametrize(
    ("build", "stated"),
    [(mobilenet_v3_small, 3), (mobilenet_v3_large, -3), (resnet18, 1), (resnet34, -1), (resnet50, 2)],
)
def test_the_gpus_figures_are_read_as_they_were_fitted(build: Callable[[], Network], stated: int):
    """To the percent that docs/board-facts.md 5c gives for each model: what is free and what is padded is in there."""
    [published_ms] = [ms for model, ms in ORIN_TENSORRT if model is build]
    predicted_ms = costs_of("jetson-orin-nano", TENSORRT, "fp16").latency_s(build().operators, 1) * 1e3
    assert 100 * (predicted_ms / published_ms - 1) == pytest.approx(stated, abs=0.6)


@pytest.mark.parametrize(
    ("board", "runtime", "precision", "step"),
    [
        ("raspberry-pi-4b", ORT, "fp32", 8),
        ("raspberry-pi-5", ORT, "fp32", 8),
        ("jetson-nano", ORT, "fp32", 4),
        ("raspberry-pi-5", LITERT, "fp16", 8),
        ("raspberry-pi-5", LITERT, "int8", 16),
        ("jetson-nano", TENSORRT, "fp16", 8),
        ("jetson-orin-nano", TENSORRT, "int8", 16),
    ],
)
def test_latency_falls_in_steps_as_channels_are_removed(board: str, runtime: str, precision: str, step: int):
    """The staircase that a step probe has to find."""
    costs = costs_of(board, runtime, precision)
    by_width = {width: costs.latency_s(Network(64, 56).conv(width, 3).operators, 1) for width in range(33, 65)}
    assert len({by_width[width] for width in range(65 - step, 65)}) == 1
    assert by_width[64 - step] < by_width[65 - step]
    assert len(set(by_width.values())) == 32 / step


ALL_TABLES = [
    (board, costs.provider, costs.precisions, costs.table)
    for board in BOARD_NAMES
    for costs in load_profile(board).runtimes
]


@pytest.mark.parametrize(("board", "provider", "precisions", "costs"), ALL_TABLES)
@pytest.mark.parametrize("build", [resnet18, mobilenet_v2, mobilenet_v3_large])
def test_more_threads_are_never_slower_and_stop_helping_at_the_last_row(board, provider, precisions, costs, build):
    latencies = [costs.latency_s(build().operators, threads) for threads in (1, 2, 3, max(costs.rows))]
    assert latencies == sorted(latencies, reverse=True)
    assert (latencies[0] == latencies[-1]) == (provider == TENSORRT)
    assert costs.latency_s(build().operators, 8) == latencies[-1]


@pytest.mark.parametrize(("board", "published"), [("raspberry-pi-4b", 46.0 / 17.0), ("raspberry-pi-5", 10.89 / 4.01)])
def test_int8_is_as_much_faster_as_published_and_fp16_weights_are_not(board: str, published: float):
    """MobileNetV2 in LiteRT (docs/board-facts.md 3b)."""
    fp32, fp16, int8 = (costs_of(board, LITERT, precision) for precision in ("fp32", "fp16", "int8"))
    operators = mobilenet_v2().operators
    for threads in (1, 4):
        assert fp16.latency_s(operators, threads) == fp32.latency_s(operators, threads)
        assert fp32.latency_s(operators, threads) > 1.25 * int8.latency_s(operators, threads)
    assert fp32.latency_s(operators, 4) / int8.latency_s(operators, 4) == pytest.approx(published, rel=0.15)


@pytest.mark.parametrize(
    ("board", "slower", "faster", "published"),
    [
        ("jetson-nano", "fp32", "fp16", (1.44, 1.88)),  # KEN, three ResNets
        ("jetson-orin-nano", "fp32", "fp16", (1.55, 2.05)),  # HOK and ULTRA, YOLOs
        ("jetson-orin-nano", "fp16", "int8", (1.25, 1.59)),
    ],
)
def test_a_gpus_precisions_are_apart_by_what_is_published_of_other_networks(
    board: str, slower: str, faster: str, published: tuple[float, float]
):
    """docs/board-facts.md 3c and 5e."""
    low, high = published
    before, after = (costs_of(board, TENSORRT, precision) for precision in (slower, faster))
    for build in (resnet18, resnet34, resnet50, yolox_s):
        ratio = before.latency_s(build().operators, 1) / after.latency_s(build().operators, 1)
        assert 0.95 * low < ratio < 1.05 * high


def test_what_a_gpu_computes_within_its_neighbours_costs_nothing_there_and_something_on_the_cores():
    plain, swish = Network(64, 56).conv(64, 3), Network(64, 56).conv(64, 3).activation()
    on_gpu, on_cores = costs_of("jetson-nano", TENSORRT, "fp16"), costs_of("jetson-nano")
    assert OpKind.ACTIVATION in on_gpu.free
    assert on_gpu.latency_s(swish.operators, 1) == on_gpu.latency_s(plain.operators, 1)
    assert on_cores.latency_s(swish.operators, 1) > on_cores.latency_s(plain.operators, 1)
