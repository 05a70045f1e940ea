"""The whole loop on fake devices, with real pruning, real scoring and the real store."""

from __future__ import annotations

import re
import shutil
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import onnx
import pytest
from edgepareto.host.config import DeviceConfig
from edgepareto.host.domain import (
    Activity,
    Batch,
    BatchEntry,
    Constraints,
    DeviceName,
    DeviceProgress,
    Estimate,
    MeterStatus,
    Status,
    StudyFronts,
    dominates,
)
from edgepareto.host.errors import DeviceError, EvaluationError, Failed, ModelError, StudyError, WrongUse
from edgepareto.host.study import candidate_model, read_fronts, run_study
from fakes.fake_fleet import FakeDevice, connecting

if TYPE_CHECKING:
    from conftest import Bench


def stored(bench: Bench) -> dict[str, list[tuple[object, ...]]]:
    """Every row that must not depend on timing; request keys carry the study's own random id."""
    columns = {
        "candidates": "*",
        "generations": "*",
        "batches": "device, phase, round, number, retired",
        "traces JOIN batches USING (request_key)": "device, number, position, candidate, status, data",
        "notes": "*",
    }
    with sqlite3.connect(bench.config.study / "study.sqlite") as file:
        return {
            table: sorted(
                file.execute(f"SELECT {names} FROM {table} WHERE {'retired = 0' if 'batches' in table else '1'}")
            )
            for table, names in columns.items()
        }


def assert_no_front_point_is_dominated(fronts: StudyFronts) -> None:
    for device in fronts.devices:
        estimates = {
            point.candidate.id: Estimate(
                candidate=point.candidate.id,
                error=1 - point.accuracy,
                latency_s=point.measurement.latency_s.value,
                energy_j=point.measurement.energy_j.value if device.has_energy and point.measurement.energy_j else None,
            )
            for point in (*device.front, *device.others)
            if not device.has_energy or point.measurement.energy_j is not None
        }
        for member in device.front:
            beaten_by = [e for e in estimates.values() if dominates(e, estimates[member.candidate.id], device.limits)]
            assert not beaten_by


def test_a_study_ends_in_one_settled_front_per_device(bench: Bench) -> None:
    pi, jetson = FakeDevice(name="pi1"), FakeDevice(name="jetson2", speed=5e6)
    fronts = run_study(
        bench.but("pi1", "jetson2"), resume=False, listener=bench.events.append, connect=connecting(pi, jetson)
    )

    assert [device.device.name for device in fronts.devices] == ["pi1", "jetson2"]
    assert_no_front_point_is_dominated(fronts)
    for device in fronts.devices:
        assert device.complete
        assert device.measured == 18
        assert sum(point.is_knee for point in device.front) == 1
        assert device.front[0].measurement.latency_s.value < device.dense.measurement.latency_s.value
        assert device.hypervolume > 0
        assert device.limits.repeats >= 3
        assert device.shrinkage is not None
        for point in (device.dense, *device.front):
            assert point.candidate.test_accuracy is not None
            assert point.measurement.jobs >= 2
            assert candidate_model(bench.config.study, point.candidate.id).is_file()
    assert read_fronts(bench.config.study) == fronts

    # The anchor is the dense model and is told apart by its attempts; nothing else is measured in the same job twice.
    jobs = Counter((e.candidate, e.purpose, e.attempt) for b in pi.asked for e in (b.anchor, *b.entries))
    assert set(jobs.values()) == {1}
    assert [batch.anchor.attempt for batch in pi.asked] == list(range(len(pi.asked)))
    assert all(len(batch.entries) <= 5 for batch in pi.asked)
    done = [e for e in bench.events if isinstance(e, DeviceProgress) and e.activity is Activity.DONE]
    assert {event.device for event in done} == {"pi1", "jetson2"}
    assert all(event.hypervolume is not None and event.measured == 18 for event in done)

    # Finished: going on measures nothing and needs no board.
    assert (
        run_study(bench.but("pi1", "jetson2"), resume=True, listener=bench.events.append, connect=connecting())
        == fronts
    )


def test_a_study_stopped_anywhere_resumes_to_the_rows_of_an_uninterrupted_one(bench: Bench) -> None:
    whole = replace(bench.config, study=bench.config.study.with_name("whole"))
    expected = run_study(whole, resume=False, listener=bench.events.append, connect=connecting(FakeDevice(name="pi1")))
    expected_rows = stored(replace(bench, config=whole))

    def stop(batch: Batch) -> None:
        raise KeyboardInterrupt

    asked: list[str] = []
    for batches in (0, 2, 3):
        device = FakeDevice(name="pi1")
        device.on_batch = lambda batch, d=device, n=batches: stop(batch) if len(d.asked) > n else None
        with pytest.raises(KeyboardInterrupt):
            run_study(bench.config, resume=batches > 0, listener=bench.events.append, connect=connecting(device))
        asked += [batch.request_key for batch in device.asked[:-1]]
    last = FakeDevice(name="pi1")
    fronts = run_study(bench.config, resume=True, listener=bench.events.append, connect=connecting(last))
    asked += [batch.request_key for batch in last.asked]

    assert len(asked) == len(set(asked))
    assert stored(bench) == expected_rows
    assert fronts.devices == expected.devices


def test_another_budget_goes_on_as_if_it_had_been_set_from_the_start(bench: Bench) -> None:
    whole = replace(bench.but(measurements=23), study=bench.config.study.with_name("whole"))
    expected = run_study(whole, resume=False, listener=bench.events.append, connect=connecting(FakeDevice(name="pi1")))
    first = run_study(
        bench.config, resume=False, listener=bench.events.append, connect=connecting(FakeDevice(name="pi1"))
    )
    longer = run_study(
        bench.but(measurements=23),
        resume=True,
        listener=bench.events.append,
        connect=connecting(FakeDevice(name="pi1")),
    )
    assert longer.devices == expected.devices

    back = FakeDevice(name="pi1")
    shorter = run_study(bench.config, resume=True, listener=bench.events.append, connect=connecting(back))
    assert shorter.devices == first.devices
    assert back.asked == []


def test_a_lost_device_costs_the_others_nothing_and_goes_on_when_it_is_back(bench: Bench) -> None:
    config = bench.but("pi1", "jetson2")
    pi, dying = FakeDevice(name="pi1"), FakeDevice(name="jetson2", batches_until_lost=2)
    fronts = run_study(config, resume=False, listener=bench.events.append, connect=connecting(pi, dying))
    whole, partial = fronts.devices
    assert whole.complete
    assert not partial.complete
    assert "no answer for 15 s" in (partial.incomplete_reason or "")
    assert partial.front
    assert any("jetson2: no answer" in text for text in bench.warnings())

    back = FakeDevice(name="jetson2")
    again = run_study(
        config, resume=True, listener=bench.events.append, connect=connecting(FakeDevice(name="pi1"), back)
    )
    assert again.devices[0] == whole
    assert again.devices[1].complete
    assert {b.request_key for b in back.asked}.isdisjoint({b.request_key for b in dying.asked})


def test_a_device_left_out_of_a_longer_run_goes_on_in_the_next(bench: Bench) -> None:
    def run(*names: str, measurements: int, resume: bool = True) -> StudyFronts:
        devices = [FakeDevice(name=name) for name in names]
        config = bench.but(*names, measurements=measurements)
        return run_study(config, resume=resume, listener=bench.events.append, connect=connecting(*devices))

    run("pi1", "jetson2", measurements=6, resume=False)
    run("pi1", measurements=8)
    both = run("pi1", "jetson2", measurements=8)
    assert [device.measured for device in both.devices] == [8, 8]


def test_model_files_that_were_lost_are_made_again(bench: Bench) -> None:
    small, device = bench.but(measurements=8), FakeDevice(name="pi1")
    before = run_study(small, resume=False, listener=bench.events.append, connect=connecting(device))
    models = small.study / "models"
    files = {file.name for file in models.iterdir()}
    rows = stored(bench)

    shutil.rmtree(models)
    back = FakeDevice(name="pi1")
    assert run_study(small, resume=True, listener=bench.events.append, connect=connecting(back)) == before
    assert back.asked == []
    assert {file.name for file in models.iterdir()} == files
    assert stored(bench) == rows

    with sqlite3.connect(small.study / "study.sqlite") as database:  # they come out as other files
        database.execute("UPDATE candidates SET model_sha256 = replace(model_sha256, '0', '1')")
    database.close()
    again = run_study(bench.but(measurements=9), resume=True, listener=bench.events.append, connect=connecting(back))
    everything = [point for front in again.devices for point in (*front.front, *front.others)]
    assert {p.candidate.id for f in before.devices for p in (*f.front, *f.others)} <= {
        p.candidate.id for p in everything
    }

    for file in models.glob("*.outputs.npz"):
        file.unlink()
    run_study(bench.but(measurements=10), resume=True, listener=bench.events.append, connect=connecting(back))
    assert back.asked


def test_every_device_lost_is_a_failure_that_keeps_what_was_measured(bench: Bench) -> None:
    with pytest.raises(Failed, match="every device was lost: pi1: no answer for 15 s"):
        run_study(
            bench.config,
            resume=False,
            listener=bench.events.append,
            connect=connecting(FakeDevice(name="pi1", batches_until_lost=1)),
        )
    assert read_fronts(bench.config.study).devices[0].measured == 6


def test_a_device_lost_before_its_first_number_has_no_front_to_keep(bench: Bench) -> None:
    device = FakeDevice(name="pi1", trouble=lambda entry: Status.CONTENDED)
    with pytest.raises(Failed, match="every device was lost") as lost:
        run_study(bench.config, resume=False, listener=bench.events.append, connect=connecting(device))
    told = [*bench.warnings(), str(lost.value)]
    assert not any("is kept" in text for text in told)
    assert sum("go on with --resume" in text for text in told) == 2


def test_without_a_meter_energy_is_dropped_loudly_and_an_energy_limit_is_wrong_use(bench: Bench) -> None:
    device = FakeDevice(name="pi1", meter=None)
    limited = bench.but(constraints=Constraints(max_energy_j=0.1), measurements=8)
    with pytest.raises(WrongUse, match=r"pi1: --max-energy-mj .* no power meter"):
        run_study(limited, resume=False, listener=bench.events.append, connect=connecting(device))
    assert device.asked == []
    fresh = replace(bench.but(measurements=8), study=bench.config.study.with_name("fresh"))
    fronts = run_study(fresh, resume=False, listener=bench.events.append, connect=connecting(device))
    assert any(text.startswith("pi1: NO POWER METER") for text in bench.warnings())
    assert not fronts.devices[0].has_energy
    assert all(point.measurement.energy_j is None for point in fronts.devices[0].front)
    with pytest.raises(DeviceError, match="had no power meter when this study began and has one now"):
        run_study(
            replace(fresh, search=replace(fresh.search, measurements=9)),
            resume=True,
            listener=bench.events.append,
            connect=connecting(FakeDevice(name="pi1")),
        )


def test_limits_hold_for_every_front_point_but_not_for_what_is_shown_beside_it(bench: Bench) -> None:
    free = run_study(
        replace(bench.config, study=bench.config.study.with_name("free")),
        resume=False,
        listener=bench.events.append,
        connect=connecting(FakeDevice(name="pi1")),
    )
    latencies = [p.measurement.latency_s.value for p in free.devices[0].front]
    limits = Constraints(
        max_latency_s=(latencies[0] + latencies[-1]) / 2, min_accuracy=free.devices[0].front[0].accuracy
    )
    fronts = run_study(
        bench.but(constraints=limits),
        resume=False,
        listener=bench.events.append,
        connect=connecting(FakeDevice(name="pi1")),
    )
    (device,) = fronts.devices
    assert device.front
    assert all(p.measurement.latency_s.value <= (limits.max_latency_s or 0) for p in device.front)
    assert all(p.accuracy >= (limits.min_accuracy or 0) for p in device.front)
    assert any(p.measurement.latency_s.value > (limits.max_latency_s or 0) for p in device.others)
    assert_no_front_point_is_dominated(fronts)


def test_troubles_are_retried_as_often_as_their_fault_deserves(bench: Bench) -> None:
    tries: Counter[str] = Counter()
    roles: dict[str, str] = {}
    parts = ("oom", "crash", "hot", "meter", "crash-once")

    def trouble(entry: BatchEntry) -> Status | MeterStatus | None:
        role = roles.get(entry.candidate)
        if role is None and len(roles) < len(parts) and entry.attempt == 0 and entry.purpose == "search":
            role = roles[entry.candidate] = parts[len(roles)]
        if role:
            tries[role] += 1
        once = tries["crash-once"] == 1
        return {
            "oom": Status.OOM,
            "crash": Status.WORKER_CRASHED,
            "hot": Status.TOO_HOT,
            "meter": MeterStatus.STUCK,
            "crash-once": Status.TIMEOUT if once else None,
        }.get(role or "")

    device = FakeDevice(name="pi1")
    device.trouble = lambda entry: None if entry is device.asked[-1].anchor else trouble(entry)
    fronts = run_study(bench.config, resume=False, listener=bench.events.append, connect=connecting(device))
    assert {role: tries[role] for role in parts[:4]} == {"oom": 1, "crash": 2, "hot": 3, "meter": 2}
    (front,) = fronts.devices
    by_role = {role: name for name, role in roles.items()}
    usable = {point.candidate.id for point in (*front.front, *front.others)}
    assert {by_role["crash-once"], by_role["meter"]} <= usable
    assert not {by_role["oom"], by_role["crash"], by_role["hot"]} & usable
    assert by_role["meter"] not in {point.candidate.id for point in front.front}
    assert any(by_role["meter"] in text and "METER_STUCK" in text for text in bench.warnings())


def test_an_anchor_that_fails_once_ends_nothing_and_one_that_never_runs_ends_the_device(bench: Bench) -> None:
    device = FakeDevice(name="pi1")
    device.trouble = lambda entry: Status.OOM if entry is device.asked[-1].anchor and entry.attempt == 2 else None
    (front,) = run_study(bench.config, resume=False, listener=bench.events.append, connect=connecting(device)).devices
    assert front.complete
    assert front.measured == 18

    never = FakeDevice(name="pi1")
    never.trouble = lambda entry: None if entry is not never.asked[-1].anchor else Status.OOM
    with pytest.raises(Failed, match="pi1: the unpruned model itself cannot be measured: OOM as the test says"):
        run_study(
            replace(bench.config, study=bench.config.study.with_name("never")),
            resume=False,
            listener=bench.events.append,
            connect=connecting(never),
        )


def test_a_device_on_the_hosts_cores_is_measured_alone(bench: Bench) -> None:
    running: set[str] = set()
    overlaps: list[set[str]] = []
    local = FakeDevice(name="local", shares_host_cores=True)
    pi, jetson = FakeDevice(name="pi1"), FakeDevice(name="jetson2")

    def watched(device: FakeDevice) -> None:
        plain = device.profile

        def profile(batch: Batch, *listeners: object):
            running.add(device.name)
            overlaps.append(set(running))
            try:
                return plain(batch, *listeners)
            finally:
                running.discard(device.name)

        device.profile = profile

    for device in (local, pi, jetson):
        watched(device)
    run_study(
        bench.but("local", "pi1", "jetson2", measurements=8),
        resume=False,
        listener=bench.events.append,
        connect=connecting(local, pi, jetson),
    )
    assert {"local"} in overlaps
    assert all(together == {"local"} for together in overlaps if "local" in together)


@pytest.mark.parametrize("algorithm", ["spea2", "sms-emoa", "random"])
def test_every_algorithm_carries_a_study(bench: Bench, algorithm: str) -> None:
    config = bench.but(algorithm=algorithm, generations=3, measurements=None)
    (front,) = run_study(
        config, resume=False, listener=bench.events.append, connect=connecting(FakeDevice(name="pi1"))
    ).devices
    assert front.complete
    assert front.measured > 12


def test_what_makes_a_resume_impossible_is_one_line_that_says_what(bench: Bench) -> None:
    def run(config, *, resume: bool) -> None:
        run_study(config, resume=resume, listener=bench.events.append, connect=connecting(FakeDevice(name="pi1")))

    small = bench.but(measurements=6)
    run(small, resume=False)
    more = replace(small, search=replace(small.search, measurements=8))
    with pytest.raises(StudyError, match=r"--resume .* --study"):
        run(small, resume=False)
    with pytest.raises(StudyError, match="seed: 2, 9"):
        run(bench.but(measurements=6, seed=9), resume=True)
    with pytest.raises(StudyError, match="pi1: step changed"):
        run(replace(more, devices=(replace(more.devices[0], step=3),)), resume=True)

    other = onnx.load(small.model)
    other.graph.initializer[0].raw_data = bytes(len(other.graph.initializer[0].raw_data))
    onnx.save(other, small.model.with_name("other.onnx"))
    with pytest.raises(StudyError, match=r"is a study of .*tiny\.onnx .* not of .*other\.onnx"):
        run(replace(more, model=small.model.with_name("other.onnx")), resume=True)

    with sqlite3.connect(small.study / "study.sqlite") as file:
        file.execute("UPDATE generations SET genomes = '[[12, 16], [2, 2]]'")
    with pytest.raises(StudyError, match=r"pi1: generation 0 is not what this study asked before.*pymoo"):
        run(more, resume=True)


def test_a_start_that_failed_does_not_stand_in_the_way_of_the_corrected_command(bench: Bench) -> None:
    @contextmanager
    def unreachable(
        configs: object, *, owner: str, state: Path, **waiting: object
    ) -> Iterator[dict[DeviceName, FakeDevice]]:
        raise DeviceError("pi1: agent unreachable")
        yield {}

    with pytest.raises(DeviceError, match="unreachable"):
        run_study(bench.config, resume=False, listener=bench.events.append, connect=unreachable)

    module = bench.config.folder / "metric_to_correct.py"
    module.write_text("def score(predict, dataset):\n    raise ValueError('a mistake')\n")
    own = bench.but(metric="metric_to_correct:score", measurements=6)
    device = FakeDevice(name="pi1")
    with pytest.raises(EvaluationError, match="a mistake"):
        run_study(own, resume=False, listener=bench.events.append, connect=connecting(device))

    module.write_text("def score(predict, dataset):\n    return 0.5\n")
    fronts = run_study(own, resume=False, listener=bench.events.append, connect=connecting(device))
    assert fronts.devices[0].complete


def test_a_model_with_nothing_to_prune_says_why(bench: Bench) -> None:
    wide = replace(bench.config, devices=(DeviceConfig(name="pi1", address="127.0.0.1:1", step=64),))
    with pytest.raises(ModelError, match=r"nothing to prune in steps of 64 channels.*\[devices\.pi1\]"):
        run_study(wide, resume=False, listener=bench.events.append, connect=connecting())
    assert not bench.config.study.exists()


def test_a_budget_smaller_than_what_a_search_begins_with_says_what_is_cut(bench: Bench) -> None:
    run_study(
        bench.but(measurements=4),
        resume=False,
        listener=bench.events.append,
        connect=connecting(FakeDevice(name="pi1")),
    )
    (said,) = [text for text in bench.warnings() if "begins with" in text]
    assert re.fullmatch(
        r"pi1: a search begins with \d+ candidates and may measure 4: the first 4 are measured, the dense model and "
        "the uniform ladder before single cuts, and nothing is searched",
        said,
    )
