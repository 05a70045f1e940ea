"""Fronts for programs: JSON (stable, see `schema`) and CSV. SI units; what is not known is absent."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from datetime import timezone

from edgepareto.host.domain.candidate import CandidateId
from edgepareto.host.domain.device_front import DeviceFront, FrontPoint, Shrinkage, Sparing, StudyFronts
from edgepareto.host.domain.incident import Incident
from edgepareto.host.domain.point_record import PointRecord, point_record

__all__ = ["CSV_COLUMNS", "front_csv", "front_json"]

SCHEMA = 1
FileOf = Callable[[CandidateId], str]
CSV_COLUMNS = (
    "device",
    "board",
    "is_dense",
    "on_front",
    "candidate",
    "accuracy",
    "accuracy_difference",
    "accuracy_difference_low",
    "accuracy_difference_high",
    "test_accuracy",
    "test_accuracy_difference",
    "test_accuracy_difference_low",
    "test_accuracy_difference_high",
    "latency_s",
    "latency_low_s",
    "latency_high_s",
    "energy_j",
    "energy_low_j",
    "energy_high_j",
    "energy_systematic_j",
    "dynamic_energy_j",
    "dynamic_energy_low_j",
    "dynamic_energy_high_j",
    "reproducible",
    "macs",
    "parameters",
    "bytes",
    "runtime",
    "precision",
    "threads",
    "preset",
    "knee",
    "smaller_not_faster",
    "simulated",
    "file",
    # Later ones stand behind, for readers that count columns.
    "output_error",
    "clock_mode",
    "board_accuracy",
    "board_accuracy_difference",
    "board_accuracy_difference_low",
    "board_accuracy_difference_high",
    "board_samples",
    "divergence",
    "dropped_branches",
    "distil_steps",
)


def front_json(study: StudyFronts, file_of: FileOf) -> str:
    """`host front --format json`. file_of: where the study keeps a candidate's model."""
    record = {
        "schema": SCHEMA,
        "study": study.study,
        "model": study.model,
        "metric": study.metric,
        "preset": study.preset,
        "algorithm": study.algorithm,
        "devices": [_device_record(device, file_of) for device in study.devices],
    }
    return json.dumps(record, indent=2)


def front_csv(study: StudyFronts, file_of: FileOf) -> str:
    """One row per front point and the dense model, a header first; an empty cell is an unknown value."""
    text = io.StringIO()
    writer = csv.DictWriter(text, CSV_COLUMNS, lineterminator="\n")
    writer.writeheader()
    for device in study.devices:
        members = {point.candidate.id for point in device.front}
        dense_apart = [] if device.dense.candidate.id in members else [device.dense]
        for point in (*dense_apart, *device.front):
            where: PointRecord = {
                "device": device.device.name,
                "board": device.device.board,
                "is_dense": point.candidate.id == device.dense.candidate.id,
                "on_front": point.candidate.id in members,
            }
            writer.writerow({key: _cell(value) for key, value in (where | _record(point, device, file_of)).items()})
    return text.getvalue()


def _device_record(device: DeviceFront, file_of: FileOf) -> dict[str, object]:
    record: dict[str, object] = {
        "name": device.device.name,
        "board": device.device.board,
        "simulated": device.device.simulated,
        "complete": device.complete,
        "measured": device.measured,
        "hypervolume": device.hypervolume,
        "repeatability": _repeatability(device),
        "dense": point_record(device.dense, device, file=file_of(device.dense.candidate.id)),
        "front": [_record(point, device, file_of) for point in device.front],
    }
    optional = {
        "incomplete_reason": device.incomplete_reason,
        "energy_objective": device.energy_objective.value if device.has_energy else None,
        **_shrinkage(device.shrinkage),
        **_sparing(device.sparing),
        "notes": list(device.notes) or None,
        "incidents": [_incident_record(incident) for incident in device.incidents] or None,
    }
    return record | {name: value for name, value in optional.items() if value is not None}


def _sparing(sparing: Sparing | None) -> dict[str, object]:
    if sparing is None:
        return {}
    return {
        "spared": sparing.candidates,
        "below_minimum": sparing.below,
        "audited": sparing.audited,
        "audited_on_front": sparing.on_front,
    }


def _incident_record(incident: Incident) -> dict[str, str]:
    return {
        "at": incident.at.astimezone(timezone.utc).isoformat(timespec="seconds"),
        "kind": incident.kind,
        "detail": incident.detail,
        "outcome": incident.outcome,
    }


def _repeatability(device: DeviceFront) -> dict[str, float | int | bool]:
    """How far two jobs of one candidate may lie apart, as shares; a limit that nothing is behind is absent."""
    limits = device.limits
    found: dict[str, float | int | bool] = {"reproducible": limits.reproducible, "anchor_jobs": limits.anchor_jobs}
    if limits.repeats:
        found["latency"] = limits.latency
    if limits.energy_repeats if limits.energy_repeats is not None else limits.repeats:
        found["energy"] = limits.energy
    return found


def _shrinkage(shrinkage: Shrinkage | None) -> dict[str, float | None]:
    """In percent, as these have always been."""
    if shrinkage is None:
        return {}
    energy = shrinkage.energy
    return {"shrinkage": 100 * shrinkage.latency, "shrinkage_energy": None if energy is None else 100 * energy}


def _record(point: FrontPoint, device: DeviceFront, file_of: FileOf) -> PointRecord:
    return point_record(point, device, file=file_of(point.candidate.id), knee=point.is_knee)


def _cell(value: str | float | bool) -> str | float:
    return str(value).lower() if isinstance(value, bool) else value
