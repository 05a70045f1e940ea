"""What seconds of training on unlabelled images are worth (docs/distil.md): python benchmarks/distil.py [--ablation]

Both nets of examples/fashion_mnist, every group cut to the same share in steps of 8 and repaired with all 1,024
calibration images; then distilled on these, judged by 500 validation images, scored on the test split. Seconds are the
process's own: run it with OMP_NUM_THREADS=1. Needs the extra distil.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import onnx
from edgepareto.host.accuracy import Dataset, InputSpec, load_dataset, metric_by_name, score
from edgepareto.host.config import DataConfig
from edgepareto.host.distil import DistilSettings
from edgepareto.host.distil.distillation import distil
from edgepareto.host.distil.teacher import Teacher
from edgepareto.host.export import read_model
from edgepareto.host.pruning import PreparedModel, analyse, prepare
from markdown_table import markdown_table

EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "fashion_mnist"
NETS = ("resnet.onnx", "mobilenet.onnx")
RATIOS = (0.6, 0.5, 0.4, 0.3)
STEP = 8
ABLATED_RATIO = 0.4
USUAL = DistilSettings()
ABLATIONS = (
    USUAL,
    *(replace(USUAL, steps=steps) for steps in (100, 150, 400)),
    *(replace(USUAL, learning_rate=rate) for rate in (5e-4, 1e-3, 4e-3)),
    *(replace(USUAL, batch=batch) for batch in (32, 128)),
    *(replace(USUAL, temperature=temperature) for temperature in (1.0, 4.0)),
    *(replace(USUAL, seed=seed) for seed in (1, 2)),
)


@dataclass(frozen=True)
class Net:
    name: str

    @cached_property
    def prepared(self) -> PreparedModel:
        analysis = analyse(read_model(EXAMPLE / self.name))
        return prepare(analysis, self.samples("calibration", analysis.inputs).feed(slice(None)), images=1024)

    @cached_property
    def teacher(self) -> Teacher:
        analysis = self.prepared.analysis
        taught, judges = (self.samples(name, analysis.inputs) for name in ("calibration", "validation"))
        feeds = [each.feed(slice(None)) for each in (taught, judges.spread(500))]
        return Teacher.of(analysis.model, *feeds, has_classes=True)

    @cached_property
    def test(self) -> Dataset:
        return self.samples("test", self.prepared.analysis.inputs)

    def samples(self, name: str, inputs: Sequence[InputSpec]) -> Dataset:
        data = DataConfig(scale=1 / 255)
        return load_dataset(f"{name}.npz", data, inputs, folder=EXAMPLE, labelled=name != "calibration")

    def accuracy(self, model: onnx.ModelProto) -> float:
        return 100 * score(model.SerializeToString(), self.test, metric_by_name("top1")).value

    def pruned(self, ratio: float) -> tuple[onnx.ModelProto, float]:
        """And the share of the MACs that is left."""
        found = self.prepared.prune(self.prepared.analysis.search_space(STEP).uniform(ratio))
        return found.model, found.macs / self.prepared.analysis.macs


def worth() -> str:
    rows = []
    for net in map(Net, NETS):
        dense = net.accuracy(net.prepared.analysis.model)
        for ratio in RATIOS:
            model, macs = net.pruned(ratio)
            began = time.process_time()
            found = distil(model, net.teacher, USUAL)
            seconds = time.process_time() - began
            before, after = net.accuracy(model), net.accuracy(found.model)
            rows.append(
                [
                    f"{net.name}, {dense:.1f} %",
                    f"{ratio:g} ({macs:.2f})",
                    f"{before:.2f} %",
                    f"**{after:.2f} %**",
                    f"{after - before:+.2f}",
                    f"{found.before:.3f}",
                    f"{found.after:.3f}",
                    f"{seconds:.1f} s",
                ]
            )
    header = ["net, dense", "kept per group (MACs)", "pruned", "distilled", "points"]
    return markdown_table([*header, "KL before", "after", "seconds"], rows)


def ablation() -> str:
    rows = []
    nets = [Net(name) for name in NETS]
    models = [net.pruned(ABLATED_RATIO)[0] for net in nets]
    for settings in ABLATIONS:
        changed = [
            f"{name} {getattr(settings, name):g}"
            for name in ("steps", "learning_rate", "batch", "temperature", "seed")
            if getattr(settings, name) != getattr(USUAL, name)
        ]
        row = [", ".join(changed).replace("_", " ") or "as it is"]
        for net, model in zip(nets, models, strict=True):
            began = time.process_time()
            found = distil(model, net.teacher, settings)
            seconds = time.process_time() - began
            row += [f"{net.accuracy(found.model):.2f} %", f"{found.after:.4f}", f"{seconds:.1f} s"]
        rows.append(row)
    return markdown_table(["", *(f"{name} {what}" for name in NETS for what in ("on test", "KL", "seconds"))], rows)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ablation", action="store_true", help="what each setting is worth, at one ratio")
    print(ablation() if parser.parse_args().ablation else worth())
