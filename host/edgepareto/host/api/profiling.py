"""Measuring models on devices outside of any search."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from edgepareto.host.api.sample_inputs import SAMPLE_INPUTS, sample_inputs
from edgepareto.host.config import DeviceConfig, Flags, Settings, read_settings
from edgepareto.host.domain import (
    LITERT,
    MAXIMUM_BATCH,
    ONNX_RUNTIME,
    Batch,
    BatchEntry,
    CandidateId,
    Deployment,
    Purpose,
    reduce_trace,
)
from edgepareto.host.errors import ConfigError
from edgepareto.host.export import (
    InputTensor,
    expected_outputs,
    fix_input_shapes,
    input_tensors,
    read_model,
    require_known_shapes,
    sha256_of,
    write_model,
    write_sample_inputs,
)
from edgepareto.host.views import ProfileResult

if TYPE_CHECKING:
    from edgepareto.host.fleet import ProfilerClient

__all__ = ["profile"]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Prepared:
    """A model ready to be sent: as the user named it, and its file and samples for LiteRT and for all others."""

    named: Path
    inputs: tuple[InputTensor, ...]
    entries: Mapping[str, BatchEntry]
    samples: Mapping[str, Path]
    fed_with: str


def profile(
    models: Sequence[str | Path],
    *,
    devices: Sequence[str | DeviceConfig] | None = None,
    preset: str | None = None,
    calibration: str | Path | None = None,
    shapes: Sequence[str] = (),
    ops: bool = False,
    wait_minutes: float = 2,
    settings: str | Path | None = None,
    on_progress: Callable[[str], None] | None = None,
) -> tuple[ProfileResult, ...]:
    """Measure each model on each device, one job each, device by device. A symbolic batch is measured as 1.

    Models with equal inputs share a batch, its first model is the anchor. They are fed calibration samples where there
    are any that fit, else seeded uniform numbers; each result says which. shapes: as typed, "x=1,3,224,224".
    ops: also the time of each operator, by the runtime's own profile. wait_minutes: in line for boards that others use.
    Raises ModelError for a broken model or unknown input sizes, ConfigError, DataError, DeviceError.
    """
    from edgepareto.host.fleet import connect, lease_owner  # brings grpc

    if not models:
        raise ConfigError("no model: name at least one .onnx file")
    flags = Flags(
        devices=None if devices is None else tuple(devices),
        preset=preset,
        calibration=None if calibration is None else str(calibration),
        shapes=tuple(shapes),
    )
    chosen = read_settings(None if settings is None else Path(settings), flags)
    if not chosen.devices:
        raise ConfigError("no device: give --devices NAME[,NAME], or set [devices.NAME] in edgepareto.toml")
    untold = [device for device in chosen.devices if device.runtime != ONNX_RUNTIME] if ops else []
    if untold:
        who = "LiteRT" if untold[0].runtime == LITERT else untold[0].runtime
        names = ", ".join(device.name for device in untold)
        raise ConfigError(f"--ops: {who} does not tell the time of single operators; leave out {names}")
    with TemporaryDirectory(prefix="edgepareto-profile-") as scratch:
        folder = Path(scratch)
        prepared = [
            _prepare(Path(model), number, chosen, folder, must_fit=calibration is not None)
            for number, model in enumerate(models)
        ]
        owner = lease_owner(f"profile {secrets.token_hex(4)}")
        tell = on_progress or _ignore
        with connect(chosen.devices, owner=owner, state=None, wait_s=60 * wait_minutes, tell=tell) as clients:
            return tuple(
                result
                for client in clients.values()
                for group in _batches(prepared)
                for result in _measure(group, client, chosen, tell, ops=ops)
            )


def _prepare(model: Path, number: int, chosen: Settings, folder: Path, *, must_fit: bool) -> _Prepared:
    fixed = fix_input_shapes(read_model(model), chosen.data.shapes)
    require_known_shapes(fixed)
    file, samples, outputs = (folder / f"{number}{ending}" for ending in (".onnx", ".inputs.npz", ".outputs.npz"))
    write_model(fixed, file)
    inputs = input_tensors(fixed)
    dataset, fed_with = sample_inputs(inputs, chosen, must_fit=must_fit)
    write_sample_inputs(dataset, SAMPLE_INPUTS, samples)
    expected_outputs(file, samples, outputs)
    sha256 = sha256_of(file)
    entry = BatchEntry(
        candidate=CandidateId(f"{sha256[:12]}-{number}"),
        purpose=Purpose.SEARCH,
        attempt=0,
        model=file,
        model_sha256=sha256,
        expected_outputs=outputs,
    )
    entries, feeds = {ONNX_RUNTIME: entry}, {ONNX_RUNTIME: samples}
    if any(device.runtime == LITERT for device in chosen.devices):
        from edgepareto.host.export.board_files import require_expressible, write_lite_files  # brings LiteRT

        lite, feeds[LITERT], answers = (folder / f"{number}.tflite{ending}" for ending in ("", ".in.npz", ".out.npz"))
        require_expressible(fixed, str(model))
        write_lite_files(file, samples, outputs, lite_model=lite, lite_inputs=feeds[LITERT], lite_expected=answers)
        entries[LITERT] = replace(entry, model=lite, model_sha256=sha256_of(lite), expected_outputs=answers)
    return _Prepared(named=model, inputs=inputs, entries=entries, samples=feeds, fed_with=fed_with)


def _batches(prepared: Sequence[_Prepared]) -> Iterator[list[_Prepared]]:
    """Models that take the same inputs, at most an anchor and MAXIMUM_BATCH at once; in the order given."""
    waiting = list(prepared)
    while waiting:
        first = waiting[0]
        group = [model for model in waiting if model.inputs == first.inputs and model.fed_with == first.fed_with]
        group = group[: MAXIMUM_BATCH + 1]
        waiting = [model for model in waiting if model not in group]
        yield group


def _measure(
    group: Sequence[_Prepared],
    client: ProfilerClient,
    chosen: Settings,
    on_progress: Callable[[str], None],
    *,
    ops: bool,
) -> Iterator[ProfileResult]:
    device = next(device for device in chosen.devices if device.name == client.info.name)
    files = LITERT if device.runtime == LITERT else ONNX_RUNTIME  # a GPU takes the .onnx file as well
    batch = Batch(
        request_key=secrets.token_hex(16),
        preset=chosen.search.preset,
        order_seed=chosen.search.seed,
        anchor=group[0].entries[files],
        entries=tuple(model.entries[files] for model in group[1:]),
        inputs=group[0].samples[files],
        deployment=Deployment(runtime=device.runtime, threads=device.threads or 0),
        time_operators=ops,
    )
    name = client.info.name
    traces = client.profile(
        batch,
        lambda text: on_progress(f"{name}: {text}"),
        lambda incident: on_progress(f"{name}: {incident.detail}, {incident.outcome}"),
    )
    for model, trace in zip(group, traces, strict=True):
        yield ProfileResult(
            model=model.named,
            device=client.info,
            job=reduce_trace(trace),
            runtime=trace.runtime,
            inputs=model.fed_with,
            operators=trace.operators if ops else None,
        )


def _ignore(text: str) -> None:
    return None
