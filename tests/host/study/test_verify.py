"""Verifying a finished study's candidates on fake devices."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from edgepareto.host.domain import StudyFronts
from edgepareto.host.domain.verified import VerifiedDevice
from edgepareto.host.errors import DataError, StudyError, WrongProtocol, WrongUse
from edgepareto.host.store import StudyStore
from edgepareto.host.study import run_study, verify
from fakes.fake_fleet import FakeDevice, connecting

if TYPE_CHECKING:
    from conftest import Bench


@pytest.fixture
def searched(bench: Bench) -> StudyFronts:
    return run_study(
        bench.config, resume=False, listener=bench.events.append, connect=connecting(FakeDevice(name="pi1"))
    )


def verified(
    bench: Bench, *, device: str = "pi1", choice: str | None = None, samples: int | None = None, board: FakeDevice
) -> VerifiedDevice:
    return verify(
        bench.config.study,
        device=device,
        choice=choice,
        samples=samples,
        known=(),
        folder=bench.config.folder,
        listener=bench.events.append,
        connect=connecting(board),
    )


def test_every_front_member_has_on_a_sound_board_the_test_accuracy_that_the_search_gave_it(
    bench: Bench, searched: StudyFronts
) -> None:
    found = verified(bench, board=FakeDevice(name="pi1"))
    assert (found.split, found.samples, found.metric) == ("test", 100, "top1")
    front = searched.devices[0].front
    assert [(one.candidate, one.on_board, one.on_host) for one in found.candidates] == [
        (point.candidate.id, point.candidate.test_accuracy, point.candidate.test_accuracy) for point in front
    ]
    assert not any(one.differs for one in found.candidates)


def test_one_candidate_on_a_few_samples_of_the_validation_split_where_there_is_no_test_split(bench: Bench) -> None:
    config = replace(bench.config, data=replace(bench.config.data, test=None))
    board = FakeDevice(name="pi1")
    run_study(config, resume=False, listener=bench.events.append, connect=connecting(board))
    crooked = FakeDevice(name="pi1", arithmetic=lambda model, outputs: -outputs)
    found = verified(bench, choice="most-accurate", samples=50, board=crooked)
    assert (found.split, found.samples, len(found.candidates)) == ("validation", 50, 1)
    assert found.candidates[0].differs is True


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"device": "pi9"}, r"device pi9 is not in .*; it has pi1"),
        ({"choice": "nothing-like-it"}, "nothing-like-it is no candidate measured there"),
        ({"samples": 0}, "--samples 0: wanted 1 or more"),
        ({"samples": 101}, r"--samples 101: .*test.npz has 100, wanted 1 to 100"),
    ],
)
def test_what_is_not_to_be_had_is_told_in_one_line_before_any_board_is_asked(
    bench: Bench, searched: StudyFronts, asked: dict[str, object], said: str
) -> None:
    with pytest.raises(WrongUse, match=said) as error:
        verify(
            bench.config.study,
            **{"device": "pi1", "choice": None, "samples": None, **asked},
            known=(),
            folder=bench.config.folder,
            listener=bench.events.append,
            connect=connecting(),
        )
    assert "\n" not in str(error.value)


def test_an_agent_that_computes_no_outputs_is_wrong_use(bench: Bench, searched: StudyFronts) -> None:
    def refuse(model: Path, outputs: object) -> None:
        raise WrongProtocol("pi1: its agent 1.2.3 speaks protocol version 2; host deploy pi1 --upgrade")

    with pytest.raises(WrongUse, match=r"^pi1: its agent 1.2.3 speaks protocol version 2; host deploy pi1 --upgrade$"):
        verified(bench, board=FakeDevice(name="pi1", arithmetic=refuse))


def test_it_needs_the_study_the_files_and_the_data_that_the_study_had(bench: Bench, searched: StudyFronts) -> None:
    board = FakeDevice(name="pi1")
    with StudyStore.open_for_search(bench.config.study), pytest.raises(StudyError, match="another host process"):
        verified(bench, board=board)
    test = Path(str(bench.config.data.test))
    with np.load(test) as arrays:
        x, y = arrays["x"], arrays["y"]
    np.savez(test, x=x[::-1], y=y)
    with pytest.raises(DataError, match=r"test.npz: is not the test data that the study was begun with"):
        verified(bench, board=board)
    sha256 = searched.devices[0].front[0].candidate.model_sha256
    (bench.config.study / "models" / f"{sha256}.onnx").unlink()
    with pytest.raises(StudyError, match=r"\.onnx: is gone"):
        verified(bench, board=board)
