"""The process that makes and scores candidates, started by `preparation`: JSON lines in and out.

First line in: an EvaluationTask; the answer is {} once everything is loaded. Then one request per line, one answer
each. It is exec'd and not a multiprocessing worker, because it must have one BLAS thread before numpy is imported, must
not import the user's main script again, must not see the terminal's Ctrl-C, and must end when its host dies, however
that happens: its input then ends.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict
from typing import TextIO

from edgepareto.host.domain import Candidate, CandidateId, Deployment, Genome, Recipe
from edgepareto.host.errors import EdgeParetoError, Failed, StoreError
from edgepareto.host.study.evaluate_candidate import CandidateEvaluator, EvaluationTask, Split

__all__ = ["main", "serve"]


def serve(requests: TextIO, answers: TextIO) -> None:
    """Answer every request until the input ends. An error of ours is an answer, {"error": its class, "message"}."""
    evaluator: CandidateEvaluator | None = None
    for line in requests:
        try:
            if evaluator is None:
                evaluator = CandidateEvaluator(EvaluationTask.from_json(line))
                answer: dict[str, object] = {}
            else:
                answer = _answer(evaluator, json.loads(line))
        except EdgeParetoError as error:
            answer = _error(error)
        except OSError as error:
            answer = _error(StoreError(f"a candidate's files cannot be written: {error}; go on with --resume"))
        except MemoryError:
            answer = _error(Failed("not enough memory to prepare candidates; set workers = 1 under [search]"))
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def _answer(evaluator: CandidateEvaluator, request: dict[str, object]) -> dict[str, object]:
    deployment = request["deployment"]
    assert isinstance(deployment, dict)
    way = Deployment(**deployment)
    if "score" in request:
        score = evaluator.score(str(request["score"]), way, Split(request["split"]))
        hits = None if score.hits is None else score.hits.hex()
        return {"score": score.value, "hits": hits, "divergence": score.divergence}
    widths, dropped, recipe = request["widths"], request["dropped"], request["recipe"]
    assert isinstance(widths, list)
    assert isinstance(dropped, list)
    assert isinstance(recipe, dict)
    genome = Genome(widths=tuple(widths), deployment=way, dropped=tuple(dropped))
    name, known = CandidateId(str(request["make"])), Recipe(**recipe)
    pruned = request.get("pruned")
    if pruned is None:
        made = evaluator.make(name, genome, known)
    else:
        assert isinstance(pruned, dict)
        made = Candidate(id=name, genome=genome, recipe=known, **pruned)
    return asdict(evaluator.convert(made))


def _error(error: EdgeParetoError) -> dict[str, object]:
    return {"error": type(error).__name__, "message": str(error)}


def main() -> None:
    # Whatever a library or a user's metric prints must not end up among the answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    try:
        serve(sys.stdin, answers)
    except BrokenPipeError:  # the host is gone, and with it whoever would read more
        os._exit(1)
