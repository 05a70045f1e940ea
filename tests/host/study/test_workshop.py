"""What candidates share: one file that has several names."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path

import pytest
from edgepareto.host.accuracy import Score
from edgepareto.host.domain import Candidate, CandidateId, Deployment, Genome, Recipe
from edgepareto.host.store import StudyStore
from edgepareto.host.study.evaluate_candidate import Split
from edgepareto.host.study.workshop import Workshop


class Scorer:
    """A preparer that knows every score."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Split]] = []

    def score(self, sha256: str, way: Deployment, split: Split) -> Score:
        self.asked.append((sha256, split))
        return Score(value=0.75, hits=None)


class InThisThread:
    """A preparation whose work is done when it is begun."""

    def __init__(self, scorer: Scorer) -> None:
        self._scorer = scorer

    def score(self, made: Future[None], work: Callable[[Scorer], None]) -> Future[None]:
        made.result()
        done: Future[None] = Future()
        done.set_result(work(self._scorer))
        return done


@pytest.mark.parametrize("names", [("one", "two"), ("two", "one")])
def test_a_name_that_lacks_the_test_score_of_its_file_gets_it_whatever_others_have(
    tmp_path: Path, names: tuple[str, str]
) -> None:
    """As after `host remeasure` scored one of two numbers of threads."""
    scorer = Scorer()
    with StudyStore.open_for_search(tmp_path) as store:
        for name, threads, on_test in (("one", 1, 0.75), ("two", 2, None)):
            genome = Genome(widths=(8,), deployment=Deployment(threads=threads))
            store.save_candidate(
                Candidate(
                    id=CandidateId(name),
                    genome=genome,
                    recipe=Recipe(images=8),
                    accuracy=0.8,
                    test_accuracy=on_test,
                    model_sha256="f",
                )
            )
        workshop = Workshop(None, store, InThisThread(scorer))  # type: ignore[arg-type]  # no inputs: nothing is made
        workshop.score_on_test([CandidateId(name) for name in names])
        assert {name: known.test_accuracy for name, known in store.candidates().items()} == {"one": 0.75, "two": 0.75}
    assert scorer.asked == [("f", Split.TEST)]


def test_formats_of_32_bits_are_scored_once_on_test_and_8_bits_on_their_own(tmp_path: Path) -> None:
    scorer = Scorer()
    ways = {
        "onnx": Deployment(),
        "lite": Deployment(runtime="litert"),
        "many": Deployment(threads=4),
        "int8": Deployment(runtime="litert", precision="int8"),
    }
    with StudyStore.open_for_search(tmp_path) as store:
        for name, way in ways.items():
            genome = Genome(widths=(8,), deployment=way)
            store.save_candidate(
                Candidate(id=CandidateId(name), genome=genome, recipe=Recipe(images=8), accuracy=0.8, model_sha256="f")
            )
        workshop = Workshop(None, store, InThisThread(scorer))  # type: ignore[arg-type]  # no inputs: nothing is made
        workshop.score_on_test([CandidateId(name) for name in ("lite", "onnx", "int8")])
        assert len(scorer.asked) == 2
        assert {store.candidates()[CandidateId(name)].test_accuracy for name in ways} == {0.75}
