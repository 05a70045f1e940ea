"""Every number of a study drawn again from its raw traces, and what differs from what was shown last.

Nothing derived decides anything: fronts are always reduced from traces. What was shown is kept only so that a newer
edgepareto, or a repaired file, can say which numbers it sees differently.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path

from edgepareto.host import __version__
from edgepareto.host.domain import DeviceFront, StudyFronts
from edgepareto.host.domain.point_record import point_record
from edgepareto.host.domain.recomputed import Change, Recomputed
from edgepareto.host.errors import WrongUse
from edgepareto.host.store import StudyStore
from edgepareto.host.study.fronts import read_fronts

__all__ = ["keep_shown", "recompute"]

SHOWN = "shown"
SAME = 1e-9  # relative; a sum in another order

Numbers = Mapping[str, float]
DeviceNumbers = Mapping[str, Numbers]


def recompute(study: Path, *, device: str | None = None) -> Recomputed:
    """Reduce all traces again, compare with what was shown last, and keep the new numbers as shown.

    A trace that cannot be read is left out and named; then nothing is kept. StudyError: no study, held by another
    process, or no device with a readable trace of the unpruned model. device: the one that will be shown; WrongUse
    where the study has no such device, and nothing is kept.
    """
    damaged: list[str] = []
    with StudyStore.open_for_reading(study) as store:
        told = store.meta(SHOWN)
    with StudyStore.open_for_search(study):
        fronts = read_fronts(study, damaged.append)
    names = [front.device.name for front in fronts.devices]
    if device is not None and device not in names:
        raise WrongUse(f"device {device} is not in {study}; it has {', '.join(names)}")
    if not damaged:
        keep_shown(study, fronts)
    shown = None if told is None else json.loads(told)
    return Recomputed(
        fronts=fronts,
        damaged=tuple(damaged),
        shown_by=None if shown is None else shown["by"],
        changes=() if shown is None else tuple(_changes(shown["devices"], _numbers(fronts))),
        compared=0
        if shown is None
        else sum(len(own) for device in shown["devices"].values() for own in device.values()),
    )


def keep_shown(study: Path, fronts: StudyFronts) -> None:
    """Remember what a user was shown, for `recompute`."""
    text = json.dumps({"by": __version__, "devices": _numbers(fronts)})
    with StudyStore.open_for_reading(study) as store:
        store.save_meta(SHOWN, text)


def _numbers(fronts: StudyFronts) -> dict[str, DeviceNumbers]:
    """Per device and candidate; a device's own numbers stand under the empty name."""
    return {front.device.name: _of_device(front) for front in fronts.devices}


def _of_device(front: DeviceFront) -> DeviceNumbers:
    members = {point.candidate.id for point in front.front}
    numbers: dict[str, Numbers] = {"": {"hypervolume": front.hypervolume, "measured": front.measured}}
    for point in (front.dense, *front.front, *front.others):
        record = point_record(point, front)
        values = {name: float(value) for name, value in record.items() if not isinstance(value, str)}
        del values["knee"]
        numbers[point.candidate.id] = values | {"on_front": float(point.candidate.id in members)}
    return numbers


def _changes(shown: Mapping[str, DeviceNumbers], now: Mapping[str, DeviceNumbers]) -> Iterable[Change]:
    for device in dict.fromkeys([*shown, *now]):
        before, after = shown.get(device, {}), now.get(device, {})
        for candidate in dict.fromkeys([*before, *after]):
            then, today = before.get(candidate, {}), after.get(candidate, {})
            for number in dict.fromkeys([*then, *today]):
                a, b = then.get(number), today.get(number)
                if a is None or b is None or not math.isclose(a, b, rel_tol=SAME, abs_tol=1e-15):
                    yield Change(device=device, candidate=candidate, number=number, before=a, after=b)
