"""What a study starts from, loaded and checked before any board is asked: the model and its data."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import onnx
from edgepareto.host.accuracy import TEACHING, Dataset, load_dataset, require_metric
from edgepareto.host.config import StudyConfig
from edgepareto.host.distil import DISTIL_STEPS
from edgepareto.host.domain import LITERT, DeploymentGenes, PruningSpace, Recipe
from edgepareto.host.errors import ConfigError, ModelError
from edgepareto.host.export import class_count, fix_input_shapes, read_model, require_known_shapes
from edgepareto.host.pruning import Analysis, analyse
from edgepareto.host.study.evaluate_candidate import EvaluationTask
from edgepareto.host.study.fronts import MODELS_FOLDER
from edgepareto.host.study.scored_samples import Split, for_recovery, scored_samples
from edgepareto.host.study.teaching import require_classes

__all__ = ["StudyInputs", "load_inputs", "search_space"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyInputs:
    """branches: whether they may be left out. model: its input shapes fixed. model_sha256: of the model with all its
    weights. test_sha256 None: no test split.
    calibration: unlabelled. distilled_recipe: of the second version that each finalist gets; None: of none. remarks:
    what a user should know of the data, one line each.
    """

    analysis: Analysis
    branches: bool
    model: onnx.ModelProto
    task: EvaluationTask
    model_sha256: str
    calibration: Dataset
    validation_sha256: str
    test_sha256: str | None
    search_recipe: Recipe
    finalist_recipe: Recipe
    distilled_recipe: Recipe | None
    remarks: tuple[str, ...] = ()


def load_inputs(config: StudyConfig) -> StudyInputs:
    """Raises ModelError, DataError, ConfigError: everything that a user can have wrong, in one line."""
    given = read_model(config.model)
    identity = hashlib.sha256(given.SerializeToString(deterministic=True)).hexdigest()  # weights of other files too
    model = fix_input_shapes(given, config.data.shapes)
    require_known_shapes(model)
    require_metric(config.search.metric, folder=config.folder)
    if config.data.calibration is None:
        raise ConfigError(
            "no calibration samples: they repair pruned models; give --calibration, labels are not needed"
        )
    if any(device.runtime == LITERT for device in config.devices):
        from edgepareto.host.export.board_files import require_expressible  # brings LiteRT

        require_expressible(model, str(config.model))
    analysis = analyse(model)
    classes = class_count(model)

    def scored(split: Split) -> Dataset:
        return scored_samples(
            split,
            config.data,
            analysis.inputs,
            metric=config.search.metric,
            search_images=config.search.search_images,
            folder=config.folder,
            classes=classes,
        )

    calibration = load_dataset(
        config.data.calibration, config.data, analysis.inputs, folder=config.folder, labelled=False
    )
    if config.search.distil and config.search.distil_labels:
        require_classes(config.search.metric)
        load_dataset(
            config.data.calibration,
            config.data,
            analysis.inputs,
            folder=config.folder,
            labelled=True,
            purpose=TEACHING,
            classes=classes,
        )
    validation = scored(Split.VALIDATION)
    usable = len(for_recovery(calibration, config.data, config.search.search_images))
    remarks = []
    if config.data.validation is None:
        remarks.append(
            f"no validation data is named: candidates are scored on the {len(validation)} calibration samples that do "
            f"not repair them, the finalists too are repaired with {usable}"
        )

    def recipe(images: int | None) -> Recipe:
        count = usable if images is None else min(images, usable)
        return Recipe(criterion=config.search.criterion, recovery=config.search.recovery, images=count)

    finalist = recipe(config.search.finalist_images)
    distilled = replace(finalist, distil_steps=DISTIL_STEPS, distil_labels=config.search.distil_labels)
    return StudyInputs(
        analysis=analysis,
        branches=config.search.branches,
        model=model,
        task=EvaluationTask(
            model=config.model,
            data=config.data,
            metric=config.search.metric,
            models=config.study / MODELS_FOLDER,
            folder=config.folder,
            search_images=config.search.search_images,
        ),
        model_sha256=identity,
        calibration=calibration,
        validation_sha256=validation.sha256,
        test_sha256=None if config.data.test is None else scored(Split.TEST).sha256,
        search_recipe=recipe(config.search.search_images),
        finalist_recipe=finalist,
        distilled_recipe=distilled if config.search.distil else None,
        remarks=tuple(remarks),
    )


def search_space(
    inputs: StudyInputs, step: int | Sequence[int], device: str, deployments: DeploymentGenes | None = None
) -> PruningSpace:
    """What may vary on a device of this channel step (of all groups, or one per group), and how models run there; None:
    as the device is set. Raises ModelError where no channel can go."""
    analysis = inputs.analysis
    space = analysis.search_space(step, branches=inputs.branches)
    if not space.genes and not space.branches:
        reasons = "; ".join(f"{group.name}: {group.reason}" for group in analysis.frozen)
        raise ModelError(f"{inputs.task.model}: nothing in this model can be pruned ({reasons or 'it has no layers'})")
    if all(len(gene.widths) == 1 for gene in space.genes) and not space.branches:
        steps = str(step) if isinstance(step, int) else ", ".join(map(str, sorted(set(step))))
        widest = max(gene.channels for gene in space.genes)
        raise ModelError(
            f"{inputs.task.model}: nothing to prune in steps of {steps} channels, the widest group has {widest}; "
            f"set a smaller step under [devices.{device}]"
        )
    return space if deployments is None else replace(space, deployments=deployments)
