"""Loss on the test split of the bundled example, every group cut by the same share, no training step."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from edgepareto.host.accuracy import Dataset, load_dataset, metric_by_name, score
from edgepareto.host.config import DataConfig
from edgepareto.host.export import read_model
from edgepareto.host.pruning import Analysis, PreparedModel, analyse, prepare
from markdown_table import markdown_table

__all__ = ["accuracy_lost"]

EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "fashion_mnist"
NETS = ("resnet.onnx", "mobilenet.onnx")
SEARCH_IMAGES = 512
WAYS = (("obs", "ls"), ("l1", "ls"), ("obs", "moment"), ("l1", "moment"), ("obs", "none"), ("l1", "none"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    lost_points: float
    parameters_kept: float
    recover_s: float
    score_s: float


def accuracy_lost(ratios: tuple[float, ...]) -> str:
    rows = []
    for name in NETS:
        analysis = analyse(read_model(EXAMPLE / name))
        calibration, test = _load("calibration.npz", analysis), _load("test.npz", analysis)
        feed = calibration.first(SEARCH_IMAGES).feed(slice(None))
        prepared = {criterion: prepare(analysis, feed, criterion=criterion) for criterion in ("obs", "l1")}
        dense = score(analysis.model.SerializeToString(), test, metric_by_name("top1"))
        for ratio in ratios:
            trials = [_trial(prepared[criterion], recovery, ratio, test, dense) for criterion, recovery in WAYS]
            best = trials[0]
            rows.append(
                [
                    f"{name}, {100 * dense:.1f} %",
                    f"{ratio:.0%} ({best.parameters_kept:.2f})",
                    *[f"{trial.lost_points:.1f}" for trial in trials],
                    f"{best.recover_s:.2f} s / {best.score_s:.2f} s",
                ]
            )
    header = ["net, dense", "removed (parameters kept)", *[f"{order}, {recovery}" for order, recovery in WAYS]]
    return markdown_table([*header, f"recovery / scoring {len(test):,} images"], rows)


def _trial(prepared: PreparedModel, recovery: str, ratio: float, test: Dataset, dense: float) -> Trial:
    analysis = prepared.analysis
    pruned = prepared.prune(analysis.search_space().uniform(1 - ratio), recovery=recovery)
    start = time.perf_counter()
    accuracy = score(pruned.content, test, metric_by_name("top1"))
    return Trial(
        lost_points=100 * (dense - accuracy),
        parameters_kept=pruned.parameters / analysis.parameters,
        recover_s=pruned.seconds.recover,
        score_s=time.perf_counter() - start,
    )


def _load(name: str, analysis: Analysis) -> Dataset:
    labelled = name != "calibration.npz"
    data = DataConfig(scale=1 / 255)
    return load_dataset(str(EXAMPLE / name), data, analysis.inputs, folder=EXAMPLE, labelled=labelled, classes=10)
