"""Candidates made in other processes: the same bytes from any of them, and every trouble as one of our errors."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest
from edgepareto.host.domain import AS_SET, Candidate, CandidateId, Genome, Recipe
from edgepareto.host.errors import DataError, EvaluationError, Failed
from edgepareto.host.export import sha256_of, write_sample_inputs
from edgepareto.host.study.evaluate_candidate import CandidateEvaluator, EvaluationTask, Split
from edgepareto.host.study.inputs import load_inputs
from edgepareto.host.study.model_files import expected_outputs_file, inputs_file, model_file
from edgepareto.host.study.preparation import Preparation, Preparer
from onnx import numpy_helper

if TYPE_CHECKING:
    from conftest import Bench

RECIPE = Recipe(images=40)
GENOMES = [Genome(widths=(12, 16)), Genome(widths=(4, 8)), Genome(widths=(6, 2))]


@pytest.fixture
def task(bench: Bench) -> EvaluationTask:
    inputs = load_inputs(bench.config)
    models = bench.config.study / "models"
    models.mkdir(parents=True)
    write_sample_inputs(inputs.calibration, 3, inputs_file(models))
    return replace(inputs.task, folder=bench.config.study.parent)


def prepared(task: EvaluationTask, workers: int) -> dict[str, Candidate]:
    """Made and scored, as a study does it; a score that fails is the candidate's failure."""

    def make(name: str, genome: Genome) -> Callable[[Preparer], None]:
        def do(preparer: Preparer) -> None:
            found[name] = preparer.make(CandidateId(name), genome, RECIPE)

        return do

    def score(name: str) -> Callable[[Preparer], None]:
        def do(preparer: Preparer) -> None:
            try:
                accuracy = preparer.score(str(found[name].model_sha256), AS_SET, Split.VALIDATION).value
            except EvaluationError as error:
                found[name] = replace(found[name], failure=str(error))
            else:
                found[name] = replace(found[name], accuracy=accuracy)

        return do

    found: dict[str, Candidate] = {}
    with Preparation(task, workers) as preparation:
        making = {str(i): preparation.make(make(str(i), genome)) for i, genome in enumerate(GENOMES)}
        for scored in [preparation.score(made, score(name)) for name, made in making.items()]:
            scored.result()
    return found


def test_any_number_of_processes_makes_the_same_models(task: EvaluationTask) -> None:
    one, two = prepared(task, 1), prepared(task, 2)
    assert one == two
    assert one["0"].accuracy == 1.0  # the labels are the unpruned model's own answers
    for candidate in one.values():
        assert candidate.failure is None
        file = model_file(task.models, str(candidate.model_sha256))
        assert sha256_of(file) == candidate.model_sha256
        assert file.stat().st_size == candidate.bytes
        assert expected_outputs_file(task.models, str(candidate.model_sha256)).is_file()


def test_a_network_without_a_branch_is_made_in_another_process(task: EvaluationTask) -> None:
    model = onnx.load(task.model)
    weight = np.random.default_rng(1).normal(size=(16, 16, 1, 1)).astype(np.float32)
    model.graph.initializer.append(numpy_helper.from_array(weight, "w"))
    pool = next(node for node in model.graph.node if node.op_type == "GlobalAveragePool")
    added = [
        onnx.helper.make_node("Conv", [pool.input[0], "w"], ["branch"], name="third"),
        onnx.helper.make_node("Add", [pool.input[0], "branch"], ["sum"], name="around"),
    ]
    pool.input[0] = "sum"
    for node in added:
        model.graph.node.insert(list(model.graph.node).index(pool), node)
    onnx.save(model, task.model)
    genome = Genome(widths=(12, 16), dropped=("around",))
    with Preparation(task, 1) as preparation:
        made = preparation.make(lambda preparer: preparer.make(CandidateId("0"), genome, RECIPE)).result()
    assert (made.genome, made.failure) == (genome, None)
    file = onnx.load(model_file(task.models, str(made.model_sha256)))
    assert [node.name for node in file.graph.node if node.op_type in ("Conv", "Add", "Identity")] == ["first", "second"]


def test_a_model_of_half_precision_is_calibrated_in_half_precision(task: EvaluationTask) -> None:
    model = onnx.load(task.model)
    for tensor in model.graph.initializer:
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float16), tensor.name))
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.elem_type = onnx.TensorProto.FLOAT16
    half = task.model.with_name("half.onnx")
    onnx.save(model, half)
    shown = np.load(inputs_file(task.models))
    np.savez(inputs_file(task.models), **{name: shown[name].astype(np.float16) for name in shown.files})
    candidate = CandidateEvaluator(replace(task, model=half)).make(CandidateId("0"), GENOMES[1], RECIPE)
    assert candidate.failure is None
    assert onnx.load(model_file(task.models, str(candidate.model_sha256))).graph.input[0] == model.graph.input[0]


def test_what_a_users_metric_prints_or_raises_reaches_the_user_and_breaks_nothing(task: EvaluationTask) -> None:
    module = task.folder / "own_metric.py"
    module.write_text(
        "def noisy(predict, dataset):\n    print('hello', flush=True)\n    return 0.5\n"
        "def broken(predict, dataset):\n    raise ValueError('no such thing')\n"
    )
    found = prepared(replace(task, metric="own_metric:noisy"), 1)
    assert {candidate.accuracy for candidate in found.values()} == {0.5}
    failed = prepared(replace(task, metric="own_metric:broken"), 1)
    assert all("no such thing" in str(candidate.failure) for candidate in failed.values())


def test_an_error_crosses_the_process_border_as_itself(task: EvaluationTask) -> None:
    gone = replace(task, data=replace(task.data, calibration=str(task.folder / "gone.npz")))
    with pytest.raises(DataError, match=r"gone\.npz"):
        prepared(gone, 1)


def test_a_killed_process_is_one_line_and_no_traceback(task: EvaluationTask) -> None:
    (task.folder / "own_metric.py").write_text(
        f"import os\ndef dies(predict, dataset):\n    os.kill(os.getpid(), {int(signal.SIGKILL)})\n"
    )
    with pytest.raises(Failed, match=r"^a process that prepares candidates ended \(exit code -9\); go on.*$"):
        prepared(replace(task, metric="own_metric:dies"), 2)


def test_processes_have_one_blas_thread_and_end_with_the_block(task: EvaluationTask) -> None:
    (task.folder / "own_metric.py").write_text(
        "import os\ndef told(predict, dataset):\n"
        "    assert os.environ['OPENBLAS_NUM_THREADS'] == os.environ['OMP_NUM_THREADS'] == '1'\n"
        "    return float(os.getpid())\n"
    )
    found = prepared(replace(task, metric="own_metric:told"), 2)
    pids = {int(candidate.accuracy or 0) for candidate in found.values()}
    assert os.getpid() not in pids
    assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()]


def test_a_users_file_hides_no_module_of_the_standard_library(
    task: EvaluationTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("queue", "json", "runpy"):
        (task.folder / f"{name}.py").write_text("raise ImportError('the wrong one')\n")
    monkeypatch.chdir(task.folder)
    assert len(prepared(task, 1)) == len(GENOMES)
