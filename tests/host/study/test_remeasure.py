"""Measuring a finished study's front again on fake devices: pooled by every front, unseen by a resumed search."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from edgepareto.host.domain import Batch, DeviceName, Interval, Purpose, Status, StudyFronts, StudyNotice
from edgepareto.host.domain.remeasured import RemeasuredDevice, held
from edgepareto.host.errors import DeviceError, StudyError, WrongUse
from edgepareto.host.store import Phase, StudyStore
from edgepareto.host.study import read_fronts, remeasure, run_study
from fakes.fake_fleet import FakeDevice, connecting

if TYPE_CHECKING:
    from conftest import Bench


@pytest.fixture
def searched(bench: Bench) -> StudyFronts:
    return run_study(
        bench.but("pi1", "jetson2"),
        resume=False,
        listener=bench.events.append,
        connect=connecting(FakeDevice(name="pi1"), FakeDevice(name="jetson2", speed=5e6)),
    )


def again(
    bench: Bench,
    *devices: FakeDevice,
    device: str | None = None,
    candidates: tuple[str, ...] = (),
    preset: str | None = None,
) -> tuple[RemeasuredDevice, ...]:
    return remeasure(
        bench.config.study,
        device=device,
        candidates=candidates,
        preset=preset,
        known=(),
        folder=bench.config.folder,
        listener=bench.events.append,
        connect=connecting(*devices),
    )


def test_every_front_member_gets_one_more_job_and_old_and_new_stand_side_by_side(
    bench: Bench, searched: StudyFronts
) -> None:
    pi, jetson = FakeDevice(name="pi1"), FakeDevice(name="jetson2", speed=5e6)
    found = again(bench, pi, jetson, preset="audit")

    after = read_fronts(bench.config.study)
    for device, before, now in zip(found, searched.devices, after.devices, strict=True):
        assert (device.before, device.after, device.lost) == (before, now, None)
        wanted = {point.candidate.id for point in (before.dense, *before.front)}
        assert {one.candidate for one in device.candidates} == wanted
        pooled = {point.candidate.id: point.measurement for point in (now.dense, *now.front, *now.others)}
        for one in device.candidates:
            assert one.again is not None
            assert one.again.preset == "audit"
            assert one.after == pooled[one.candidate]
            assert one.after.jobs == one.before.jobs + one.again.jobs
            assert one.latency_held is held(one.before.latency_s, one.again.latency_s)
        # Noise is what was said, so most hold.
        assert sum(one.latency_held is True for one in device.candidates) >= 0.7 * len(device.candidates)
        assert all(point.candidate.test_accuracy is not None for point in (now.dense, *now.front))
    assert all(entry.purpose is Purpose.VERIFY for batch in pi.asked for entry in (batch.anchor, *batch.entries))
    assert {batch.preset for batch in pi.asked} == {"audit"}


def test_a_search_that_goes_on_decides_as_if_nothing_had_been_remeasured(bench: Bench, searched: StudyFronts) -> None:
    untouched = bench.config.study.with_name("untouched")
    shutil.copytree(bench.config.study, untouched)
    again(bench, FakeDevice(name="pi1"), FakeDevice(name="jetson2", speed=5e6))

    def longer(study: Path) -> dict[str, list[object]]:
        config = bench.but("pi1", "jetson2", measurements=23)
        config = type(config)(**{name: getattr(config, name) for name in config.__slots__} | {"study": study})
        run_study(
            config,
            resume=True,
            listener=bench.events.append,
            connect=connecting(FakeDevice(name="pi1"), FakeDevice(name="jetson2", speed=5e6)),
        )
        with StudyStore.open_for_reading(study) as store:
            return {
                name: [batch.traces for batch in store.batches(DeviceName(name)) if batch.phase is not Phase.REMEASURE]
                for name in ("pi1", "jetson2")
            }

    assert longer(bench.config.study) == longer(untouched)
    with StudyStore.open_for_reading(bench.config.study) as store:
        assert sum(batch.phase is Phase.REMEASURE for batch in store.batches(DeviceName("pi1"))) >= 1


def test_who_is_on_a_front_for_what_was_remeasured_gets_a_test_score_when_the_search_goes_on(
    bench: Bench, searched: StudyFronts
) -> None:
    """The front came out slower, so the pooled one has members of later generations that the search's own has not."""
    again(bench, FakeDevice(name="pi1", speed=1e5), device="pi1")
    longer = bench.but("pi1", "jetson2", measurements=30)
    devices = connecting(FakeDevice(name="pi1"), FakeDevice(name="jetson2", speed=5e6))
    fronts = run_study(longer, resume=True, listener=bench.events.append, connect=devices)
    points = [point for device in fronts.devices for point in (device.dense, *device.front)]
    assert [point.candidate.id for point in points if point.candidate.test_accuracy is None] == []


def test_another_preset_is_another_batch_even_after_one_that_was_not_stored(
    bench: Bench, searched: StudyFronts
) -> None:
    """An agent that finished a batch whose host died answers its key from its journal, and no other batch by it."""

    def die(batch: Batch) -> None:
        raise KeyboardInterrupt

    keys = []
    for preset in ("quick", "quick", "audit"):
        pi = FakeDevice(name="pi1", on_batch=die)
        with pytest.raises(KeyboardInterrupt):
            again(bench, pi, device="pi1", candidates=("knee",), preset=preset)
        keys.append(pi.asked[0].request_key)
    assert keys[0] == keys[1] != keys[2]


def test_named_candidates_are_measured_on_the_devices_that_have_them(bench: Bench, searched: StudyFronts) -> None:
    pi1 = searched.devices[0]
    knee = next(point.candidate.id for point in pi1.front if point.is_knee)
    other = pi1.others[0].candidate.id
    pi = FakeDevice(name="pi1")
    (found,) = again(bench, pi, device="pi1", candidates=("knee", other[:9], knee))
    dense = pi1.dense.candidate.id
    assert [one.candidate for one in found.candidates] == [dense, *(c for c in (knee, other) if c != dense)]
    with pytest.raises(WrongUse, match="nothing-like-it is no candidate measured there"):
        again(bench, pi, candidates=("nothing-like-it",))
    with pytest.raises(WrongUse, match="device pi9 is not in"):
        again(bench, pi, device="pi9")


def test_a_lost_device_keeps_what_it_measured_and_costs_the_others_nothing(bench: Bench, searched: StudyFronts) -> None:
    pi, jetson = FakeDevice(name="pi1", batches_until_lost=0), FakeDevice(name="jetson2", speed=5e6)
    lost, whole = again(bench, pi, jetson)
    assert lost.lost == "pi1: no answer for 15 s"
    assert lost.candidates == ()
    assert whole.lost is None
    assert all(one.again is not None for one in whole.candidates)


def test_a_batch_that_is_void_three_times_in_a_row_loses_the_device(bench: Bench, searched: StudyFronts) -> None:
    hot = FakeDevice(name="pi1", trouble=lambda entry: Status.TOO_HOT)
    (found,) = again(bench, hot, device="pi1")
    assert found.lost is not None
    assert "3 batches in a row are void: TOO_HOT" in found.lost
    assert [one.message for one in found.candidates if one.again is None]
    assert [p.measurement for p in found.after.front] == [p.measurement for p in found.before.front]
    assert all(p.circumstances is not None and p.circumstances.retries >= 3 for p in found.after.front)


def test_ctrl_c_keeps_the_finished_batches_and_the_next_time_goes_on(bench: Bench, searched: StudyFronts) -> None:
    def stop(batch: Batch) -> None:
        if len(pi.asked) == 2:
            raise KeyboardInterrupt

    pi = FakeDevice(name="pi1", on_batch=stop)
    everything = tuple(p.candidate.id for p in (*searched.devices[0].front, *searched.devices[0].others))[:8]
    with pytest.raises(KeyboardInterrupt):
        again(bench, pi, device="pi1", candidates=everything)
    with StudyStore.open_for_reading(bench.config.study) as store:
        assert sum(batch.phase is Phase.REMEASURE for batch in store.batches(DeviceName("pi1"))) == 1
    (found,) = again(bench, FakeDevice(name="pi1"), device="pi1", candidates=everything)
    assert found.lost is None


def test_it_needs_the_lock_the_files_and_the_meter_that_the_study_had(bench: Bench, searched: StudyFronts) -> None:
    pi = FakeDevice(name="pi1")
    with (
        StudyStore.open_for_search(bench.config.study),
        pytest.raises(StudyError, match="another host process"),
    ):
        again(bench, pi, device="pi1")
    with pytest.raises(DeviceError, match="pi1: had a power meter when this study began and has none now"):
        again(bench, FakeDevice(name="pi1", meter=None), device="pi1")
    sha256 = searched.devices[0].dense.candidate.model_sha256
    (bench.config.study / "models" / f"{sha256}.onnx").unlink()
    with pytest.raises(StudyError, match=r"\.onnx: is gone"):
        again(bench, pi, device="pi1")
    assert pi.asked == []
    assert not [e for e in bench.events if isinstance(e, StudyNotice) and "void" in e.text]


@pytest.mark.parametrize(("second", "expected"), [(1.02, True), (1.03, False), (0.97, False)])
def test_two_results_hold_where_they_differ_by_no_more_than_both_intervals_allow(second: float, expected: bool) -> None:
    """Half widths 0.02 and 0.015: together sqrt(0.02^2 + 0.015^2) = 0.025."""
    before = Interval(value=1.0, low=0.98, high=1.02)
    assert held(before, Interval(value=second, low=second - 0.015, high=second + 0.015)) is expected


def test_the_meter_s_own_error_excuses_no_difference() -> None:
    before, again_ = Interval(value=1.0, low=0.9, high=1.1), Interval(value=1.05, low=0.95, high=1.15)
    assert held(before, again_)
    assert not held(before, again_, 0.099, 0.099)
