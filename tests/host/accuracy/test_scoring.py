from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from edgepareto.host.accuracy import Dataset, Score, load_dataset, metric_by_name, predictor, score
from edgepareto.host.accuracy.metrics import precision, top1
from edgepareto.host.config import DataConfig
from edgepareto.host.domain.paired_accuracy import unpack_hits
from edgepareto.host.errors import ConfigError, DataError, EvaluationError
from edgepareto.host.export import input_tensors
from fakes.models import batchless, classifier
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import ModelProto

LABELS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=40)


def predicting(classes: int, predicted: list[int]):
    """A model that gives these answers whatever it is fed."""
    return lambda inputs: np.eye(classes)[predicted]


def labelled(labels: list[int]) -> Dataset:
    return Dataset(
        source="made up",
        inputs={"x": np.zeros((len(labels), 1), np.float32)},
        labels=np.array(labels, np.int64),
        dtypes={"x": np.dtype(np.float32)},
        batches={"x": 1},
        scale=1.0,
        offset=0.0,
        sha256="",
    )


def samples(folder: Path, model: ModelProto, x: NDArray[np.generic], y: list[int]) -> Dataset:
    np.savez(folder / "data.npz", x=x, y=np.array(y))
    return load_dataset("data.npz", DataConfig(), input_tensors(model), folder=folder, labelled=True)


def test_precision_of_two_classes_is_that_of_the_positive_one():
    # TP = 2, FP = 1
    assert precision(predicting(2, [1, 1, 1, 0, 0]), labelled([1, 1, 0, 1, 0])).value == 2 / 3
    assert precision(predicting(2, [0, 0]), labelled([1, 0])).value == 0


def test_precision_of_more_classes_is_their_mean_and_a_class_given_up_counts_as_zero():
    # class 0: 2 of 3 predictions right; class 1: 1 of 1; class 2: never predicted although it occurs; class 3: absent
    assert precision(predicting(4, [0, 0, 0, 1]), labelled([0, 0, 2, 1])).value == pytest.approx((2 / 3 + 1 + 0) / 3)


@given(LABELS)
def test_metrics_agree_with_counting_by_hand(pairs: list[tuple[int, int]]):
    predicted, labels = [p for p, _ in pairs], [y for _, y in pairs]
    assert top1(predicting(4, predicted), labelled(labels)).value == pytest.approx(
        sum(p == y for p, y in pairs) / len(pairs)
    )
    per_class = []
    for c in set(predicted) | set(labels):
        positives = [y for p, y in pairs if p == c]
        per_class.append(positives.count(c) / len(positives) if positives else 0.0)
    assert precision(predicting(4, predicted), labelled(labels)).value == pytest.approx(sum(per_class) / len(per_class))


@pytest.mark.parametrize("batch", ["N", 1, 4], ids=["symbolic", "one", "four"])
def test_the_score_does_not_depend_on_how_the_samples_are_batched(tmp_path: Path, batch: int | str):
    x = np.random.default_rng(5).random((11, 1, 2, 2), np.float32)
    y = x.reshape(11, 4)[:, :3].argmax(axis=1)
    y[3] = (y[3] + 1) % 3
    model = classifier(batch)
    dataset = samples(tmp_path, model, x, y.tolist())
    scores = {score(model.SerializeToString(), dataset, top1, batch=size) for size in (1, 3, 100)}
    (found,) = scores
    assert found.value == 10 / 11
    assert found.hits is not None
    assert unpack_hits(found.hits).tolist() == [i != 3 for i in range(11)]


def test_an_input_without_a_batch_axis_is_run_sample_by_sample():
    rows = np.arange(6, dtype=np.float32).reshape(2, 3)
    doubled = predictor(batchless().SerializeToString())({"x": rows})
    np.testing.assert_array_equal(doubled, 2 * rows)


def test_a_file_gives_the_same_score_as_its_bytes(tmp_path: Path):
    dataset = samples(tmp_path, classifier(), np.eye(3, 4, dtype=np.float32).reshape(3, 1, 2, 2), [0, 1, 1])
    (tmp_path / "m.onnx").write_bytes(classifier().SerializeToString())
    assert score(tmp_path / "m.onnx", dataset, top1).value == 2 / 3


def test_a_model_that_the_runtime_refuses_is_an_evaluation_error(tmp_path: Path):
    model = classifier()
    model.graph.node[0].op_type = "NoSuchOperator"
    dataset = samples(tmp_path, classifier(), np.zeros((1, 1, 2, 2), np.float32), [0])
    with pytest.raises(EvaluationError, match="ONNX Runtime does not load the model"):
        score(model.SerializeToString(), dataset, top1)


def test_an_unknown_metric_is_told_with_the_known_ones():
    with pytest.raises(
        ConfigError, match="metric top5 is not known; choose top1, precision, agreement or module:function"
    ):
        metric_by_name("top5")


def test_a_built_in_metric_refuses_outputs_that_are_no_classes():
    with pytest.raises(DataError, match=r"first output is \(samples, classes\), this one gives \(2, 1\)"):
        top1(lambda inputs: np.zeros((2, 1)), labelled([0, 1]))


def test_a_metric_of_the_user_gets_the_model_and_the_data_and_must_return_a_number(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    (tmp_path / "metric_of_ada.py").write_text(
        "def share(predict, dataset):\n"
        "    return (predict(dataset.feed(slice(None))).argmax(1) == dataset.labels).mean()\n"
        "def nothing(predict, dataset):\n    return None\n"
        "def broken(predict, dataset):\n    return dataset['x']\n"
    )
    args = predicting(3, [0, 1, 2, 2]), labelled([0, 1, 2, 0])
    assert metric_by_name("metric_of_ada:share", folder=tmp_path)(*args) == Score(value=0.75, hits=None)
    with pytest.raises(EvaluationError, match="returned None; it must return a finite number"):
        metric_by_name("metric_of_ada:nothing", folder=tmp_path)(*args)
    with pytest.raises(EvaluationError, match="raised TypeError"):
        metric_by_name("metric_of_ada:broken", folder=tmp_path)(*args)
