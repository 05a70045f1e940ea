"""How far a model is from the unpruned one, by known answers and beside the formulas as one writes them down."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import numpy as np
import pytest
from edgepareto.host.accuracy import Dataset, DenseModel, Predict, Score, metric_by_name, score
from edgepareto.host.accuracy import dense_model as dense_model_module
from edgepareto.host.accuracy.dense_model import Compared
from edgepareto.host.accuracy.metrics import agreement, top1
from edgepareto.host.domain.paired_accuracy import unpack_hits
from edgepareto.host.errors import DataError, EvaluationError
from fakes.models import classifier
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

Outputs = NDArray[np.generic]
SHAPES = st.tuples(st.integers(1, 130), st.integers(2, 5))
LOGITS = SHAPES.flatmap(lambda shape: arrays(np.float32, (2, *shape), elements=st.floats(-20, 20, width=32)))


def numbered(count: int, labels: NDArray[np.int64] | None = None) -> Dataset:
    """Sample i is the number i."""
    return Dataset(
        source="made up",
        inputs={"x": np.arange(count, dtype=np.float32)[:, None]},
        labels=labels,
        dtypes={"x": np.dtype(np.float32)},
        batches={"x": 1},
        scale=1.0,
        offset=0.0,
        sha256=str(count),
    )


def giving(outputs: Outputs) -> Predict:
    """A model that gives row i for sample i."""
    return lambda inputs: outputs[inputs["x"][:, 0].astype(int)]


def divergence(dense: Outputs, mine: Outputs, *, at_once: int = 500) -> float | None:
    data = numbered(len(dense))
    compared = Compared(giving(mine), DenseModel(lambda: giving(dense)).outputs(data))
    for rows in data.chunks(at_once):
        compared(data.feed(rows))
    return compared.divergence


def softmax(logits: Outputs) -> NDArray[np.float64]:
    powers = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def test_of_two_even_classes_told_three_to_one_the_divergence_is_known():
    even, skewed = np.zeros((4, 2), np.float32), np.tile(np.log(np.float32([3, 1])), (4, 1))
    assert divergence(even, skewed) == pytest.approx(0.5 * math.log(0.5 / 0.75) + 0.5 * math.log(0.5 / 0.25))


@settings(deadline=None)
@given(LOGITS)
def test_the_divergence_is_that_of_the_softmaxes_never_negative_and_zero_for_the_model_itself(both: Outputs):
    dense, mine = both
    p, q = softmax(dense), softmax(mine)
    known = float(np.mean(np.sum(p * (np.log(p) - np.log(q)), axis=1)))
    found = divergence(dense, mine, at_once=7)
    assert found == pytest.approx(known, rel=1e-6, abs=1e-9)
    assert found >= 0
    assert divergence(dense, dense) == 0


def test_shares_that_a_softmax_in_the_model_made_diverge_as_its_logits_do():
    dense, mine = np.random.default_rng(0).normal(size=(2, 50, 4)).astype(np.float32)
    shares = [softmax(logits).astype(np.float32) for logits in (dense, mine)]
    assert divergence(*shares) == pytest.approx(divergence(dense, mine), rel=1e-5)
    log_shares = [np.log(of_model) for of_model in shares]
    assert divergence(*log_shares) == pytest.approx(divergence(dense, mine), rel=1e-5)


def test_a_share_that_rounding_made_zero_costs_a_finite_divergence():
    dense, rounded = np.float32([[0.5, 0.499, 0.001]]), np.float32([[0.5, 0.5, 0.0]])
    found = divergence(dense, rounded)
    assert found is not None
    assert 0 < found < 0.01


@pytest.mark.parametrize("shape", [(1,), (3, 4)], ids=["one number", "a table"])
def test_outputs_that_are_no_classes_diverge_by_their_relative_squared_error(shape: tuple[int, ...]):
    dense, mine = np.random.default_rng(1).normal(3, 2, size=(2, 210, *shape)).astype(np.float32)
    known = np.sum((mine - dense) ** 2) / np.sum((dense - dense.mean(axis=0)) ** 2)
    assert divergence(dense, mine, at_once=33) == pytest.approx(float(known), rel=1e-5)
    mean = np.broadcast_to(dense.mean(axis=0), dense.shape)
    assert divergence(dense, mean) == pytest.approx(1, rel=1e-5)


def test_of_outputs_too_large_to_keep_every_so_many_samples_count(monkeypatch: pytest.MonkeyPatch):
    dense, mine = np.random.default_rng(2).normal(size=(2, 211, 4)).astype(np.float32)
    of_every_third = divergence(dense[::3], mine[::3])
    monkeypatch.setattr(dense_model_module, "MOST_BYTES", 211 * 4 * 8 // 3 + 1)
    kept = DenseModel(lambda: giving(dense)).outputs(numbered(211)).kept
    assert kept is not None
    assert kept.shape == (71, 4)
    assert divergence(dense, mine, at_once=10) == pytest.approx(of_every_third)


@pytest.mark.parametrize(
    ("dense", "mine"),
    [
        (np.ones((5, 3, 2), np.float32), np.ones((5, 3, 2), np.float32)),
        (np.arange(20.0, dtype=np.float32).reshape(5, 4), np.full((5, 4), np.nan, np.float32)),
        (np.full((5, 4), np.inf, np.float32), np.ones((5, 4), np.float32)),
        (np.arange(20.0, dtype=np.float32).reshape(5, 4), np.ones((5, 3), np.float32)),
        (np.arange(5)[:, None], np.arange(5)[:, None]),
    ],
    ids=["all the same", "no numbers", "dense is infinite", "other classes", "integers"],
)
def test_what_cannot_be_told_is_no_number(dense: Outputs, mine: Outputs):
    assert divergence(dense, mine) is None


def test_agreement_is_the_share_of_equal_classes_whatever_the_labels_say():
    dense = np.eye(3, dtype=np.float32)[[0, 1, 2, 0, 1]]
    mine = np.eye(3, dtype=np.float32)[[0, 1, 2, 1, 1]]
    for labels in (None, np.zeros(5, np.int64)):
        found = agreement(DenseModel(lambda: giving(dense)))(giving(mine), numbered(5, labels))
        assert found.value == 4 / 5
        assert found.hits is not None
        assert unpack_hits(found.hits).tolist() == [True, True, True, False, True]


def test_agreement_of_outputs_that_are_no_classes_is_what_they_explain_of_the_dense_ones():
    dense = np.random.default_rng(3).normal(size=(300, 2, 5)).astype(np.float32)
    metric = agreement(DenseModel(lambda: giving(dense)))
    spread = np.sum((dense - dense.mean(axis=0)) ** 2)
    noise = np.random.default_rng(4).normal(size=dense.shape).astype(np.float32)
    half = dense + noise * np.sqrt(spread / 2 / np.sum(noise**2))
    assert metric(giving(dense), numbered(300)) == Score(value=1.0)
    assert metric(giving(half), numbered(300)).value == pytest.approx(0.5, rel=1e-4)
    assert metric(giving(-9 * dense), numbered(300)).value == 0


def test_agreement_refuses_outputs_that_it_cannot_compare():
    whole = np.arange(4)[:, None]
    with pytest.raises(DataError, match=r"compares outputs that are finite floats.* write a metric of your own"):
        agreement(DenseModel(lambda: giving(whole)))(giving(whole), numbered(4))
    constant, broken = np.ones((4, 2, 2), np.float32), np.full((4, 2, 2), np.nan, np.float32)
    for dense, mine in ((constant, constant), (np.arange(16.0).reshape(4, 2, 2), broken)):
        with pytest.raises(EvaluationError, match="metric agreement: the outputs are no finite numbers, have another"):
            agreement(DenseModel(lambda dense=dense: giving(dense)))(giving(mine), numbered(4))


def test_the_divergence_comes_with_any_score_from_the_same_run_of_the_model():
    x = np.random.default_rng(5).random((12, 1, 2, 2), np.float32)
    data = Dataset(
        source="made up",
        inputs={"x": x},
        labels=np.zeros(12, np.int64),
        dtypes={"x": np.dtype(np.float32)},
        batches={"x": 1},
        scale=1.0,
        offset=0.0,
        sha256="",
    )
    model = classifier().SerializeToString()
    logits = x.reshape(12, 4)[:, :3]
    dense = DenseModel(lambda: lambda inputs: 2 * inputs["x"].reshape(-1, 4)[:, :3])
    found = score(model, data, top1, dense=dense)
    assert found.divergence == pytest.approx(divergence(2 * logits, logits))
    assert found.divergence is not None
    assert (found.value, found.hits) == (score(model, data, top1).value, score(model, data, top1).hits)


def test_a_metric_of_the_user_has_a_divergence_of_the_feeds_that_it_hands_on_as_they_are(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    (tmp_path / "metric_of_eve.py").write_text(
        "def backwards(predict, dataset):\n"
        "    return sum(predict(dataset.feed(slice(a, a + 4))).sum() for a in (8, 4, 0))\n"
        "def part(predict, dataset):\n    return predict(dataset.feed(slice(3, 6))).sum()\n"
        "def doubled(predict, dataset):\n"
        "    feed = dataset.feed(slice(None))\n    feed['x'] = feed['x'] * 0\n    return predict(feed).sum()\n"
        "def thinned(predict, dataset):\n    return predict(dataset.feed(slice(0, None, 2))).sum()\n"
        "def none(predict, dataset):\n    return 1\n"
    )
    dense, mine = np.random.default_rng(6).normal(size=(2, 12, 3)).astype(np.float32)
    expected = {
        "backwards": divergence(dense, mine),
        "part": divergence(dense[3:6], mine[3:6]),
        "doubled": None,
        "thinned": None,
        "none": None,
    }
    for name, known in expected.items():
        compared = Compared(giving(mine), DenseModel(lambda: giving(dense)).outputs(numbered(12)))
        metric_by_name(f"metric_of_eve:{name}", folder=tmp_path)(compared, numbered(12))
        assert compared.divergence == (None if known is None else pytest.approx(known)), name
