"""The candidates that all devices of a study share: known from the store, or made and scored while boards measure.

Work is shared by what it depends on: candidates that differ in threads or clock mode alone are one file with one score,
those that differ in format are one pruned model, and in 32 bits one score.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import CancelledError, Future
from contextlib import suppress
from dataclasses import dataclass, replace
from threading import RLock

from edgepareto.host.accuracy import Score
from edgepareto.host.domain import AS_SET, Candidate, CandidateId, Deployment, Genome, Recipe, candidate_id
from edgepareto.host.errors import EvaluationError
from edgepareto.host.store import StudyStore
from edgepareto.host.study.evaluate_candidate import Split
from edgepareto.host.study.inputs import StudyInputs
from edgepareto.host.study.model_files import files_of, is_onnx_file_itself
from edgepareto.host.study.preparation import Preparation, Preparer

__all__ = ["Workshop"]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Build:
    """What is made and scored once: a file. way: without what changes no file; where the .onnx file itself runs, as
    that."""

    widths: tuple[int, ...]
    dropped: tuple[str, ...]
    recipe: Recipe
    way: Deployment

    @classmethod
    def of(cls, genome: Genome, recipe: Recipe) -> _Build:
        way = genome.deployment
        same = AS_SET if is_onnx_file_itself(way) else Deployment(runtime=way.runtime, precision=way.precision)
        return cls(widths=genome.widths, dropped=genome.dropped, recipe=recipe, way=same)

    @property
    def pruned(self) -> _Build:
        return replace(self, way=AS_SET)

    @property
    def scored(self) -> _Build:
        """Whose score it has: in 32 bits the gate has shown that every format is the pruned model."""
        return self.pruned if self.way.precision == AS_SET.precision else self


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
        self._named: dict[_Build, dict[CandidateId, Genome]] = {}
        self._formats: dict[_Build, dict[_Build, None]] = {}  # by pruned model
        self._builds: dict[CandidateId, _Build] = {}
        self._making: dict[_Build, Future[None]] = {}
        self._scoring: dict[_Build, Future[None]] = {}
        self._lock = RLock()  # over candidates and the names of a build
        for candidate in self.candidates.values():
            self._enter(candidate.id, candidate.genome, _Build.of(candidate.genome, candidate.recipe))

    def begin(self, genomes: Iterable[Genome], recipe: Recipe, *, is_awaited: bool = False) -> list[CandidateId]:
        """In order. What is known and whose files are there is not made again, what has a score not scored again.

        is_awaited: a board waits for the scores.
        """
        base, data = self._inputs.model_sha256, self._inputs.calibration.sha256
        names = []
        for genome in genomes:
            name = candidate_id(base, genome, recipe, data)
            names.append(name)
            build = _Build.of(genome, recipe)
            with self._lock:
                self._enter(name, genome, build)
                self._take_over(name, genome, build)
            if self._is_settled(build):
                self._begin(name, genome, build, is_awaited)
        return names

    def made(self, names: Iterable[CandidateId]) -> Iterator[Candidate]:
        """In order, each as soon as it is made or has failed to be. Raises what ended the preparation."""
        for name in names:
            making = self._making.get(self._builds[name])
            if making is not None:
                making.result()
            yield self.candidates[name]

    def scored(self, names: Iterable[CandidateId]) -> Iterator[Candidate]:
        """As `made`, each as soon as it has its score, or has failed to be made or scored."""
        for candidate in self.made(names):
            scoring = self._scoring.get(self._builds[candidate.id])
            if scoring is not None:
                scoring.result()
            yield self.candidates[candidate.id]

    @property
    def in_work(self) -> set[Future[None]]:
        """One future for each stage of each candidate that was begun and is not done."""
        return {future for future in (*self._making.values(), *self._scoring.values()) if not future.done()}

    def is_settled(self, names: Iterable[CandidateId]) -> bool:
        """Nothing of these is in work: each is made and scored, has failed to be, is forgotten or was never begun."""
        return all(self._is_settled(self._builds[name]) for name in names if name in self._builds)

    def wait(self) -> None:
        """Until everything that was begun is made and scored. Raises what ended the preparation."""
        for future in (*self._making.values(), *self._scoring.values()):
            with suppress(CancelledError):  # forgotten
                future.result()
        self._making.clear()
        self._scoring.clear()

    def forget(self, needed: Collection[CandidateId]) -> None:
        """Of what is in work, begin nothing more but the scores of these."""
        builds = {self._builds[name] for name in needed if name in self._builds}
        for build, making in self._making.items():
            if build not in builds:
                making.cancel()
                if build in self._scoring:
                    self._scoring[build].cancel()

    def score_on_test(self, names: Iterable[CandidateId]) -> None:
        """What was scored before is not again. Raises EvaluationError."""
        wanted = [self.candidates[name] for name in names]
        found = {self._builds[c.id].scored: c.model_sha256 for c in wanted if c.test_accuracy is None}
        made: Future[None] = Future()
        made.set_result(None)
        scores = [
            self._preparation.score(made, self._test_of(build, sha256))
            for build, sha256 in found.items()
            if sha256 is not None
        ]
        for score in scores:
            score.result()

    def _is_settled(self, build: _Build) -> bool:
        stages = (stage.get(build) for stage in (self._making, self._scoring))
        return all(future is None or future.done() for future in stages)

    def _enter(self, name: CandidateId, genome: Genome, build: _Build) -> None:
        self._builds[name] = build
        self._named.setdefault(build, {})[name] = genome
        self._formats.setdefault(build.pruned, {})[build] = None

    def _take_over(self, name: CandidateId, genome: Genome, build: _Build) -> None:
        """What is known of the same file under another name."""
        known = self._known(build)
        if known is not None and name not in self.candidates:
            self._keep(replace(known, id=name, genome=genome))

    def _known(self, build: _Build) -> Candidate | None:
        """A candidate that is this file, the one with most known of it."""
        found = [self.candidates[name] for name in self._named.get(build, ()) if name in self.candidates]
        return max(found, key=lambda c: (c.accuracy is not None, c.test_accuracy is not None), default=None)

    def _begin(self, name: CandidateId, genome: Genome, build: _Build, is_awaited: bool) -> None:
        known = self.candidates.get(name)
        must_be_made = known is None or not self._has_files(known)
        if must_be_made:
            making = self._preparation.make(lambda preparer: self._make(preparer, name, genome, build))
        else:
            making = Future()
            making.set_result(None)
        self._making[build] = making
        # What is made again may come out as another file, where libraries or the processor changed.
        if must_be_made or known is None or (known.accuracy is None and known.failure is None):
            self._scoring[build] = self._preparation.score(
                making, lambda preparer: self._score(preparer, name, build), is_awaited=is_awaited
            )

    def _make(self, preparer: Preparer, name: CandidateId, genome: Genome, build: _Build) -> None:
        """A model file that was lost is made again: its bits follow from its row, which then stays as it is."""
        with self._lock:
            pruned = self._pruned(build)
        made = preparer.make(name, genome, build.recipe, pruned)
        with self._lock:
            for other, same in self._named[build].items():
                known = self.candidates.get(other)
                if known is None or known.model_sha256 != made.model_sha256:
                    self._keep(replace(made, id=other, genome=same))

    def _pruned(self, build: _Build) -> Candidate | None:
        """The same channels, maybe in another format, whose .onnx file is there: only the conversion is left to do."""
        for other in self._formats[build.pruned]:
            known = self._known(other)
            if known is not None and known.model_sha256 is not None and self._are_there(known.model_sha256, AS_SET):
                return known
        return None

    def _score(self, preparer: Preparer, name: CandidateId, build: _Build) -> None:
        candidate = self.candidates[name]
        if candidate.model_sha256 is None or candidate.accuracy is not None or candidate.failure is not None:
            return
        with self._lock:
            score = self._known_score(build, candidate.model_sha256)
        try:
            if score is None:
                score = preparer.score(candidate.model_sha256, build.way, Split.VALIDATION)
        except EvaluationError as error:
            failure = str(error)
            self._change([build], lambda known: replace(known, failure=failure))
        else:
            value, hits, apart = score.value, score.hits, score.divergence
            self._change([build], lambda known: replace(known, accuracy=value, validation_hits=hits, divergence=apart))

    def _known_score(self, build: _Build, sha256: str) -> Score | None:
        """Of this file, or of another format with the same score."""
        for known in (self._known(other) for other in self._scored_alike(build)):
            if known is not None and known.accuracy is not None and known.model_sha256 == sha256:
                return Score(value=known.accuracy, hits=known.validation_hits, divergence=known.divergence)
        return None

    def _scored_alike(self, build: _Build) -> list[_Build]:
        return [other for other in self._formats[build.pruned] if other.scored == build.scored]

    def _test_of(self, build: _Build, sha256: str) -> Callable[[Preparer], None]:
        def score(preparer: Preparer) -> None:
            found = preparer.score(sha256, build.way, Split.TEST)
            self._change(
                self._scored_alike(build),
                lambda known: (
                    replace(known, test_accuracy=found.value, test_hits=found.hits)
                    if known.model_sha256 == sha256
                    else known
                ),
            )

        return score

    def _has_files(self, candidate: Candidate) -> bool:
        """Also of one that failed to be made: it has none."""
        if candidate.model_sha256 is None:
            return True
        return self._are_there(candidate.model_sha256, candidate.genome.deployment)

    def _are_there(self, sha256: str, way: Deployment) -> bool:
        return all(file.is_file() for file in files_of(self._inputs.task.models, sha256, way))

    def _change(self, builds: Iterable[_Build], change: Callable[[Candidate], Candidate]) -> None:
        """Every candidate in the table that is one of these files."""
        with self._lock:
            for name in (name for build in builds for name in self._named[build]):
                if name in self.candidates:
                    self._keep(change(self.candidates[name]))

    def _keep(self, candidate: Candidate) -> None:
        self._store.save_candidate(candidate)
        self.candidates[candidate.id] = candidate
