from __future__ import annotations

import numpy as np
import pytest
from edgepareto.host.pruning.channel_labels import LabelTable
from edgepareto.host.pruning.equal_blocks import balanced_cells
from hypothesis import given, settings
from hypothesis import strategies as st


def test_blocks_that_meet_no_other_promise_lose_one_channel_each_at_a_time():
    table = LabelTable()
    table.balance(table.fresh(12).reshape(3, 4))
    (gene,) = balanced_cells(table.close())
    assert gene.widths == (3, 6, 9, 12)
    assert [cell.tolist() for cell in gene.classes] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]


def test_two_ways_of_dividing_the_same_channels_are_kept_at_once():
    """ShuffleNet: the rows of the first grouped convolution are interleaved into the columns of the second."""
    table = LabelTable()
    labels = table.fresh(24)
    table.balance(labels.reshape(2, 12))
    table.balance(labels.reshape(2, 12).T.reshape(2, 12))
    (gene,) = balanced_cells(table.close())
    assert sorted(len(cell) for cell in gene.classes) == [6, 6, 6, 6]
    assert gene.widths == (4, 8, 12, 16, 20, 24)


def test_unequal_cells_still_give_many_widths():
    """A stream of 24 and 112 channels in four blocks of 34, of which the 112 come from four blocks of 28."""
    table = LabelTable()
    pooled, made = table.fresh(24), table.fresh(112)
    table.balance(made.reshape(4, 28))
    table.balance(np.concatenate([pooled, made]).reshape(4, 34))
    (gene,) = balanced_cells(table.close())
    assert len(gene.widths) >= 16
    assert gene.widths[-1] == 136


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_every_width_keeps_every_promise(data: st.DataObject) -> None:
    table = LabelTable()
    sizes = data.draw(st.lists(st.integers(1, 12), min_size=1, max_size=3), label="tensors")
    tensors = [table.fresh(size) for size in sizes]
    families = []
    for _ in range(data.draw(st.integers(1, 3), label="promises")):
        order = data.draw(st.permutations(np.concatenate(tensors).tolist()), label="order")
        groups = data.draw(st.integers(2, 3), label="blocks")
        length = len(order) // groups
        if length:
            families.append(np.array(order[: groups * length]).reshape(groups, length))
            table.balance(families[-1])
    genes = balanced_cells(table.close())
    assert sorted(np.concatenate([cell for gene in genes for cell in gene.classes]).tolist()) == list(range(sum(sizes)))
    kept = np.zeros(sum(sizes), dtype=bool)
    for gene in genes:
        width = data.draw(st.sampled_from(gene.widths))
        counts = gene.of_width(width)
        assert counts.sum() == width
        for cell, count in zip(gene.classes, counts, strict=True):
            assert 1 <= count <= len(cell)
            kept[cell[:count]] = True
    for family in families:
        assert len(set(kept[family].sum(axis=1).tolist())) == 1
    assert all(kept[labels].any() for labels in tensors)


def test_a_width_in_between_is_refused():
    table = LabelTable()
    table.balance(table.fresh(12).reshape(3, 4))
    (gene,) = balanced_cells(table.close())
    with pytest.raises(AssertionError, match="4 is none of"):
        gene.of_width(4)
