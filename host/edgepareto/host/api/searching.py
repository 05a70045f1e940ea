"""The main job as a function."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from edgepareto.host.api.study import Study
from edgepareto.host.config import DeviceConfig, Flags, read_settings
from edgepareto.host.domain import DeviceProgress, StudyNotice

__all__ = ["search"]


def search(
    model: str | Path | None = None,
    *,
    calibration: str | Path | None = None,
    validation: str | Path | None = None,
    test: str | Path | None = None,
    devices: Sequence[str | DeviceConfig] | None = None,
    study: str | Path | None = None,
    resume: bool = False,
    min_accuracy: float | None = None,
    max_latency_ms: float | None = None,
    max_energy_mj: float | None = None,
    scale: float | str | None = None,
    offset: float | str | None = None,
    layout: str | None = None,
    shapes: Sequence[str] = (),
    metric: str | None = None,
    algorithm: str | None = None,
    population: int | None = None,
    generations: int | None = None,
    measurements: int | None = None,
    minutes: float | None = None,
    seed: int | None = None,
    search_images: int | None = None,
    finalist_images: int | None = None,
    branches: bool | None = None,
    like: str | None = None,
    distil: bool | None = None,
    distil_labels: float | None = None,
    preset: str | None = None,
    energy: str | None = None,
    runtimes: str | Sequence[str] | None = None,
    precisions: str | Sequence[str] | None = None,
    threads: str | Sequence[int] | None = None,
    clock_modes: str | Sequence[str] | None = None,
    wait_minutes: float = 2,
    settings: str | Path | None = None,
    listener: Callable[[DeviceProgress | StudyNotice], None] | None = None,
) -> Study:
    """Search for the pruned versions of a model that trade accuracy, latency and energy best on each device.

    The three thresholds are hard constraints on accuracy, latency and energy: what breaks one is on no front. They are
    what others call prune_model(model, precision_threshold, speed_threshold, power_threshold), in measured units.

    settings: an edgepareto.toml; every argument that is given wins over it, and without it all must be given. Paths
    are relative to the current folder. devices: names of the settings, "local", "HOST:PORT", or DeviceConfig values;
    None: all of the settings. shapes: sizes of an input that has symbolic ones, as typed, "x=1,3,224,224".
    metric: "top1", "precision", "agreement" (with the unpruned model: no labels) or "module:function". search_images,
    finalist_images: calibration samples that a model is repaired with, all where there are fewer; None: 512, 1,024.
    branches: whether residual branches may be left out as a whole; None: they may. like: a device of the study, whose
    findings new devices start from; the study then goes on as with resume.
    distil: give each finalist a second version, trained for seconds towards the unpruned model's outputs; needs torch.
    distil_labels: the weight in it of the calibration samples' labels, implies distil; None: none are needed.
    measurements: budget per device. energy: "total" or "dynamic" (above idle), which every device must then measure;
    None: total where a device has a meter that works. runtimes, precisions, threads, clock_modes: how models may be
    run, searched together with their channels; "all": whatever each device offers. wait_minutes: in line for boards
    that others use. listener: told of progress, from one thread at a time. A search that was stopped goes on with
    resume=True and measures nothing twice; what is not given is then the study's own.

    Raises WrongUse leaves for input that does not fit, before anything is measured, and Failed leaves for what goes
    wrong on the way. KeyboardInterrupt passes through after finished batches are stored.
    """
    flags = Flags(
        model=_text(model),
        study=_text(study),
        calibration=_text(calibration),
        validation=_text(validation),
        test=_text(test),
        scale=scale,
        offset=offset,
        layout=layout,
        shapes=tuple(shapes),
        devices=None if devices is None else tuple(devices),
        algorithm=algorithm,
        metric=metric,
        population=population,
        generations=generations,
        measurements=measurements,
        minutes=minutes,
        seed=seed,
        search_images=search_images,
        finalist_images=finalist_images,
        branches=branches,
        like=like,
        distil=distil,
        distil_labels=distil_labels,
        preset=preset,
        energy=energy,
        runtimes=_choice(runtimes),
        precisions=_choice(precisions),
        threads=_choice(threads),
        clock_modes=_choice(clock_modes),
        min_accuracy=min_accuracy,
        max_latency_ms=max_latency_ms,
        max_energy_mj=max_energy_mj,
    )
    from edgepareto.host.study import keep_shown, run_study, stored_search  # brings pymoo and grpc

    file = None if settings is None else Path(settings)
    chosen = read_settings(file, flags)
    begun = stored_search(chosen.study) if resume or like is not None else None
    config = (chosen if begun is None else read_settings(file, flags, defaults=begun)).study_config()
    fronts = run_study(config, resume=resume, listener=listener or _ignore, wait_s=60 * wait_minutes)
    keep_shown(config.study, fronts)
    return Study(path=config.study, fronts=fronts)


def _choice(given: str | Sequence[object] | None) -> str | None:
    return given if given is None or isinstance(given, str) else ",".join(map(str, given))


def _text(value: str | Path | None) -> str | None:
    return None if value is None else str(value)


def _ignore(event: DeviceProgress | StudyNotice) -> None:
    return None
