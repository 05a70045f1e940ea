"""A search over channels and ways to run a model, on fake devices with real files: pruned, converted, quantised."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest
from edgepareto.host.config import SearchConfig
from edgepareto.host.domain import Deployment, StudyFronts, StudyNotice
from edgepareto.host.domain.point_record import point_record
from edgepareto.host.errors import WrongUse
from edgepareto.host.store import StudyStore
from edgepareto.host.study import candidate_model, remeasure, run_study
from edgepareto.host.study.batches import cut
from edgepareto.host.study.offered_deployments import offered_deployments
from edgepareto.host.views.figures import board_accuracy_texts
from fakes.fake_fleet import LITERT, ORT, FakeDevice, connecting
from onnx import helper

if TYPE_CHECKING:
    from conftest import Bench

METRIC = """
from pathlib import Path
def top1(predict, data):
    with Path(__file__).with_suffix(".log").open("a") as log:
        log.write("scored\\n")
    from edgepareto.host.accuracy import metric_by_name
    return metric_by_name("top1", folder=Path("."))(predict, data).value
"""


def pace(way: Deployment) -> float:
    """Of a board on which 8 bits and LiteRT are worth having."""
    return (0.5 if way.precision == "int8" else 1.0) * (0.8 if way.runtime == "litert" else 1.0) / (way.threads or 1)


def board(name: str = "pi1", **known: object) -> FakeDevice:
    return FakeDevice(name=name, runtimes=(ORT, LITERT), protocol=3, way=pace, **known)  # type: ignore[arg-type]


def searched(bench: Bench, device: FakeDevice, *, resume: bool = False, **search: object) -> StudyFronts:
    config = bench.but("pi1", **search)
    return run_study(config, resume=resume, listener=bench.events.append, connect=connecting(device))


ALL = {"runtimes": (), "precisions": (), "threads": (1, 2)}


def test_a_file_is_made_scored_and_sent_once_however_it_is_run(bench: Bench) -> None:
    (bench.config.folder / "counted.py").write_text(METRIC)
    device = board()
    (front,) = searched(bench, device, measurements=40, metric="counted:top1", **ALL).devices
    with StudyStore.open_for_reading(bench.config.study) as store:
        candidates = store.candidates().values()

    def scored_once(candidate: object) -> tuple[object, ...]:
        way, recipe = candidate.genome.deployment, candidate.recipe  # type: ignore[attr-defined]
        runtime = way.runtime if way.precision != "fp32" else ""  # the gate has shown that 32 bits are one model
        return (candidate.genome.widths, recipe, way.precision, runtime)  # type: ignore[attr-defined]

    made = [candidate for candidate in candidates if candidate.failure is None]
    files = {scored_once(candidate) for candidate in made}
    assert len(files) < len(made), "some run one file on more threads"
    on_validation = (bench.config.folder / "counted.log").read_text().count("scored")
    tested = {scored_once(candidate) for candidate in made if candidate.test_accuracy is not None}
    by_file: dict[tuple[object, ...], set[object]] = {}
    for candidate in made:
        by_file.setdefault(scored_once(candidate), set()).add((candidate.model_sha256, candidate.accuracy))
    assert all(len(found) == 1 for found in by_file.values())
    assert on_validation == len(files) + len(tested), "with one process, each once on validation and once on test"
    sent: dict[tuple[object, ...], set[str]] = {}
    by_id = {candidate.id: candidate for candidate in made}
    for entry in (e for batch in device.asked for e in (batch.anchor, *batch.entries)):
        genome = by_id[entry.candidate].genome
        recipe = by_id[entry.candidate].recipe
        sent.setdefault((genome.widths, genome.deployment.format, recipe), set()).add(entry.model_sha256)
    assert all(len(found) == 1 for found in sent.values()), "other threads are the same bytes, which a board has"
    ways = {point.candidate.genome.deployment.format for point in (*front.front, *front.others)}
    assert ways == {("onnxruntime", "fp32"), ("onnxruntime", "int8"), ("litert", "fp32"), ("litert", "int8")}
    assert all(point.candidate.genome.deployment.precision == "int8" for point in front.front[:1])


def test_every_point_of_the_front_says_how_it_ran_and_has_the_file_that_did(bench: Bench) -> None:
    (front,) = searched(bench, board(), measurements=30, **ALL).devices
    assert front.varies_deployments
    assert front.deployment(front.dense) == Deployment(threads=1)
    for point in front.front:
        way = front.deployment(point)
        file = candidate_model(bench.config.study, point.candidate.id)
        assert (file.suffix == ".tflite") == (way.runtime == "litert")
        assert (".int8." in file.name) == (way.precision == "int8")
        assert point.candidate.bytes == file.stat().st_size
        assert (point.candidate.output_error is None) == (way.format == ("onnxruntime", "fp32"))


def test_a_search_that_was_cut_short_goes_on_to_what_it_would_have_found(bench: Bench, tmp_path: Path) -> None:
    whole = searched(bench, board(), measurements=30, **ALL)
    elsewhere = replace(bench, config=replace(bench.config, study=tmp_path / "other"))
    searched(elsewhere, board(), measurements=12, **ALL)
    resumed = searched(elsewhere, board(), resume=True, measurements=30, **ALL)
    names = [[p.candidate.id for d in fronts.devices for p in (*d.front, *d.others)] for fronts in (whole, resumed)]
    assert names[0] == names[1]


def test_one_format_that_cannot_be_had_costs_only_the_candidates_in_it(bench: Bench) -> None:
    device = board(trouble=lambda entry: None)
    model = onnx.load(bench.config.model)
    model.graph.node.append(helper.make_node("Hardmax", [model.graph.output[0].name], ["hard"], name="hard"))
    model.graph.output[0].name = "hard"
    onnx.save(model, bench.config.model)
    (front,) = searched(bench, device, measurements=14, **ALL).devices
    assert {p.candidate.genome.deployment.runtime for p in (*front.front, *front.others)} == {"onnxruntime"}
    told = [event.text for event in bench.events if isinstance(event, StudyNotice)]
    assert any("no fp32 in litert: the model: LiteRT cannot express Hardmax" in text for text in told)


def test_int8_finalists_are_scored_on_a_real_board_and_its_number_is_told_where_it_differs(bench: Bench) -> None:
    def saturating(model: Path, outputs: np.ndarray) -> np.ndarray:
        return np.roll(outputs, 1, axis=-1) if ".int8." in model.name else outputs

    (front,) = searched(bench, board(simulated=False, arithmetic=saturating), measurements=30, **ALL).devices
    scored = {p.candidate.id: p.verified for p in front.front if p.verified is not None}
    assert set(scored) == {p.candidate.id for p in front.front if p.candidate.genome.deployment.precision == "int8"}
    assert all(found.differs and found.samples == 100 for found in scored.values())
    (record,) = (point_record(p, front) for p in front.front if p.candidate.id == next(iter(scored)))
    assert record["board_accuracy"] < 0.5 < record["test_accuracy"]
    assert all(is_warning for _, is_warning in board_accuracy_texts(front))


def test_a_board_as_exact_as_the_host_is_told_in_one_line_and_a_simulated_one_not_asked(bench: Bench, tmp_path: Path):
    (front,) = searched(bench, board(simulated=False), measurements=30, **ALL).devices
    ((line, is_warning),) = board_accuracy_texts(front)
    assert "scored on the board itself as on the host" in line
    assert not is_warning
    elsewhere = replace(bench, config=replace(bench.config, study=tmp_path / "other"))
    (simulated,) = searched(elsewhere, board(), measurements=30, **ALL).devices
    assert all(point.verified is None for point in simulated.front)


def test_a_batch_has_one_clock_mode_and_the_unpruned_model_in_it(bench: Bench) -> None:
    device = board(clock_modes=("600MHz", "1800MHz"))
    (front,) = searched(bench, device, measurements=20, clock_modes=(), threads=(1, 2)).devices
    modes = Counter(batch.deployment.clock_mode for batch in device.asked)
    assert set(modes) == {"600MHz", "1800MHz"}
    dense = {batch.deployment.clock_mode: batch.anchor.candidate for batch in device.asked}
    assert len(set(dense.values())) == 2
    assert all(batch.anchor.candidate == dense[batch.deployment.clock_mode] for batch in device.asked)
    assert front.dense.candidate.id == dense["600MHz"], "the first mode is the usual one"


def test_batches_are_cut_by_clock_mode_in_the_order_asked(bench: Bench) -> None:
    class Asked:
        def __init__(self, number: int) -> None:
            self.number = number
            way = Deployment(clock_mode="fast" if number % 3 == 0 else "slow")
            self.genome = type("G", (), {"deployment": way})

    batches = [[one.number for one in batch] for batch in cut([Asked(number) for number in range(13)])]  # type: ignore[misc]
    assert batches == [[1, 2, 4, 5, 7], [0, 3, 6, 9, 12], [8, 10, 11]]


@pytest.mark.parametrize(
    ("asked", "device", "line"),
    [
        ({"threads": (8,)}, board(), "pi1: --threads 8: this board has 4 cores; choose 1 to 4, or all"),
        ({"runtimes": ("litert",)}, FakeDevice(name="pi1", protocol=3), "--runtimes litert: its agent has no litert"),
        (
            {"runtimes": ("onnxruntime-cuda",)},
            board(),
            "its agent has no onnxruntime-cuda (it has onnxruntime, litert)",
        ),
        ({"precisions": ("fp16",)}, board(), "pi1: no fp16 in onnxruntime: that runtime can have fp32, int8"),
        ({"clock_modes": ("600MHz",)}, board(), "--clock-modes 600MHz: its owner allows none"),
        ({"clock_modes": ("1GHz",)}, board(clock_modes=("600MHz",)), "--clock-modes 1GHz: it has 600MHz"),
        ({"threads": ()}, FakeDevice(name="pi1", protocol=2), "runs all candidates alike; upgrade it with host deploy"),
    ],
)
def test_what_was_asked_for_by_name_and_cannot_be_had_is_one_line(
    bench: Bench, asked: dict[str, tuple[object, ...]], device: FakeDevice, line: str
) -> None:
    with pytest.raises(WrongUse) as refused:
        searched(bench, device, **asked)
    assert line in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("changed", "line"),
    [
        ({"protocol": 2}, "pi1: its agent 0 runs all candidates alike, the study varies how they run; upgrade it"),
        ({"runtimes": (ORT,)}, "pi1: the study was begun with litert, which the device does not have any more"),
        ({"clock_modes": ()}, "pi1: the study was begun with clock mode 600MHz, clock mode 1800MHz, which the device"),
    ],
)
def test_a_study_goes_on_only_where_models_are_run_as_before(
    bench: Bench, changed: dict[str, object], line: str
) -> None:
    device = board(clock_modes=("600MHz", "1800MHz"))
    searched(bench, device, measurements=4, clock_modes=(), **ALL)
    known = {"clock_modes": device.clock_modes, **changed}
    with pytest.raises(WrongUse) as refused:
        searched(
            bench,
            replace(board(), **known),
            resume=True,
            measurements=30,
            clock_modes=(),
            **ALL,  # type: ignore[arg-type]
        )
    assert line in str(refused.value)
    with pytest.raises(WrongUse) as refused:
        remeasure(
            bench.config.study,
            device=None,
            candidates=(),
            preset=None,
            known=(),
            folder=bench.config.folder,
            listener=bench.events.append,
            connect=connecting(replace(board(), **known)),  # type: ignore[arg-type]
        )
    assert line in str(refused.value)


def test_all_is_whatever_the_device_has_and_no_rule_forbids(bench: Bench) -> None:
    model = onnx.load(bench.config.model)
    config = bench.config.devices[0]

    def offered(device: FakeDevice, model: onnx.ModelProto = model, **search: object):
        asked = replace(SearchConfig(), **{"runtimes": (), "precisions": (), "threads": (), **search})  # type: ignore[arg-type]
        return offered_deployments(asked, replace(config, threads=2), device.info, model, 40, bench.events.append)

    everything = offered(board())
    assert everything.threads == (1, 2, 3, 4)
    assert everything.usual == Deployment(threads=2)
    assert set(everything.formats) == {
        (runtime, precision) for runtime in ("onnxruntime", "litert") for precision in ("fp32", "int8")
    }
    assert offered(board(), precisions=("fp32", "fp16")).formats[-1] == ("litert", "fp16")


def test_a_simulated_board_is_asked_for_nothing_that_it_has_no_figures_of(bench: Bench) -> None:
    figures = replace(ORT, figures={"CPUExecutionProvider": ("fp32",)}), replace(LITERT, figures={"XNNPACK": ("int8",)})
    asked = replace(SearchConfig(), runtimes=(), precisions=())
    device, model = replace(board(), runtimes=figures), onnx.load(bench.config.model)
    found = offered_deployments(asked, bench.config.devices[0], device.info, model, 40, bench.events.append)
    assert found.formats == (("onnxruntime", "fp32"), ("litert", "int8"))


def test_too_few_samples_to_learn_ranges_from_leave_int8_out_and_refuse_it_by_name(bench: Bench) -> None:
    few = np.load(str(bench.config.data.calibration))["x"][:7]
    np.savez(str(bench.config.data.calibration), x=few)
    with pytest.raises(WrongUse, match=r"no int8 in onnxruntime: its ranges are learnt from 8 .* or more, there are 7"):
        searched(bench, board(), precisions=("int8",))


def test_a_search_that_is_refused_leaves_no_folder_and_one_that_is_not_may_begin_there(bench: Bench) -> None:
    with pytest.raises(WrongUse):
        searched(bench, board(), threads=(8,))
    assert not bench.config.study.exists()
    searched(bench, board(), measurements=8)
    with pytest.raises(WrongUse, match="this study exists"):
        searched(bench, board(), threads=(8,))
    assert bench.config.study.exists()


def test_the_smallest_budget_measures_pruned_models_among_the_ways_to_run_the_unpruned_one(bench: Bench) -> None:
    (front,) = searched(bench, board(), measurements=8, **ALL).devices
    dense = front.dense.candidate.genome.widths
    assert sum(p.candidate.genome.widths != dense for p in (*front.front, *front.others)) >= 3


def test_all_clock_modes_of_a_board_without_any_is_told(bench: Bench) -> None:
    searched(bench, board(), measurements=8, clock_modes=())
    told = [event.text for event in bench.events if isinstance(event, StudyNotice)]
    assert "pi1: no clock modes: its owner allows none (docs/boards.md)" in told
