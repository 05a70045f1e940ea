"""What pruning costs in accuracy and time, and what the others take for the same: the tables of docs/benchmarks.md.

    python benchmarks/pruning.py [--quick] [--only accuracy,speed,parameters,memory,onnxsim,coverage]

The rivals (Torch-Pruning with the exporter of torch, onnxsim) are installed into .venv-rivals/ on first use, about
1 GB. All of it, ours and theirs, on one thread. --quick: 3 repeats instead of 7, one ratio, three of the nine light
models.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from rival_environment import PRUNERS, Rivals

SECTIONS = ("accuracy", "speed", "parameters", "memory", "onnxsim", "coverage")
ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    ratios: tuple[float, ...] = (0.3, 0.5, 0.7)
    repeats: int = 7
    light_models: tuple[str, ...] = ()  # none named: all of them

    @classmethod
    def quick(cls) -> Effort:
        return cls(ratios=(0.5,), repeats=3, light_models=("resnet50", "shufflenet", "squeezenet"))


def main() -> None:
    sections, effort = parse_arguments()
    for name in ONE_THREAD:
        os.environ[name] = "1"
    for title, text in results(sections, effort):
        print(f"### {title}\n{text}\n", flush=True)


def parse_arguments(arguments: Sequence[str] | None = None) -> tuple[tuple[str, ...], Effort]:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a first look, in minutes")
    parser.add_argument("--only", default=",".join(SECTIONS), help=f"some of {','.join(SECTIONS)}")
    parsed = parser.parse_args(arguments)
    sections = tuple(parsed.only.split(","))
    unknown = [name for name in sections if name not in SECTIONS]
    if unknown:
        parser.error(f"no section '{unknown[0]}'; known: {', '.join(SECTIONS)}")
    return sections, Effort.quick() if parsed.quick else Effort()


def results(sections: Sequence[str], effort: Effort) -> Iterator[tuple[str, str]]:
    """Title and text of each section, in the order of SECTIONS, as they become known."""
    # numpy reads ONE_THREAD when it is loaded
    from pruning_accuracy import accuracy_lost
    from pruning_architectures import architectures_prunable
    from pruning_light import channels_prunable, light_models, pruned_by_onnxsim
    from pruning_speed import exported_nets, parameters_kept, peak_memory, seconds_per_candidate

    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()))
        if "accuracy" in sections:
            yield "Accuracy lost without training", accuracy_lost(effort.ratios)
        if not {"speed", "parameters", "memory", "onnxsim"}.isdisjoint(sections):
            rivals = stack.enter_context(Rivals(PRUNERS))
            nets = exported_nets(rivals, folder)
        if "speed" in sections:
            yield "Seconds per candidate", seconds_per_candidate(nets, rivals, effort.repeats)
        if "parameters" in sections:
            yield "Parameters kept", parameters_kept(nets, rivals, effort.ratios)
        if "memory" in sections:
            yield "Peak memory", peak_memory(nets)
        light = light_models(folder, effort.light_models) if {"onnxsim", "coverage"} & set(sections) else {}
        if "onnxsim" in sections:
            yield "Against onnxsim, half of the channels", pruned_by_onnxsim({**nets, **light}, rivals)
        if "coverage" in sections:
            yield "Channels that can be pruned", channels_prunable(light)
            yield "Networks of tests/models", architectures_prunable()


if __name__ == "__main__":
    main()
