"""What a study starts from, loaded and checked before any board is asked: the model and its data."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import onnx
from edgepareto.host.accuracy import Dataset, load_dataset, metric_by_name
from edgepareto.host.config import StudyConfig
from edgepareto.host.domain import LITERT, DeploymentGenes, PruningSpace, Recipe
from edgepareto.host.errors import ConfigError, ModelError
from edgepareto.host.export import class_count, fix_input_shapes, read_model, require_known_shapes
from edgepareto.host.pruning import Analysis, analyse
from edgepareto.host.study.evaluate_candidate import EvaluationTask
from edgepareto.host.study.fronts import MODELS_FOLDER

__all__ = ["StudyInputs", "load_inputs", "search_space"]

SEARCH_IMAGES = 512  # finalists are recovered with all (docs: pruning)


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyInputs:
    """model: its input shapes fixed. model_sha256: of the model with all its weights. test_sha256 None: no test split.
    calibration: unlabelled.
    """

    analysis: Analysis
    model: onnx.ModelProto
    task: EvaluationTask
    model_sha256: str
    calibration: Dataset
    validation_sha256: str
    test_sha256: str | None
    search_recipe: Recipe
    finalist_recipe: Recipe


def load_inputs(config: StudyConfig) -> StudyInputs:
    """Raises ModelError, DataError, ConfigError: everything that a user can have wrong, in one line."""
    given = read_model(config.model)
    identity = hashlib.sha256(given.SerializeToString(deterministic=True)).hexdigest()  # weights of other files too
    model = fix_input_shapes(given, config.data.shapes)
    require_known_shapes(model)
    metric_by_name(config.search.metric, folder=config.folder)
    if config.data.calibration is None:
        raise ConfigError(
            "no calibration samples: they repair pruned models; give --calibration, labels are not needed"
        )
    if config.data.validation is None:
        raise ConfigError("no validation samples: candidates are scored on them; give --validation, with labels")
    if any(device.runtime == LITERT for device in config.devices):
        from edgepareto.host.export.board_files import require_expressible  # brings LiteRT

        require_expressible(model, str(config.model))
    analysis = analyse(model)
    classes = class_count(model)

    def load(source: str, labelled: bool) -> Dataset:
        return load_dataset(
            source,
            config.data,
            analysis.inputs,
            folder=config.folder,
            labelled=labelled,
            classes=classes if labelled else None,
        )

    calibration = load(config.data.calibration, False)
    images = min(SEARCH_IMAGES, len(calibration))
    return StudyInputs(
        analysis=analysis,
        model=model,
        task=EvaluationTask(
            model=config.model,
            data=config.data,
            metric=config.search.metric,
            models=config.study / MODELS_FOLDER,
            folder=config.folder,
        ),
        model_sha256=identity,
        calibration=calibration,
        validation_sha256=load(config.data.validation, True).sha256,
        test_sha256=None if config.data.test is None else load(config.data.test, True).sha256,
        search_recipe=Recipe(criterion=config.search.criterion, recovery=config.search.recovery, images=images),
        finalist_recipe=Recipe(
            criterion=config.search.criterion, recovery=config.search.recovery, images=len(calibration)
        ),
    )


def search_space(
    inputs: StudyInputs, step: int | Sequence[int], device: str, deployments: DeploymentGenes | None = None
) -> PruningSpace:
    """What may vary on a device of this channel step (of all groups, or one per group), and how models run there; None:
    as the device is set. Raises ModelError where no channel can go."""
    analysis = inputs.analysis
    if not analysis.groups:
        reasons = "; ".join(f"{group.name}: {group.reason}" for group in analysis.frozen)
        raise ModelError(f"{inputs.task.model}: nothing in this model can be pruned ({reasons or 'it has no layers'})")
    space = analysis.search_space(step)
    if all(len(gene.widths) == 1 for gene in space.genes):
        steps = str(step) if isinstance(step, int) else ", ".join(map(str, sorted(set(step))))
        widest = max(gene.channels for gene in space.genes)
        raise ModelError(
            f"{inputs.task.model}: nothing to prune in steps of {steps} channels, the widest group has {widest}; "
            f"set a smaller step under [devices.{device}]"
        )
    return space if deployments is None else replace(space, deployments=deployments)
