"""A group's step is what the kernels of all layers that make its channels need in common."""

from __future__ import annotations

from pathlib import Path

import onnx
from edgepareto.host.domain.learned_steps import KernelKind
from edgepareto.host.pruning import Analysis, analyse
from edgepareto.host.pruning.group_steps import group_steps

EXAMPLE = Path(__file__).parents[3] / "examples" / "fashion_mnist"
STEPS = {KernelKind.CONV_3X3: 2, KernelKind.POINTWISE: 3, KernelKind.DEPTHWISE: 5}  # so that a product tells who is in


def analysed(name: str) -> Analysis:
    return analyse(onnx.load(EXAMPLE / name))


def test_an_expanded_block_obeys_its_pointwise_and_its_depthwise_layer() -> None:
    analysis = analysed("mobilenet.onnx")
    steps = dict(zip((group.name for group in analysis.groups), group_steps(analysis, STEPS), strict=True))
    assert steps["/stem/conv/Conv"] == 2
    assert steps["/block1/expand/conv/Conv"] == 15
    assert steps["/block1/project/conv/Conv"] == 3


def test_a_residual_sum_obeys_every_layer_that_is_added() -> None:
    analysis = analysed("resnet.onnx")
    steps = dict(zip((group.name for group in analysis.groups), group_steps(analysis, STEPS), strict=True))
    assert steps["/block2/conv1/conv/Conv"] == 2
    assert steps["/block2/conv2/conv/Conv"] == 6  # with a 1x1 shortcut


def test_of_powers_of_two_the_largest_counts_and_every_gene_is_cut_in_its_own_step() -> None:
    analysis = analysed("mobilenet.onnx")
    kinds = {KernelKind.CONV_3X3: 4, KernelKind.POINTWISE: 8, KernelKind.DEPTHWISE: 16}
    steps = group_steps(analysis, kinds)
    assert set(steps) == {4, 8, 16}
    for gene, step in zip(analysis.search_space(steps).genes, steps, strict=True):
        assert all(width % step == 0 or width == gene.channels for width in gene.widths)
        assert len(gene.widths) == -(-gene.channels // step)
