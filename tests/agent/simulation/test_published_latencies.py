"""Each profile's cost model against published latencies of named models (docs/board-facts.md, 3a and 3b).

The networks are written down here as lists of operators, so that the bar depends on no export and no runtime. It is
the mean absolute error that docs/board-facts.md reaches with the same constants, plus five points.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

import pytest
from edgepareto.agent.simulation.cost_model import Operator, OpKind
from edgepareto.agent.simulation.profile import BOARD_NAMES, load_profile


class Network:
    """Appends operators while it tracks channels and side length of a square map."""

    def __init__(self, channels: int = 3, side: int = 224) -> None:
        self.channels, self.side = channels, side
        self.operators: list[Operator] = []

    def conv(self, out: int, k: int = 1, stride: int = 1, *, groups: int = 1, padding: int | None = None) -> Network:
        before = self.elements
        reduction = self.channels // groups * k * k
        if groups > 1:
            kind = OpKind.DEPTHWISE if groups == self.channels else OpKind.GROUPED
        elif k == 1:
            kind = OpKind.POINTWISE
        else:
            kind = OpKind.CONV_3X3 if (k, stride) == (3, 1) else OpKind.CONV
        self.channels = out
        self.side = (self.side + 2 * (k // 2 if padding is None else padding) - k) // stride + 1
        self._append(kind, moved=before + self.elements, reduction=reduction, weights=out * reduction)
        return self

    def depthwise(self, k: int, stride: int = 1) -> Network:
        return self.conv(self.channels, k, stride, groups=self.channels)

    def linear(self, out: int) -> Network:
        reduction = self.elements
        self.channels, self.side = out, 1
        self._append(OpKind.FULLY_CONNECTED, moved=reduction + out, reduction=reduction, weights=out * reduction)
        return self

    def pool(self, k: int, stride: int, padding: int = 0) -> Network:
        """Rounds sizes up, as Caffe and ncnn do."""
        before = self.elements
        self.side = -(-(self.side + 2 * padding - k) // stride) + 1
        self._append(OpKind.POOL, moved=before + self.elements)
        return self

    def global_pool(self) -> Network:
        return self.pool(self.side, 1)

    def elementwise(self, inputs: int = 1) -> Network:
        """An activation that is not fused, an addition (2 inputs), or a concatenation."""
        self._append(OpKind.ELEMENTWISE, moved=(inputs + 1) * self.elements)
        return self

    def beside(self, branches: Sequence[Callable[[Network], object]]) -> Network:
        """All branches from the same input, concatenated."""
        channels, side, width = self.channels, self.side, 0
        for branch in branches:
            self.channels, self.side = channels, side
            branch(self)
            width += self.channels
        self.channels = width
        return self.elementwise()

    def residual(self, branch: Callable[[Network], object], *, stride: int = 1, projects: bool = True) -> Network:
        """projects: a 1x1 convolution on the short cut where the shape changes; else there is none then."""
        channels, side = self.channels, self.side
        branch(self)
        if (channels, side) == (self.channels, self.side):
            return self.elementwise(2)
        if projects:
            self.operators += Network(channels, side).conv(self.channels, 1, stride).operators
            self.elementwise(2)
        return self

    @property
    def elements(self) -> int:
        return self.channels * self.side**2

    def _append(self, kind: OpKind, *, moved: int, reduction: int = 0, weights: int = 0) -> None:
        self.operators.append(
            Operator(
                kind=kind,
                outputs=self.elements,
                reduction=reduction,
                channels=self.channels,
                moved=moved,
                weights=weights,
            )
        )


def mobilenet_v1() -> Network:
    net = Network().conv(32, 3, 2)
    for out, stride in [
        (64, 1),
        (128, 2),
        (128, 1),
        (256, 2),
        (256, 1),
        (512, 2),
        *[(512, 1)] * 5,
        (1024, 2),
        (1024, 1),
    ]:
        net.depthwise(3, stride).conv(out)
    return net.global_pool().linear(1000)


def inverted_residuals(net: Network, rows: Sequence[tuple[int, int, int, int, int]]) -> Network:
    """rows: kernel, expansion, output channels, repeats, stride."""
    for k, expansion, out, repeats, stride in rows:
        for repeat in range(repeats):

            def branch(net: Network, s: int = stride if repeat == 0 else 1) -> None:
                if expansion > 1:  # noqa: B023
                    net.conv(net.channels * expansion)  # noqa: B023
                net.depthwise(k, s).conv(out)  # noqa: B023

            net.residual(branch, projects=False)
    return net.conv(1280).global_pool().linear(1000)


def mobilenet_v2() -> Network:
    rows = [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)]
    return inverted_residuals(Network().conv(32, 3, 2), [(3, *row) for row in rows])


def mnasnet() -> Network:
    rows = [
        (3, 3, 24, 3, 2),
        (5, 3, 40, 3, 2),
        (5, 6, 80, 3, 2),
        (3, 6, 96, 2, 1),
        (5, 6, 192, 4, 2),
        (3, 6, 320, 1, 1),
    ]
    return inverted_residuals(Network().conv(32, 3, 2).depthwise(3).conv(16), rows)


def mobilenet_v3(rows: Sequence[tuple[int, int, int, bool, bool, int]], features: int) -> Network:
    """rows: kernel, expanded channels, output channels, squeeze-and-excite, hard swish, stride."""
    net = Network().conv(16, 3, 2).elementwise()
    for k, expanded, out, excites, swishes, stride in rows:
        channels, side = net.channels, net.side
        if expanded != channels:
            net.conv(expanded)
            if swishes:
                net.elementwise()
        net.depthwise(k, stride)
        if swishes:
            net.elementwise()
        if excites:
            at = net.side
            net.global_pool().conv((expanded // 4 + 7) // 8 * 8).conv(expanded)
            net.side = at
            net.elementwise()
        net.conv(out)
        if (channels, side) == (net.channels, net.side):
            net.elementwise(2)
    return net.conv(6 * net.channels).elementwise().global_pool().linear(features).elementwise().linear(1000)


def mobilenet_v3_large() -> Network:
    t, f = True, False
    rows = [
        *[
            (3, 16, 16, f, f, 1),
            (3, 64, 24, f, f, 2),
            (3, 72, 24, f, f, 1),
            (5, 72, 40, t, f, 2),
            (5, 120, 40, t, f, 1),
        ],
        *[(5, 120, 40, t, f, 1), (3, 240, 80, f, t, 2), (3, 200, 80, f, t, 1), (3, 184, 80, f, t, 1)],
        *[(3, 184, 80, f, t, 1), (3, 480, 112, t, t, 1), (3, 672, 112, t, t, 1), (5, 672, 160, t, t, 2)],
        *[(5, 960, 160, t, t, 1), (5, 960, 160, t, t, 1)],
    ]
    return mobilenet_v3(rows, 1280)


def mobilenet_v3_small() -> Network:
    t, f = True, False
    rows = [
        *[
            (3, 16, 16, t, f, 2),
            (3, 72, 24, f, f, 2),
            (3, 88, 24, f, f, 1),
            (5, 96, 40, t, t, 2),
            (5, 240, 40, t, t, 1),
        ],
        *[(5, 240, 40, t, t, 1), (5, 120, 48, t, t, 1), (5, 144, 48, t, t, 1), (5, 288, 96, t, t, 2)],
        *[(5, 576, 96, t, t, 1), (5, 576, 96, t, t, 1)],
    ]
    return mobilenet_v3(rows, 1024)


def resnet(blocks: Sequence[int], *, bottleneck: bool, strides_early: bool = False) -> Network:
    """strides_early: a bottleneck strides in its first 1x1, as Caffe's original and ncnn's ResNet-50 do."""
    net = Network().conv(64, 7, 2).pool(3, 2)
    for stage, count in enumerate(blocks):
        width = 64 << stage
        for block in range(count):
            stride = 2 if stage and block == 0 else 1

            def branch(net: Network, width: int = width, stride: int = stride) -> None:
                if bottleneck:
                    early, late = (stride, 1) if strides_early else (1, stride)
                    net.conv(width, 1, early).conv(width, 3, late).conv(4 * width)
                else:
                    net.conv(width, 3, stride).conv(width, 3)

            net.residual(branch, stride=stride)
    return net.global_pool().linear(1000)


def resnet18() -> Network:
    return resnet((2, 2, 2, 2), bottleneck=False)


def resnet34() -> Network:
    return resnet((3, 4, 6, 3), bottleneck=False)


def resnet50() -> Network:
    return resnet((3, 4, 6, 3), bottleneck=True)


def resnet50_of_caffe() -> Network:
    return resnet((3, 4, 6, 3), bottleneck=True, strides_early=True)


def vgg16() -> Network:
    net = Network()
    for count, width in [(2, 64), (2, 128), (3, 256), (3, 512), (3, 512)]:
        for _ in range(count):
            net.conv(width, 3)
        net.pool(2, 2)
    return net.linear(4096).linear(4096).linear(1000)


def squeezenet() -> Network:
    net = Network(side=227).conv(64, 3, 2, padding=0).pool(3, 2)
    for squeezed, expanded in [
        (16, 64),
        (16, 64),
        (0, 0),
        (32, 128),
        (32, 128),
        (0, 0),
        (48, 192),
        (48, 192),
        *[(64, 256)] * 2,
    ]:
        if not squeezed:
            net.pool(3, 2)
            continue
        net.conv(squeezed)
        net.beside([lambda net, e=expanded: net.conv(e), lambda net, e=expanded: net.conv(e, 3)])
    return net.conv(1000).global_pool()


def googlenet() -> Network:
    net = Network().conv(64, 7, 2).pool(3, 2).conv(64).conv(192, 3).pool(3, 2)
    rows = [
        *[(64, 96, 128, 16, 32, 32), (128, 128, 192, 32, 96, 64), (), (192, 96, 208, 16, 48, 64)],
        *[(160, 112, 224, 24, 64, 64), (128, 128, 256, 24, 64, 64), (112, 144, 288, 32, 64, 64)],
        *[(256, 160, 320, 32, 128, 128), (), (256, 160, 320, 32, 128, 128), (384, 192, 384, 48, 128, 128)],
    ]
    for row in rows:
        if not row:
            net.pool(3, 2)
            continue
        one, three_before, three, five_before, five, pooled = row
        net.beside(
            [
                lambda net, w=one: net.conv(w),
                lambda net, v=three_before, w=three: net.conv(v).conv(w, 3),
                lambda net, v=five_before, w=five: net.conv(v).conv(w, 5),
                lambda net, w=pooled: net.pool(3, 1, 1).conv(w),
            ]
        )
    return net.global_pool().linear(1000)


def yolox_s() -> Network:
    """At 640 x 640: CSP backbone, feature pyramid down and up, three decoupled heads."""

    def cross_stage(net: Network, out: int, blocks: int, *, adds: bool) -> Network:
        def deep(net: Network) -> None:
            net.conv(out // 2)
            for _ in range(blocks):
                net.conv(out // 2).conv(out // 2, 3)
                if adds:
                    net.elementwise(2)

        return net.beside([deep, lambda net: net.conv(out // 2)]).conv(out)

    def merged(net: Network, channels: int, side: int) -> Network:
        """Up-sampled or strided, then concatenated with an earlier map."""
        net.channels, net.side = channels, side
        return net.elementwise()

    net = Network(12, 320).conv(32, 3)
    for out, blocks in [(64, 1), (128, 3), (256, 3)]:
        cross_stage(net.conv(out, 3, 2), out, blocks, adds=True)
    net.conv(512, 3, 2).conv(256)
    net.beside([lambda net: net, *(lambda net, k=k: net.pool(k, 1, k // 2) for k in (5, 9, 13))]).conv(512)
    cross_stage(net, 512, 1, adds=False).conv(256)
    cross_stage(merged(merged(net, 256, 40), 512, 40), 256, 1, adds=False).conv(128)
    cross_stage(merged(merged(net, 128, 80), 256, 80), 128, 1, adds=False)
    cross_stage(merged(net.conv(128, 3, 2), 256, 40), 256, 1, adds=False)
    cross_stage(merged(net.conv(256, 3, 2), 512, 20), 512, 1, adds=False)
    for channels, side in [(128, 80), (256, 40), (512, 20)]:
        net.channels, net.side = channels, side
        net.conv(128)
        for outputs in [(80,), (4, 1)]:
            net.channels = 128
            net.conv(128, 3).conv(128, 3)
            for out in outputs:
                net.channels = 128
                net.conv(out)
    return net


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


@pytest.mark.parametrize(
    ("board", "threads", "published", "fitted_to"),
    [
        ("raspberry-pi-zero-2w", 1, [row[:2] for row in ZERO_2W], 0.063),
        ("raspberry-pi-zero-2w", 4, [row[::2] for row in ZERO_2W], 0.095),
        ("raspberry-pi-4b", 4, PI_4B_ALL_CORES, 0.057),
        ("raspberry-pi-5", 4, PI_5_ALL_CORES, 0.075),
        ("jetson-nano", 1, [row[:2] for row in NANO], 0.085),
        ("jetson-nano", 4, [row[::2] for row in NANO], 0.110),
        ("jetson-orin-nano", 1, [row[:2] for row in ORIN_NANO], 0.059),
        ("jetson-orin-nano", 6, [row[::2] for row in ORIN_NANO], 0.116),
    ],
)
def test_published_latencies_are_predicted_as_well_as_the_constants_allow(board, threads, published, fitted_to, capsys):
    allowed = fitted_to + 0.05
    costs = load_profile(board).costs
    lines, errors = [], []
    for build, published_ms in published:
        predicted_ms = costs.latency_s(build().operators, threads) * 1e3
        errors.append(predicted_ms / published_ms - 1)
        lines.append(f"  {build.__name__:20} {predicted_ms:8.1f} ms  published {published_ms:7.1f}  {errors[-1]:+6.1%}")
    mean_error = sum(map(abs, errors)) / len(errors)
    with capsys.disabled():
        sys.stdout.write(f"\n{board}, {threads} threads: mean absolute error {mean_error:.1%}, allowed {allowed:.1%}\n")
        sys.stdout.write("\n".join(lines) + "\n")
    assert mean_error <= allowed


@pytest.mark.parametrize(("board", "step"), [("raspberry-pi-4b", 8), ("raspberry-pi-5", 8), ("jetson-nano", 4)])
def test_latency_falls_in_steps_as_channels_are_removed(board, step):
    """The staircase that a step probe has to find."""
    costs = load_profile(board).costs
    by_width = {width: costs.latency_s(Network(64, 56).conv(width, 3).operators, 1) for width in range(41, 65)}
    assert len({by_width[width] for width in range(65 - step, 65)}) == 1
    assert by_width[64 - step] < by_width[65 - step]
    assert len(set(by_width.values())) == 24 / step


@pytest.mark.parametrize("board", BOARD_NAMES)
def test_more_threads_are_never_slower_on_a_large_network_and_stop_helping_at_the_last_row(board):
    costs = load_profile(board).costs
    latencies = [costs.latency_s(resnet18().operators, threads) for threads in (1, 2, 3, max(costs.rows))]
    assert latencies == sorted(latencies, reverse=True)
    assert costs.latency_s(resnet18().operators, 8) == latencies[-1]
