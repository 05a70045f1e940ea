"""How good a model is, on the host: labelled data, metrics, and the runtimes to score with."""

from edgepareto.host.accuracy.dataset import Dataset, InputSpec, load_dataset, uniform_dataset
from edgepareto.host.accuracy.evaluator import LiteFile, predictor, score
from edgepareto.host.accuracy.metrics import METRICS, Metric, Predict, Score, metric_by_name

__all__ = [
    "METRICS",
    "Dataset",
    "InputSpec",
    "LiteFile",
    "Metric",
    "Predict",
    "Score",
    "load_dataset",
    "metric_by_name",
    "predictor",
    "score",
    "uniform_dataset",
]
