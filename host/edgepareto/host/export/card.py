"""The card beside an exported model: what it is, how it was made, and what was measured where, and how."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from pathlib import Path

from edgepareto.host import __version__
from edgepareto.host.domain.circumstances import Circumstances
from edgepareto.host.domain.device_front import DeviceFront, FrontPoint, StudyFronts
from edgepareto.host.domain.point_record import PointRecord, point_record
from edgepareto.host.errors import WrongUse
from edgepareto.host.export.onnx_file import output_must_be_writable, sha256_of, write_whole

__all__ = ["ExportedModel", "export_candidate"]

SCHEMA = 1
CardValue = str | float | int | bool | list[str] | list[int]
Card = dict[str, CardValue | dict[str, CardValue] | PointRecord]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportedModel:
    """The two files of an export and the point they were made from."""

    model: Path
    card: Path
    point: FrontPoint


def export_candidate(
    point: FrontPoint, device_front: DeviceFront, model_file: Path, output: Path, study: StudyFronts
) -> ExportedModel:
    """Copy a candidate's model file to `output` and write `output`.json. WrongUse where either may not be written."""
    card_file = output.with_name(f"{output.name}.json")
    if {output.suffix, model_file.suffix} == {".onnx", ".tflite"}:
        way = device_front.deployment(point)
        raise WrongUse(
            f"{output}: {point.candidate.id} ran as {way.runtime} {way.precision}, its file is a {model_file.suffix}; "
            f"name it {output.with_suffix(model_file.suffix).name}"
        )
    output_must_be_writable(output)
    output_must_be_writable(card_file)
    if not model_file.is_file():
        raise WrongUse(
            f"{model_file}: the study's model file of {point.candidate.id} is gone; search again with --resume"
        )
    if output.exists() and output.samefile(model_file):
        raise WrongUse(f"{output}: is the study's own file; choose another -o")
    write_whole(output, model_file.read_bytes())
    card = json.dumps(_card(point, device_front, study, sha256_of(output), output.name), indent=2)
    write_whole(card_file, f"{card}\n".encode())
    return ExportedModel(model=output, card=card_file, point=point)


def _card(point: FrontPoint, device_front: DeviceFront, study: StudyFronts, sha256: str, file: str) -> Card:
    device = device_front.device
    measurement, dense = point.measurement, device_front.dense.measurement
    energy, dense_energy = device_front.energy(point), device_front.energy(device_front.dense)
    card: Card = {
        "schema": SCHEMA,
        "file": file,
        "sha256": sha256,
        "model": study.model,
        "study": study.study,
        "metric": study.metric,
        "device": device.name,
        "board": device.board,
    }
    card.update(point_record(point, device_front, file=file, knee=point.is_knee))
    if not measurement.simulated:
        del card["simulated"]
    card["speed_up_over_dense"] = dense.latency_s.value / measurement.latency_s.value
    if dense_energy is not None and energy is not None and dense_energy.value > 0:
        card["energy_saving_over_dense"] = 1 - energy.value / dense_energy.value
    if device_front.has_energy:
        card["energy_objective"] = device_front.energy_objective.value  # whose saving and repeatability it tells
    card["dense"] = point_record(device_front.dense, device_front)
    twin = device_front.twin(point)
    if twin is not None:  # made of the same cut, so a reader sees what distilling was worth
        card["undistilled" if point.candidate.recipe.is_distilled else "distilled"] = point_record(twin, device_front)
    card["conditions"] = _conditions(point, device_front)
    card["made"] = _making(point, study)
    if not device_front.complete:
        card["incomplete"] = device_front.incomplete_reason or "the search was not at its end"
    return card


def _making(point: FrontPoint, study: StudyFronts) -> dict[str, CardValue]:
    recipe = point.candidate.recipe
    distilled: dict[str, CardValue] = {"distil_steps": recipe.distil_steps, "distil_labels": recipe.distil_labels}
    return {
        "by": f"edgepareto {__version__}",
        "algorithm": study.algorithm,
        "criterion": recipe.criterion,
        "recovery": recipe.recovery,
        "calibration_images": recipe.images,
        "channels_kept_per_group": list(point.candidate.genome.widths),
        **(distilled if recipe.is_distilled else {}),
        **({"dropped_branches": list(point.candidate.genome.dropped)} if point.candidate.genome.dropped else {}),
    }


def _conditions(point: FrontPoint, device_front: DeviceFront) -> dict[str, CardValue]:
    """Under what the numbers hold: intervals are 95 %, energy is per inference, batch 1."""
    device = device_front.device
    conditions: dict[str, CardValue] = {
        "batch": 1,
        "jobs": point.measurement.jobs,
        "interval": 0.95,
        "repeatability_latency": device_front.limits.latency,
        "operating_system": device.os,
        "architecture": device.architecture,
        "agent": device.agent_version,
        "tags": sorted(point.measurement.tags),
    }
    if device.meter is not None and point.measurement.energy_j is not None:
        conditions["meter"] = device.meter.kind
        conditions["meter_quality"] = device.meter.quality.value
        conditions["repeatability_energy"] = device_front.limits.energy
    if point.circumstances is not None:
        conditions |= _measured_under(point.circumstances)
    if device.profile_note:
        conditions["note"] = device.profile_note
    return conditions


def _measured_under(found: Circumstances) -> dict[str, CardValue]:
    """Every field that is known, by its name; the meter's own stand beside its kind."""
    record: dict[str, CardValue] = {}
    for field in fields(found):
        value = getattr(found, field.name)
        if isinstance(value, tuple):
            value = list(value)
        if value not in (None, []) and field.name != "meter":
            record[field.name] = value
    if found.meter is not None:
        meter = found.meter
        own = {"address": meter.address, "shunt_ohm": meter.shunt_ohm, "rail": meter.rail}
        own |= {"config": meter.config, "calibration": meter.calibration}
        record |= {f"meter_{name}": value for name, value in own.items() if value is not None}
    return record
