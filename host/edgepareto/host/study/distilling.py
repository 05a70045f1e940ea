"""`host distil`: one candidate of a study distilled on request, and both versions scored. The study stays as it is."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import onnx
from edgepareto.host.accuracy import Score, load_dataset, metric_by_name, score
from edgepareto.host.distil import DistilSettings, require_torch
from edgepareto.host.domain import AS_SET, Candidate
from edgepareto.host.domain.distilled import Distillation, DistilledCandidate
from edgepareto.host.errors import DataError, StudyError, WrongUse
from edgepareto.host.export import class_count, input_tensors, read_model
from edgepareto.host.store import StudyIdentity, StudyStore
from edgepareto.host.study.fronts import MODELS_FOLDER, read_fronts
from edgepareto.host.study.model_files import model_file
from edgepareto.host.study.scored_samples import Split, scored_samples, stored_dense
from edgepareto.host.study.teaching import load_teacher

__all__ = ["distil_candidate"]


def distil_candidate(
    study: Path, name: str, settings: DistilSettings, *, folder: Path, tell: Callable[[str], None]
) -> tuple[DistilledCandidate, onnx.ModelProto]:
    """The candidate's 32-bit .onnx model, whatever format it ran in, distilled; of before and after the better one.

    name: an id, which may be shortened while it is unique. folder: where a user's module:function is looked for.
    Raises WrongUse without torch, StudyError and WrongUse where there is no such candidate, DataError where the study's
    samples changed or are gone, EvaluationError where it is not distilled.
    """
    require_torch()
    fronts = read_fronts(study)
    with StudyStore.open_for_reading(study) as store:
        identity = store.identity()
        candidates = store.candidates()
    assert identity is not None, "read_fronts found one"
    dense = fronts.devices[0].dense.candidate
    candidate = _named(candidates.values(), name, study)
    if candidate.genome.is_pruned_like(dense.genome):
        raise WrongUse(f"{candidate.id}: is the unpruned model, which all others are distilled towards; name another")
    way = candidate.genome.deployment
    if way.precision != AS_SET.precision:
        raise WrongUse(
            f"{candidate.id}: is {way.precision}, and what is distilled is a 32-bit model; name a candidate with "
            "the same channels in 32 bits, or search with --distil, which quantises what it distilled"
        )
    models = study / MODELS_FOLDER
    files = [model_file(models, str(one.model_sha256)) for one in (dense, candidate)]
    for file in files:
        if not file.is_file():
            raise StudyError(f"{file}: is gone; make it again with host search --resume")
    unpruned, model = (read_model(file) for file in files)
    tell("asking the unpruned model")
    _require_same_calibration(identity, unpruned, folder)
    teacher = load_teacher(
        unpruned,
        identity.data,
        input_tensors(unpruned),
        images=identity.search.finalist_images,
        is_labelled=settings.label_weight > 0,
        metric=identity.search.metric,
        search_images=identity.search.search_images,
        folder=folder,
        classes=class_count(unpruned),
    )
    from edgepareto.host.distil.distillation import distil  # brings torch

    tell(f"distilling {candidate.id} in {settings.steps} steps on {teacher.taught} samples")
    found = distil(model, teacher, settings)
    tell("scoring both versions")
    before, after = (_scored(candidate, each, identity, models, dense, folder) for each in (model, found.model))
    return DistilledCandidate(
        study=fronts.study,
        model=fronts.model,
        metric=fronts.metric,
        before=before,
        after=after,
        helped=found.helped,
        before_loss=found.before,
        after_loss=found.after,
        taught=teacher.taught,
        judged_by=found.judged_by,
        weights=found.trained,
        seconds=found.seconds,
        distillation=Distillation(
            steps=settings.steps,
            learning_rate=settings.learning_rate,
            temperature=settings.temperature,
            batch=settings.batch,
            seed=settings.seed,
            label_weight=settings.label_weight,
        ),
    ), found.model


def _named(candidates: Iterable[Candidate], name: str, study: Path) -> Candidate:
    """Of those that were made. Raises WrongUse."""
    found = [one for one in candidates if one.id.startswith(name) and one.model_sha256 is not None]
    if len(found) == 1:
        return found[0]
    problem = "fits several candidates" if found else "is no candidate that was made"
    raise WrongUse(f"{study}: {name} {problem}; host front lists the ids of the ones on a front")


def _require_same_calibration(identity: StudyIdentity, model: onnx.ModelProto, folder: Path) -> None:
    source = identity.data.calibration
    assert source is not None, "no study is without"
    found = load_dataset(source, identity.data, input_tensors(model), folder=folder, labelled=False)
    if found.sha256 != identity.calibration_sha256:
        raise DataError(f"{source}: is not the calibration data that the study was begun with")


def _scored(
    candidate: Candidate, model: onnx.ModelProto, identity: StudyIdentity, models: Path, dense: Candidate, folder: Path
) -> Candidate:
    """With the scores of this model in 32 bits. Raises DataError, EvaluationError."""
    unpruned = stored_dense(models, dense)
    metric = metric_by_name(identity.search.metric, folder=folder, dense=unpruned)
    found: dict[Split, Score] = {}
    known = {Split.VALIDATION: identity.validation_sha256, Split.TEST: identity.test_sha256}
    for split, sha256 in known.items():
        if sha256 is None:
            continue
        samples = scored_samples(
            split,
            identity.data,
            input_tensors(model),
            metric=identity.search.metric,
            search_images=identity.search.search_images,
            folder=folder,
            classes=class_count(model),
        )
        if samples.sha256 != sha256:
            raise DataError(f"{samples.source}: is not the {split.value} data that the study was begun with")
        found[split] = score(model.SerializeToString(), samples, metric, dense=unpruned)
    validation, test = found[Split.VALIDATION], found.get(Split.TEST)
    return replace(
        candidate,
        accuracy=validation.value,
        validation_hits=validation.hits,
        divergence=validation.divergence,
        test_accuracy=None if test is None else test.value,
        test_hits=None if test is None else test.hits,
    )
