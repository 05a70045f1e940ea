"""Test scores of candidates that came onto a front after the search had ended."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from edgepareto.host.accuracy import load_dataset, metric_by_name, score
from edgepareto.host.domain import Candidate
from edgepareto.host.errors import DataError
from edgepareto.host.export import class_count, input_tensors, read_model
from edgepareto.host.store import StudyIdentity, StudyStore
from edgepareto.host.study.model_files import model_file, scored_file

__all__ = ["score_late_members"]


def score_late_members(
    store: StudyStore, identity: StudyIdentity, candidates: Sequence[Candidate], *, models: Path, folder: Path
) -> None:
    """Score and store. folder: where a user's module:function is looked for.

    Raises DataError where the test data is gone or is no longer what the study was begun with, and what scoring raises.
    """
    if not candidates:
        return
    source = identity.data.test
    if source is None:
        raise DataError("the study names no test data")
    metric = metric_by_name(identity.search.metric, folder=folder)
    for candidate in candidates:
        assert candidate.model_sha256 is not None, "it was measured"
        model = read_model(model_file(models, candidate.model_sha256))
        dataset = load_dataset(
            source, identity.data, input_tensors(model), folder=folder, labelled=True, classes=class_count(model)
        )
        if dataset.sha256 != identity.test_sha256:
            raise DataError(f"{source}: is not the test data that the study was begun with")
        found = score(scored_file(models, candidate.model_sha256, candidate.genome.deployment), dataset, metric)
        store.save_candidate(replace(candidate, test_accuracy=found.value, test_hits=found.hits))
