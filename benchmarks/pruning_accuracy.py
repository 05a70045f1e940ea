"""Loss on the test split of the bundled example, every group cut by the same share, no training step."""

from __future__ import annotations

import statistics
import time
from pathlib import Path

from edgepareto.host.accuracy import Dataset, load_dataset, metric_by_name, score
from edgepareto.host.config import DataConfig
from edgepareto.host.domain import Genome
from edgepareto.host.export import read_model
from edgepareto.host.pruning import Analysis, PreparedModel, analyse, prepare
from markdown_table import markdown_table

__all__ = ["accuracy_lost"]

EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "fashion_mnist"
NETS = ("resnet.onnx", "mobilenet.onnx")
SEARCH_IMAGES = 512
REPEATS = 5
WAYS = (("obs", "ls"), ("l1", "ls"), ("obs", "moment"), ("l1", "moment"), ("obs", "none"), ("l1", "none"))


def accuracy_lost(ratios: tuple[float, ...]) -> str:
    rows = []
    for name in NETS:
        analysis = analyse(read_model(EXAMPLE / name))
        calibration, test = _load("calibration.npz", analysis), _load("test.npz", analysis)
        feed = calibration.first(SEARCH_IMAGES).feed(slice(None))
        prepared = {criterion: prepare(analysis, feed, criterion=criterion) for criterion in ("obs", "l1")}
        dense = score(analysis.model.SerializeToString(), test, metric_by_name("top1")).value
        for ratio in ratios:
            genome = analysis.search_space().uniform(1 - ratio)
            candidates = [prepared[criterion].prune(genome, recovery=recovery) for criterion, recovery in WAYS]
            accuracies = [score(candidate.content, test, metric_by_name("top1")).value for candidate in candidates]
            rows.append(
                [
                    f"{name}, {100 * dense:.1f} %",
                    f"{ratio:.0%} ({candidates[0].parameters / analysis.parameters:.2f})",
                    *[f"{100 * (dense - accuracy):.1f}" for accuracy in accuracies],
                    _recovery_and_scoring(prepared["obs"], genome, test),
                ]
            )
    header = ["net, dense", "removed (parameters kept)", *[f"{order}, {recovery}" for order, recovery in WAYS]]
    return markdown_table([*header, f"recovery / scoring {len(test):,} images"], rows)


def _recovery_and_scoring(prepared: PreparedModel, genome: Genome, test: Dataset) -> str:
    """Medians, in turn."""
    recoveries, scorings = [], []
    for _ in range(REPEATS):
        candidate = prepared.prune(genome, recovery="ls")
        recoveries.append(candidate.seconds.recover)
        start = time.perf_counter()
        score(candidate.content, test, metric_by_name("top1"))
        scorings.append(time.perf_counter() - start)
    return f"{statistics.median(recoveries):.2f} s / {statistics.median(scorings):.2f} s"


def _load(name: str, analysis: Analysis) -> Dataset:
    labelled = name != "calibration.npz"
    data = DataConfig(scale=1 / 255)
    return load_dataset(str(EXAMPLE / name), data, analysis.inputs, folder=EXAMPLE, labelled=labelled, classes=10)
