"""Networks that others have published latencies of, as lists of operators: a bar on them depends on no runtime."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from edgepareto.agent.simulation.cost_model import Operator, OpKind


class Network:
    """Appends operators while it tracks channels and side length of a square map."""

    def __init__(self, channels: int = 3, side: int = 224) -> None:
        self.channels, self.side = channels, side
        self.operators: list[Operator] = []

    def conv(self, out: int, k: int = 1, stride: int = 1, *, groups: int = 1, padding: int | None = None) -> Network:
        before, reads_image = self.elements, groups == 1 and self.channels <= 4
        reduction = self.channels // groups * k * k
        if groups > 1:
            kind = OpKind.DEPTHWISE if groups == self.channels else OpKind.GROUPED
        elif k == 1:
            kind = OpKind.POINTWISE
        else:
            kind = OpKind.CONV_3X3 if (k, stride) == (3, 1) else OpKind.CONV
        self.channels = out
        self.side = (self.side + 2 * (k // 2 if padding is None else padding) - k) // stride + 1
        self._append(
            kind,
            moved=before + self.elements,
            reduction=reduction,
            weights=out * reduction,
            reads_image=reads_image,
        )
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
        """An addition or a product (2 inputs), a scaling, or anything else that is no layer."""
        self._append(OpKind.ELEMENTWISE, moved=(inputs + 1) * self.elements)
        return self

    def activation(self) -> Network:
        """One that is not fused into the layer before it."""
        self._append(OpKind.ACTIVATION, moved=2 * self.elements)
        return self

    def beside(self, branches: Sequence[Callable[[Network], object]]) -> Network:
        """All branches from the same input, concatenated."""
        channels, side, width = self.channels, self.side, 0
        for branch in branches:
            self.channels, self.side = channels, side
            branch(self)
            width += self.channels
        self.channels = width
        return self.concatenated()

    def concatenated(self) -> Network:
        self._append(OpKind.CONCAT, moved=2 * self.elements)
        return self

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

    def _append(
        self, kind: OpKind, *, moved: int, reduction: int = 0, weights: int = 0, reads_image: bool = False
    ) -> None:
        self.operators.append(
            Operator(
                kind=kind,
                outputs=self.elements,
                reduction=reduction,
                channels=self.channels,
                moved=moved,
                weights=weights,
                reads_image=reads_image,
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
    net = Network().conv(16, 3, 2).activation()
    for k, expanded, out, excites, swishes, stride in rows:
        channels, side = net.channels, net.side
        if expanded != channels:
            net.conv(expanded)
            if swishes:
                net.activation()
        net.depthwise(k, stride)
        if swishes:
            net.activation()
        if excites:
            at = net.side
            net.global_pool().conv((expanded // 4 + 7) // 8 * 8).conv(expanded)
            net.side = at
            net.elementwise()
        net.conv(out)
        if (channels, side) == (net.channels, net.side):
            net.elementwise(2)
    return net.conv(6 * net.channels).activation().global_pool().linear(features).activation().linear(1000)


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


def resnet(blocks: Sequence[int], *, bottleneck: bool, strides_early: bool = False, wide: int = 1) -> Network:
    """strides_early: a bottleneck strides in its first 1x1, as Caffe's original and ncnn's ResNet-50 do. wide: times
    as many channels within a bottleneck."""
    net = Network().conv(64, 7, 2).pool(3, 2)
    for stage, count in enumerate(blocks):
        width = 64 << stage
        for block in range(count):
            stride = 2 if stage and block == 0 else 1

            def branch(net: Network, width: int = width, stride: int = stride) -> None:
                if bottleneck:
                    early, late = (stride, 1) if strides_early else (1, stride)
                    net.conv(wide * width, 1, early).conv(wide * width, 3, late).conv(4 * width)
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


def resnet101() -> Network:
    return resnet((3, 4, 23, 3), bottleneck=True)


def resnet152() -> Network:
    return resnet((3, 8, 36, 3), bottleneck=True)


def wide_resnet50_2() -> Network:
    return resnet((3, 4, 6, 3), bottleneck=True, wide=2)


def resnet50_of_caffe() -> Network:
    return resnet((3, 4, 6, 3), bottleneck=True, strides_early=True)


def vgg(counts: Sequence[int]) -> Network:
    net = Network()
    for count, width in zip(counts, (64, 128, 256, 512, 512), strict=True):
        for _ in range(count):
            net.conv(width, 3)
        net.pool(2, 2)
    return net.linear(4096).linear(4096).linear(1000)


def vgg11() -> Network:
    return vgg((1, 1, 2, 2, 2))


def vgg13() -> Network:
    return vgg((2, 2, 2, 2, 2))


def vgg16() -> Network:
    return vgg((2, 2, 3, 3, 3))


def alexnet() -> Network:
    net = Network().conv(64, 11, 4, padding=2).pool(3, 2).conv(192, 5).pool(3, 2)
    return net.conv(384, 3).conv(256, 3).conv(256, 3).pool(3, 2).linear(4096).linear(4096).linear(1000)


def densenet(growth: int, blocks: Sequence[int]) -> Network:
    """Its batch norms come before the convolutions, so they stay."""
    net = Network().conv(2 * growth, 7, 2).pool(3, 2)
    for place, layers in enumerate(blocks):
        if place:
            net.elementwise().conv(net.channels // 2).pool(2, 2)
        for _ in range(layers):
            channels = net.channels
            net.elementwise().conv(4 * growth).conv(growth, 3)
            net.channels += channels
            net.concatenated()
    return net.elementwise().global_pool().linear(1000)


def densenet121() -> Network:
    return densenet(32, (6, 12, 24, 16))


def densenet169() -> Network:
    return densenet(32, (6, 12, 32, 32))


def densenet201() -> Network:
    return densenet(32, (6, 12, 48, 32))


def densenet161() -> Network:
    return densenet(48, (6, 12, 36, 24))


def fire_modules(net: Network, rows: Sequence[tuple[int, int]]) -> Network:
    """rows: squeezed and expanded channels; () is a pool."""
    for row in rows:
        if not row:
            net.pool(3, 2)
            continue
        squeezed, expanded = row
        net.conv(squeezed)
        net.beside([lambda net, e=expanded: net.conv(e), lambda net, e=expanded: net.conv(e, 3)])
    return net.conv(1000).global_pool()


def squeezenet_1_1(side: int = 224) -> Network:
    rows = [(16, 64), (16, 64), (), (32, 128), (32, 128), (), (48, 192), (48, 192), (64, 256), (64, 256)]
    return fire_modules(Network(side=side).conv(64, 3, 2, padding=0).pool(3, 2), rows)


def squeezenet() -> Network:
    """As Caffe and ncnn have it."""
    return squeezenet_1_1(227)


def squeezenet_1_0() -> Network:
    rows = [(16, 64), (16, 64), (32, 128), (), (32, 128), (48, 192), (48, 192), (64, 256), (), (64, 256)]
    return fire_modules(Network().conv(96, 7, 2, padding=0).pool(3, 2), rows)


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
        return net.concatenated()

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
