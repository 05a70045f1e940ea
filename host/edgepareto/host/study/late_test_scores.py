"""Test scores of candidates that came onto a front after the search had ended."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from edgepareto.host.accuracy import metric_by_name, score
from edgepareto.host.domain import Candidate
from edgepareto.host.errors import DataError
from edgepareto.host.export import class_count, input_tensors, read_model
from edgepareto.host.store import StudyIdentity, StudyStore
from edgepareto.host.study.model_files import model_file, scored_file
from edgepareto.host.study.scored_samples import Split, scored_samples, stored_dense

__all__ = ["score_late_members"]


def score_late_members(
    store: StudyStore,
    identity: StudyIdentity,
    candidates: Sequence[Candidate],
    dense: Candidate,
    *,
    models: Path,
    folder: Path,
) -> None:
    """Score and store. dense: the unpruned model. folder: where a user's module:function is looked for.

    Raises DataError where the test data is gone or is no longer what the study was begun with, and what scoring raises.
    """
    if not candidates:
        return
    metric = metric_by_name(identity.search.metric, folder=folder, dense=stored_dense(models, dense))
    for candidate in candidates:
        assert candidate.model_sha256 is not None, "it was measured"
        model = read_model(model_file(models, candidate.model_sha256))
        dataset = scored_samples(
            Split.TEST,
            identity.data,
            input_tensors(model),
            metric=identity.search.metric,
            search_images=identity.search.search_images,
            folder=folder,
            classes=class_count(model),
        )
        if dataset.sha256 != identity.test_sha256:
            raise DataError(f"{identity.data.test}: is not the test data that the study was begun with")
        found = score(scored_file(models, candidate.model_sha256, candidate.genome.deployment), dataset, metric)
        store.save_candidate(replace(candidate, test_accuracy=found.value, test_hits=found.hits))
