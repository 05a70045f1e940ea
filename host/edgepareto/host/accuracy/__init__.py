"""How good a model is, on the host: labelled data, metrics, and the runtimes to score with."""

from edgepareto.host.accuracy.dataset import TEACHING, Dataset, InputSpec, load_dataset, uniform_dataset
from edgepareto.host.accuracy.dense_model import DenseModel
from edgepareto.host.accuracy.evaluator import LiteFile, predictor, score
from edgepareto.host.accuracy.feed import Predict
from edgepareto.host.accuracy.metrics import METRICS, Metric, Score, metric_by_name, require_metric

__all__ = [
    "METRICS",
    "TEACHING",
    "Dataset",
    "DenseModel",
    "InputSpec",
    "LiteFile",
    "Metric",
    "Predict",
    "Score",
    "load_dataset",
    "metric_by_name",
    "predictor",
    "require_metric",
    "score",
    "uniform_dataset",
]
