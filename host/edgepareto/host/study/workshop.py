"""The candidates that all devices of a study share: known from the store, or made and scored while boards measure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import CancelledError, Future
from contextlib import suppress
from dataclasses import replace

from edgepareto.host.domain import Candidate, CandidateId, Genome, Recipe, candidate_id
from edgepareto.host.errors import EvaluationError
from edgepareto.host.store import StudyStore
from edgepareto.host.study.evaluate_candidate import Split
from edgepareto.host.study.inputs import StudyInputs
from edgepareto.host.study.model_files import files_of_model
from edgepareto.host.study.preparation import Preparation, Preparer

__all__ = ["Workshop"]


class Workshop:
    """`begin` some, take them from `made` as they come, and `wait` before anything depends on their scores.

    Only the thread that made it calls `begin`, `wait` and `forget`; any thread may take from `made`. A candidate stands
    in the table from the moment it is made, and again with its accuracy: a board may know it before its score is there.
    """

    def __init__(self, inputs: StudyInputs, store: StudyStore, preparation: Preparation) -> None:
        self.candidates: dict[CandidateId, Candidate] = store.candidates()
        self._inputs = inputs
        self._store = store
        self._preparation = preparation
        self._making: dict[CandidateId, Future[None]] = {}
        self._scoring: dict[CandidateId, Future[None]] = {}

    def begin(self, genomes: Iterable[Genome], recipe: Recipe) -> list[CandidateId]:
        """In order. What is known and whose files are there is not made again, what has a score not scored again."""
        base, data = self._inputs.model_sha256, self._inputs.calibration.sha256
        names = []
        for genome in genomes:
            name = candidate_id(base, genome, recipe, data)
            names.append(name)
            if self.is_settled([name]):
                self._begin(name, genome, recipe)
        return names

    def made(self, names: Iterable[CandidateId]) -> Iterator[Candidate]:
        """In order, each as soon as it is made or has failed to be. Raises what ended the preparation."""
        for name in names:
            making = self._making.get(name)
            if making is not None:
                making.result()
            yield self.candidates[name]

    @property
    def in_work(self) -> set[Future[None]]:
        """One future for each stage of each candidate that was begun and is not done."""
        return {future for future in (*self._making.values(), *self._scoring.values()) if not future.done()}

    def is_settled(self, names: Iterable[CandidateId]) -> bool:
        """Nothing of these is in work: each is made and scored, has failed to be, is forgotten or was never begun."""
        stages = (stage.get(name) for name in names for stage in (self._making, self._scoring))
        return all(future is None or future.done() for future in stages)

    def wait(self) -> None:
        """Until everything that was begun is made and scored. Raises what ended the preparation."""
        for future in (*self._making.values(), *self._scoring.values()):
            with suppress(CancelledError):  # forgotten
                future.result()
        self._making.clear()
        self._scoring.clear()

    def forget(self, needed: Collection[CandidateId]) -> None:
        """Of what is in work, begin nothing more but the scores of these."""
        for name, making in self._making.items():
            if name not in needed:
                making.cancel()
                if name in self._scoring:
                    self._scoring[name].cancel()

    def score_on_test(self, names: Iterable[CandidateId]) -> None:
        """What was scored before is not again. Raises EvaluationError."""
        found = [self.candidates[name] for name in dict.fromkeys(names)]
        made: Future[None] = Future()
        made.set_result(None)
        scores = [
            self._preparation.score(made, self._test_of(candidate, candidate.model_sha256))
            for candidate in found
            if candidate.test_accuracy is None and candidate.model_sha256 is not None
        ]
        for score in scores:
            score.result()

    def _begin(self, name: CandidateId, genome: Genome, recipe: Recipe) -> None:
        known = self.candidates.get(name)
        must_be_made = known is None or not self._has_files(known)
        if must_be_made:
            making = self._preparation.make(lambda preparer: self._keep_made(preparer.make(name, genome, recipe)))
        else:
            making = Future()
            making.set_result(None)
        self._making[name] = making
        # What is made again may come out as another file, where libraries or the processor changed.
        if must_be_made or known is None or (known.accuracy is None and known.failure is None):
            self._scoring[name] = self._preparation.score(making, lambda preparer: self._score(preparer, name))

    def _keep_made(self, made: Candidate) -> None:
        """A model file that was lost is made again: its bits follow from its row, which then stays as it is."""
        known = self.candidates.get(made.id)
        if known is None or known.model_sha256 != made.model_sha256:
            self._keep(made)

    def _score(self, preparer: Preparer, name: CandidateId) -> None:
        candidate = self.candidates[name]
        if candidate.model_sha256 is None or candidate.accuracy is not None or candidate.failure is not None:
            return
        try:
            score = preparer.score(candidate.model_sha256, Split.VALIDATION)
        except EvaluationError as error:
            self._keep(replace(candidate, failure=str(error)))
        else:
            self._keep(replace(candidate, accuracy=score.value, validation_hits=score.hits))

    def _test_of(self, candidate: Candidate, sha256: str) -> Callable[[Preparer], None]:
        def score(preparer: Preparer) -> None:
            found = preparer.score(sha256, Split.TEST)
            self._keep(replace(candidate, test_accuracy=found.value, test_hits=found.hits))

        return score

    def _has_files(self, candidate: Candidate) -> bool:
        """Also of one that failed to be made: it has none."""
        if candidate.model_sha256 is None:
            return True
        models = self._inputs.task.models
        return all(
            file.is_file() for file in files_of_model(models, candidate.model_sha256, self._inputs.task.runtimes)
        )

    def _keep(self, candidate: Candidate) -> None:
        self._store.save_candidate(candidate)
        self.candidates[candidate.id] = candidate
