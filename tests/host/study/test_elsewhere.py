"""A device's search that starts from what another device of the study found."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from edgepareto.host.domain import BranchGene, ChannelGene, Genome, PruningSpace, StudyNotice, allowed_widths
from edgepareto.host.domain.device import DeviceName
from edgepareto.host.errors import StudyError, WrongUse
from edgepareto.host.store import FoundElsewhere, StudyStore
from edgepareto.host.study import read_fronts, run_study
from edgepareto.host.study.elsewhere import in_this_space
from fakes.fake_fleet import FakeDevice, connecting

if TYPE_CHECKING:
    from conftest import Bench


def searched(bench: Bench, *names: str, resume: bool = True, **search: object) -> None:
    run_study(
        bench.but(*names, **search),
        resume=resume,
        listener=bench.events.append,
        connect=connecting(*(FakeDevice(name=name) for name in names)),
    )


def asked_first(bench: Bench, device: str) -> tuple[Genome, ...]:
    with StudyStore.open_for_reading(bench.config.study) as store:
        found = store.generation(DeviceName(device), 0)
    assert found is not None
    return found


@pytest.mark.parametrize("like", ["pi1", None])
def test_a_new_device_asks_for_the_front_of_another_first_and_replays_it_to_the_bit(
    bench: Bench, like: str | None
) -> None:
    searched(bench, "pi1", resume=False)
    alone = {point.candidate.genome for point in read_fronts(bench.config.study).devices[0].front}
    searched(bench, "pi2", resume=like is None, like=like)
    first = asked_first(bench, "pi2")
    assert alone & set(first)
    assert len(first) < len(asked_first(bench, "pi1"))
    told = [event.text for event in bench.events if isinstance(event, StudyNotice)]
    assert any(text.startswith("pi2: starts from what pi1 found, ") for text in told)

    before = read_fronts(bench.config.study).devices[1]
    searched(bench, "pi1", measurements=22)  # pi1 knows more now, and pi2's beginning stays what it was
    searched(bench, "pi2", measurements=18)
    assert read_fronts(bench.config.study).devices[1].front == before.front


def test_a_device_cannot_start_from_itself_and_one_that_has_begun_goes_on_with_resume_alone(bench: Bench) -> None:
    searched(bench, "pi1", resume=False)
    with pytest.raises(StudyError, match="this study exists; go on with --resume"):
        searched(bench, "pi1", resume=False, like="pi1", measurements=22)
    with pytest.raises(WrongUse, match="--like pi2: is the device itself; name another"):
        searched(bench, "pi2", resume=False, like="pi2")
    searched(bench, "pi1", resume=True, like="pi1", measurements=22)


def test_a_device_that_the_study_does_not_know_is_one_line(bench: Bench) -> None:
    searched(bench, "pi1", resume=False)
    with pytest.raises(
        WrongUse, match="--like pi9: this study has measured nothing on it, it has pi1; search it first"
    ):
        searched(bench, "pi2", like="pi9")
    with pytest.raises(WrongUse, match="it has no other device"):
        run_study(
            replace(bench.but("pi2", like="pi1"), study=bench.config.folder / "another"),
            resume=False,
            listener=bench.events.append,
            connect=connecting(FakeDevice(name="pi2")),
        )
    assert not (bench.config.folder / "another").exists()


def test_genomes_of_a_device_with_other_steps_become_the_nearest_ones_and_are_not_taken_for_the_same() -> None:
    space = PruningSpace(
        genes=tuple(ChannelGene(name=n, channels=32, widths=allowed_widths(range(1, 33), 16)) for n in "ab"),
        branches=(BranchGene(name="known", inside=(1,)),),
    )
    found = FoundElsewhere(
        device=DeviceName("pi1"),
        rows=(
            (Genome(widths=(24, 8)), (0.2, 1.0)),
            (Genome(widths=(16, 16)), (0.1, 2.0)),
            (Genome(widths=(32, 9), dropped=("known", "unknown")), (0.3, 0.5)),
        ),
    )
    assert in_this_space(found, space) == (
        (Genome(widths=(16, 16)), (0.1, 2.0), True),
        (Genome(widths=(32, 16), dropped=("known",)), (0.3, 0.5), False),
    )
    assert in_this_space(None, space) == ()
