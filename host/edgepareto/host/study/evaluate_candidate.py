"""One candidate in two stages: made (pruned, recovered, written with what a board must answer), then scored. Between
them it is converted, where it runs in another format.

A board needs the first alone, so it measures while the host scores.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import onnx
from edgepareto.host.accuracy import Dataset, DenseModel, Score, load_dataset, metric_by_name, predictor, score
from edgepareto.host.config import DataConfig
from edgepareto.host.distil import DistilSettings
from edgepareto.host.distil.teacher import Teacher
from edgepareto.host.domain import LITERT, Candidate, CandidateId, Deployment, Genome, Recipe
from edgepareto.host.errors import EvaluationError
from edgepareto.host.export import class_count, expected_outputs, fix_input_shapes, read_model, write_whole
from edgepareto.host.pruning import PreparedModel, analyse, prepare
from edgepareto.host.study.model_files import (
    expected_outputs_file,
    inputs_file,
    is_onnx_file_itself,
    model_file,
    scored_file,
    tensors_file,
)
from edgepareto.host.study.scored_samples import Split, for_recovery, scored_samples
from edgepareto.host.study.teaching import load_teacher
from numpy.typing import NDArray

__all__ = ["CandidateEvaluator", "EvaluationTask", "Split"]


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationTask:
    """What all candidates of a study share. folder: what relative sources and a user's modules are relative to.

    models: the folder for model files and expected outputs; it holds the sample inputs already. search_images: as in
    SearchConfig.
    """

    model: Path
    data: DataConfig
    metric: str
    models: Path
    folder: Path
    search_images: int

    def to_json(self) -> str:
        return json.dumps(asdict(self), default=str)

    @classmethod
    def from_json(cls, text: str) -> EvaluationTask:
        raw = json.loads(text)
        shapes = tuple((name, tuple(sizes)) for name, sizes in raw["data"]["shapes"])
        return cls(
            model=Path(raw["model"]),
            data=DataConfig(**{**raw["data"], "shapes": shapes}),
            metric=raw["metric"],
            models=Path(raw["models"]),
            folder=Path(raw["folder"]),
            search_images=raw["search_images"],
        )


class CandidateEvaluator:
    """Deterministic where numpy's BLAS uses one thread. Not safe for several threads at once."""

    def __init__(self, task: EvaluationTask) -> None:
        """Loads the base model and its data. Raises ModelError, DataError, ConfigError."""
        model = fix_input_shapes(read_model(task.model), task.data.shapes)
        self._task = task
        self._analysis = analyse(model)
        self._classes = class_count(model)
        content = model.SerializeToString()
        self._dense = DenseModel(lambda: predictor(content))
        self._metric = metric_by_name(task.metric, folder=task.folder, dense=self._dense)
        self._calibration = self._recovery_samples()
        self._scored: dict[Split, Dataset] = {}
        self._prepared: dict[tuple[str, int], PreparedModel] = {}
        self._teachers: dict[tuple[int, bool], Teacher] = {}

    def make(self, candidate: CandidateId, genome: Genome, recipe: Recipe) -> Candidate:
        """Pruned, not yet in another format nor scored. Its files are in the models folder when this returns; a failure
        of its own is in the result.

        Raises OSError where a file cannot be written.
        """
        try:
            pruned = self._model(recipe).prune(genome, recovery=recipe.recovery)
            model = self._distilled(pruned.model, recipe) if recipe.is_distilled else pruned.model
            content = model.SerializeToString(deterministic=True)
            sha256 = hashlib.sha256(content).hexdigest()
            file = model_file(self._task.models, sha256)
            write_whole(file, content)
            expected_outputs(file, inputs_file(self._task.models), expected_outputs_file(self._task.models, sha256))
        except EvaluationError as error:
            return Candidate(id=candidate, genome=genome, recipe=recipe, failure=str(error))
        return Candidate(
            id=candidate,
            genome=genome,
            recipe=recipe,
            macs=pruned.macs,
            parameters=pruned.parameters,
            model_sha256=sha256,
        )

    def convert(self, pruned: Candidate) -> Candidate:
        """A made candidate with the file of its own format, the .onnx file itself among them.

        Raises OSError where a file cannot be written.
        """
        way, sha256 = pruned.genome.deployment, pruned.model_sha256
        if sha256 is None:
            return pruned
        error = None
        try:
            if not is_onnx_file_itself(way):
                error = self._write_lite(sha256, way) if way.runtime == LITERT else self._write_int8(sha256, way)
        except EvaluationError as failure:
            return replace(pruned, failure=str(failure), model_sha256=None)
        size = model_file(self._task.models, sha256, way).stat().st_size
        return replace(pruned, output_error=error, bytes=size)

    def _write_lite(self, sha256: str, way: Deployment) -> float:
        from edgepareto.host.export.board_files import write_lite_files  # brings LiteRT

        models = self._task.models
        return write_lite_files(
            model_file(models, sha256),
            inputs_file(models),
            expected_outputs_file(models, sha256),
            lite_model=model_file(models, sha256, way),
            lite_inputs=inputs_file(models, way),
            lite_expected=expected_outputs_file(models, sha256, way),
            lite_tensors=tensors_file(models, sha256, way),
            precision=way.precision,
            calibration=self._ranges if way.precision == "int8" else (),
        )

    def _write_int8(self, sha256: str, way: Deployment) -> float:
        from edgepareto.host.export.board_files import write_int8_onnx

        models = self._task.models
        return write_int8_onnx(
            model_file(models, sha256),
            inputs_file(models),
            expected_outputs_file(models, sha256),
            self._ranges,
            int8_model=model_file(models, sha256, way),
            int8_expected=expected_outputs_file(models, sha256, way),
        )

    @cached_property
    def _ranges(self) -> list[dict[str, NDArray[np.generic]]]:
        """The calibration samples that int8 learns its ranges from, one run each."""
        from edgepareto.host.export.quantize import CALIBRATION_SAMPLES

        assert self._calibration is not None, "checked before a search begins"
        return self._calibration.run_feeds(CALIBRATION_SAMPLES)

    def score(self, sha256: str, way: Deployment, split: Split) -> Score:
        """A made model's score, of the very file that runs. Raises EvaluationError."""
        task = self._task
        if split not in self._scored:
            self._scored[split] = scored_samples(
                split,
                task.data,
                self._analysis.inputs,
                metric=task.metric,
                search_images=task.search_images,
                folder=task.folder,
                classes=self._classes,
            )
        dense = self._dense if split is Split.VALIDATION else None
        return score(scored_file(task.models, sha256, way), self._scored[split], self._metric, dense=dense)

    def _model(self, recipe: Recipe) -> PreparedModel:
        key = (recipe.criterion, recipe.images)
        if key not in self._prepared:
            assert self._calibration is not None, "checked before a search begins"
            calibration = self._calibration.spread(recipe.images).feed(slice(None))
            self._prepared = {  # one at a time: a prepared model holds the dense activations
                key: prepare(self._analysis, calibration, criterion=recipe.criterion, images=recipe.images)
            }
        return self._prepared[key]

    def _distilled(self, model: onnx.ModelProto, recipe: Recipe) -> onnx.ModelProto:
        """Raises EvaluationError where it is not distilled, or is no better for it."""
        from edgepareto.host.distil.distillation import distil  # brings torch

        data = self._task.data
        assert data.calibration is not None, "checked before a search begins"
        key = (recipe.images, recipe.distil_labels > 0)
        if key not in self._teachers:
            self._teachers = {
                key: load_teacher(
                    self._analysis.model,
                    data,
                    self._analysis.inputs,
                    images=recipe.images,
                    is_labelled=recipe.distil_labels > 0,
                    metric=self._task.metric,
                    search_images=self._task.search_images,
                    folder=self._task.folder,
                    classes=self._classes,
                )
            }
        settings = DistilSettings(steps=recipe.distil_steps, label_weight=recipe.distil_labels)
        found = distil(model, self._teachers[key], settings)
        if not found.helped:
            raise EvaluationError("not distilled: training brought it no nearer to the unpruned model")
        return found.model

    def _recovery_samples(self) -> Dataset | None:
        data = self._task.data
        if data.calibration is None:
            return None
        loaded = load_dataset(data.calibration, data, self._analysis.inputs, folder=self._task.folder, labelled=False)
        return for_recovery(loaded, data, self._task.search_images)
