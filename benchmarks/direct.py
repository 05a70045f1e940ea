"""Candidates evaluated without a board process, for comparing algorithms on equal terms: the product's own pruning,
recovery and scores, and a simulated board's latency without its noise.

What was evaluated once is kept in a file, by candidate id: algorithms that ask for the same network share it.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from edgepareto.agent.runtime.runtime import RuntimeOptions
from edgepareto.agent.simulation.operators import list_operators
from edgepareto.agent.simulation.profile import load_profile
from edgepareto.host.config import Flags, read_settings
from edgepareto.host.domain import Genome, PruningSpace, Recipe, candidate_id
from edgepareto.host.export import write_sample_inputs
from edgepareto.host.pruning import RECOVERY_VERSION
from edgepareto.host.search import Outcome
from edgepareto.host.study.evaluate_candidate import CandidateEvaluator, Split
from edgepareto.host.study.inputs import load_inputs
from edgepareto.host.study.model_files import inputs_file, model_file

__all__ = ["Direct", "Evaluated"]

EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "fashion_mnist"


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluated:
    """error: the share of wrong samples, of the validation split; of a finalist, of the test split. divergence: from
    the dense model, on the same samples."""

    error: float
    latency_s: float
    divergence: float | None = None

    @property
    def costs(self) -> tuple[float, float]:
        return self.error, math.log(self.latency_s)


class Direct:
    """One example net on one simulated board, one thread."""

    def __init__(self, model: str, folder: Path, *, board: str = "raspberry-pi-4b") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        flags = Flags(model=str(EXAMPLE / model), study=str(folder), devices=("pi1",), distil=True)
        config = read_settings(EXAMPLE / "edgepareto.toml", flags).study_config()
        self.inputs = load_inputs(config)
        self.inputs.task.models.mkdir(exist_ok=True)
        write_sample_inputs(self.inputs.calibration, 8, inputs_file(self.inputs.task.models))
        profile = load_profile(board)
        options = RuntimeOptions(name="onnxruntime", threads=1, provider="CPUExecutionProvider")
        self._table = profile.costs_of(options).table
        self._validation = len(np.load(EXAMPLE / "validation.npz")["y"])
        self._evaluator = CandidateEvaluator(self.inputs.task)
        self._without_labels = CandidateEvaluator(replace(self.inputs.task, metric="agreement"))
        self._feed = {name: np.asarray(value[:1]) for name, value in self.inputs.calibration.feed(slice(0, 1)).items()}
        self._kept = folder / "evaluated.jsonl"
        self._known: dict[str, Evaluated] = {}
        if self._kept.exists():
            for line in self._kept.read_text().splitlines():
                row = json.loads(line)
                key = row.pop("key")
                self._known[key] = Evaluated(**row)

    def space(self, *, branches: bool = True) -> PruningSpace:
        """In the board's own channel steps."""
        return self.inputs.analysis.search_space(self._table.channel_step, branches=branches)

    def outcome(self, genome: Genome, found: Evaluated) -> Outcome[Genome]:
        noise = math.sqrt(max(found.error * (1 - found.error), 1e-4) / self._validation)
        return Outcome(genome=genome, costs=found.costs, noise=noise, relative=found.divergence)

    def evaluate(self, genome: Genome, *, labels: bool = True) -> Evaluated:
        """As a search sees it: recovered with the search's images, scored on the validation split, without labels by
        how often it says the same as the dense model."""
        return self._evaluated(genome, self.inputs.search_recipe, Split.VALIDATION, labels=labels)

    def finalist(self, genome: Genome) -> Evaluated:
        """As a user gets it: recovered with the finalists' images, told by the test split."""
        return self._evaluated(genome, self.inputs.finalist_recipe, Split.TEST)

    def distilled(self, genome: Genome) -> Evaluated:
        """A finalist, distilled on the unlabelled calibration images; as it was where that brings it no nearer."""
        assert self.inputs.distilled_recipe is not None
        return self._evaluated(genome, self.inputs.distilled_recipe, Split.TEST)

    def _evaluated(self, genome: Genome, recipe: Recipe, split: Split, *, labels: bool = True) -> Evaluated:
        name = candidate_id(self.inputs.model_sha256, genome, recipe, self.inputs.calibration.sha256)
        key = f"{name}/{split.value}/recovery-{RECOVERY_VERSION}{'' if labels else '/agreement'}"
        if key in self._known:
            return self._known[key]
        evaluator = self._evaluator if labels else self._without_labels
        candidate = evaluator.make(name, genome, recipe)
        if candidate.failure is not None and recipe.is_distilled:
            return self.finalist(genome)
        assert candidate.model_sha256 is not None, candidate.failure
        file = model_file(self.inputs.task.models, candidate.model_sha256)
        score = evaluator.score(candidate.model_sha256, genome.deployment, split)
        found = Evaluated(
            error=1 - score.value,
            latency_s=self._table.latency_s(list_operators(file, self._feed), 1),
            divergence=score.divergence,
        )
        file.unlink()
        self._known[key] = found
        with self._kept.open("a") as out:
            out.write(json.dumps({"key": key, **asdict(found)}) + "\n")
        return found
