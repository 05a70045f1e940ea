"""Scores on a device beside those on the host: the same files, the same samples, each sample once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from edgepareto.host.accuracy import Dataset, load_dataset, metric_by_name
from edgepareto.host.config import DataConfig
from edgepareto.host.domain import LITERT, CandidateId, Deployment
from edgepareto.host.errors import DeviceLost, EvaluationError
from edgepareto.host.export import input_tensors
from edgepareto.host.export.input_shapes import close_batch
from edgepareto.host.export.parity import lite_outputs
from edgepareto.host.export.tflite import LiteModel, to_tflite
from edgepareto.host.study import board_accuracy as room
from edgepareto.host.study.board_accuracy import BoardModel, board_accuracy, predictor_on
from fakes.fake_fleet import FakeDevice
from fakes.models import batchless, classifier, convolution, save
from numpy.typing import NDArray

Array = NDArray[np.generic]
SAMPLES = 60
TOP1 = metric_by_name("top1")
CPU = Deployment()


def data(model: onnx.ModelProto, folder: Path, *, right: float = 0.8) -> Dataset:
    """Of pictures whose label is their brightest pixel, but for a share of them."""
    random = np.random.default_rng(0)
    tensor = input_tensors(model)[0]
    x = random.random((SAMPLES, *tensor.shape[1:]), dtype=np.float32)
    y = np.where(random.random(SAMPLES) < right, x.reshape(SAMPLES, -1)[:, :3].argmax(axis=1), 0)
    np.savez(folder / "data.npz", x=x, y=y)
    config = DataConfig(calibration=None, validation=None, test=None)
    return load_dataset("data.npz", config, input_tensors(model), folder=folder, labelled=True)


def scored(model: BoardModel, device: FakeDevice, dataset: Dataset):
    (found,) = board_accuracy([model], device, dataset, TOP1)
    return found


@pytest.mark.parametrize("batch", ["N", 1, 7])
def test_a_board_that_computes_as_the_host_does_has_its_accuracy_to_the_last_sample(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch: int | str
) -> None:
    """Also where a request holds a few runs, and a fixed batch is not full in the last one."""
    monkeypatch.setattr(room, "REQUEST_BYTES", 300)
    network = classifier(batch)
    dataset = data(network, tmp_path)
    asked: list[str] = []
    model = BoardModel(candidate=CandidateId("c"), file=save(network, tmp_path / "net.onnx"), deployment=CPU)
    (found,) = board_accuracy([model], FakeDevice(name="pi1"), dataset, TOP1, on_progress=asked.append)
    assert found.on_board == found.on_host
    assert 0.7 < found.on_board < 0.95
    assert found.difference is not None
    assert found.difference.value == 0
    assert (found.differs, found.failure) == (False, "")
    assert len(asked) > 2


def test_a_board_that_computes_something_else_is_marked_and_one_that_errs_by_chance_is_not(tmp_path: Path) -> None:
    network = classifier()
    dataset = data(network, tmp_path, right=1.0)
    model = BoardModel(candidate=CandidateId("c"), file=save(network, tmp_path / "net.onnx"), deployment=CPU)

    def wrong(samples: int) -> Callable[[Path, Array], Array]:
        def arithmetic(file: Path, outputs: Array) -> Array:
            spoilt = np.array(outputs)
            spoilt[:samples] = -spoilt[:samples]
            return spoilt

        return arithmetic

    one, many = (scored(model, FakeDevice(name="pi1", arithmetic=wrong(n)), dataset) for n in (1, 20))
    assert (one.on_host, many.on_host) == (1.0, 1.0)
    assert (one.differs, many.differs) == (False, True)
    assert many.on_board == pytest.approx(1 - 20 / SAMPLES)
    assert many.difference is not None
    assert many.difference.low <= many.on_board - 1 <= many.difference.high < 0


def test_a_metric_that_counts_no_samples_tells_both_values_and_no_verdict(tmp_path: Path) -> None:
    network = classifier()
    dataset = data(network, tmp_path)
    model = BoardModel(candidate=CandidateId("c"), file=save(network, tmp_path / "net.onnx"), deployment=CPU)
    other = FakeDevice(name="pi1", arithmetic=lambda file, outputs: np.roll(outputs, 1, axis=-1))
    precision = metric_by_name("precision")
    (found,) = board_accuracy([model], other, dataset, precision)
    assert found.on_board != found.on_host
    assert (found.difference, found.differs) == (None, None)
    (same,) = board_accuracy([model], FakeDevice(name="pi1"), dataset, precision)
    assert same.differs is False


@dataclass
class LiteBoard:
    """A device with LiteRT: it takes and gives arrays in the file's own order of axes."""

    lite: LiteModel
    seen: list[tuple[int, ...]] = field(default_factory=list)

    def outputs(
        self,
        model: Path,
        inputs: Path,
        deployment: Deployment,
        on_progress: Callable[[str], None] = lambda text: None,
    ) -> Mapping[str, Array]:
        assert model.read_bytes() == self.lite.content
        with np.load(inputs) as loaded:
            (name, array) = next((name, loaded[name]) for name in loaded.files)
        self.seen.append(array.shape)
        plain = replace(self.lite, inputs=self._as_it_is(self.lite.inputs), outputs=self._as_it_is(self.lite.outputs))
        runs = lite_outputs(plain, [{name: row} for row in array])
        return {output: np.stack([run[output] for run in runs]) for output in runs[0]}

    def _as_it_is(self, tensors):
        return {name: replace(one, order=tuple(range(len(one.order)))) for name, one in tensors.items()}


def test_a_tflite_file_is_fed_in_its_own_order_of_axes(tmp_path: Path) -> None:
    network = convolution()
    dataset = data(network, tmp_path)
    lite = to_tflite(close_batch(network))
    file = tmp_path / "net.tflite"
    file.write_bytes(lite.content)
    model = BoardModel(candidate=CandidateId("c"), file=file, deployment=Deployment(runtime=LITERT), lite=lite)
    board = LiteBoard(lite)
    (found,) = board_accuracy([model], board, dataset, TOP1)
    assert board.seen == [(SAMPLES, 1, 6, 6, 1)]
    assert found.on_board == found.on_host
    assert found.differs is False


def test_an_input_without_a_batch_axis_is_run_sample_by_sample(tmp_path: Path) -> None:
    model = BoardModel(candidate=CandidateId("c"), file=save(batchless(), tmp_path / "net.onnx"), deployment=CPU)
    x = np.arange(12, dtype=np.float32).reshape(4, 3)
    assert np.array_equal(predictor_on(model, FakeDevice(name="pi1"))({"x": x}), 2 * x)


def test_a_candidate_that_fails_there_costs_itself_alone_and_a_lost_board_all(tmp_path: Path) -> None:
    network = classifier()
    dataset = data(network, tmp_path)
    good = BoardModel(candidate=CandidateId("good"), file=save(network, tmp_path / "net.onnx"), deployment=CPU)
    bad = replace(good, candidate=CandidateId("bad"), file=save(network, tmp_path / "bad.onnx"))
    short = replace(good, candidate=CandidateId("short"), file=save(network, tmp_path / "short.onnx"))

    def arithmetic(file: Path, outputs: Array) -> Array:
        if file.name == "bad.onnx":
            raise EvaluationError("pi1: UNSUPPORTED_OP no kernel for Celu")
        return outputs[:-1] if file.name == "short.onnx" else outputs

    found = board_accuracy([bad, short, good], FakeDevice(name="pi1", arithmetic=arithmetic), dataset, TOP1)
    assert [one.on_board is None for one in found] == [True, True, False]
    assert found[0].failure == "pi1: UNSUPPORTED_OP no kernel for Celu"
    assert found[0].on_host == found[2].on_host
    assert "wanted logits with 60 rows; it runs another model" in found[1].failure

    def lose(file: Path, outputs: Array) -> Array:
        raise DeviceLost("pi1: no answer for 15 s")

    with pytest.raises(DeviceLost):
        board_accuracy([good], FakeDevice(name="pi1", arithmetic=lose), dataset, TOP1)


def test_samples_are_taken_evenly_for_data_may_be_sorted_by_class(tmp_path: Path) -> None:
    dataset = data(classifier(), tmp_path)
    few = dataset.spread(7)
    assert len(few) == 7
    assert few.labels is not None
    assert dataset.labels is not None
    assert few.labels.tolist() == [int(dataset.labels[i * SAMPLES // 7]) for i in range(7)]
    assert dataset.spread(1000).sha256 == dataset.sha256 != few.sha256
