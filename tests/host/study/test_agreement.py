"""A whole search without a label. The bench's labels are the unpruned model's own answers, so both kinds must agree."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from edgepareto.host.domain import DeviceFront, StudyNotice
from edgepareto.host.study import run_study, verify
from fakes.fake_fleet import FakeDevice, connecting

if TYPE_CHECKING:
    from conftest import Bench


def told(device: DeviceFront) -> list[tuple[object, ...]]:
    found = [point.candidate for point in (device.dense, *device.front, *device.others)]
    return [(c.id, c.accuracy, c.validation_hits, c.divergence, c.test_accuracy, c.test_hits) for c in found]


def test_without_labels_a_search_goes_the_way_of_one_whose_labels_are_the_unpruned_models_answers(bench: Bench) -> None:
    labelled = run_study(
        bench.config, resume=False, listener=bench.events.append, connect=connecting(FakeDevice(name="pi1"))
    )
    for name in ("validation", "test"):
        with np.load(bench.config.folder / f"{name}.npz") as stored:
            x = stored["x"]
        np.savez(bench.config.folder / f"{name}.npz", x=x)
    config = replace(bench.but(metric="agreement"), study=bench.config.folder / "unlabelled")
    board = FakeDevice(name="pi1")
    without = run_study(config, resume=False, listener=bench.events.append, connect=connecting(board))
    assert without.metric == "agreement"
    assert without.has_test_split
    (mine,), (theirs,) = without.devices, labelled.devices
    assert told(mine) == told(theirs)
    assert (mine.dense.candidate.accuracy, mine.dense.candidate.divergence) == (1.0, 0.0)
    for point in (*mine.front, *mine.others):
        assert point.candidate.divergence is not None
        assert (point.candidate.divergence > 0) == (point.candidate.genome.widths != mine.dense.candidate.genome.widths)

    found = verify(
        config.study,
        device="pi1",
        choice=None,
        samples=None,
        known=(),
        folder=config.folder,
        listener=bench.events.append,
        connect=connecting(board),
    )
    assert [(one.on_board, one.on_host) for one in found.candidates] == [
        (point.candidate.test_accuracy, point.candidate.test_accuracy) for point in mine.front
    ]


def test_with_calibration_samples_alone_a_search_ends_in_a_front_and_says_what_it_scored_on(bench: Bench) -> None:
    data = replace(bench.config.data, calibration=bench.config.data.validation, validation=None, test=None)
    config = replace(bench.but(metric="agreement", search_images=60, measurements=8), data=data)
    (front,) = run_study(
        config, resume=False, listener=bench.events.append, connect=connecting(FakeDevice(name="pi1"))
    ).devices
    assert front.complete
    assert front.dense.candidate.accuracy == 1.0
    assert {point.candidate.recipe.images for point in (*front.front, *front.others)} == {60}
    texts = [event.text for event in bench.events if isinstance(event, StudyNotice) and not event.is_warning]
    assert any("scored on the 240 calibration samples that do not repair them" in text for text in texts)


@pytest.mark.parametrize("least", [0.5, 1.0])
def test_a_minimum_accuracy_limits_agreement(bench: Bench, least: float) -> None:
    constraints = replace(bench.config.search.constraints, min_accuracy=least)
    (front,) = run_study(
        bench.but(metric="agreement", constraints=constraints, measurements=8),
        resume=False,
        listener=bench.events.append,
        connect=connecting(FakeDevice(name="pi1")),
    ).devices
    assert front.front
    assert all(point.accuracy >= least for point in front.front)
