"""How models may be run on a device: what was asked for, of what its agent says that it has and no rule forbids."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import onnx
from edgepareto.host.config import DeviceConfig, SearchConfig
from edgepareto.host.domain import LITERT, ONNX_RUNTIME, DeploymentGenes, DeviceInfo, Format, StudyNotice
from edgepareto.host.domain.deployment import ON_A_DEVICE, ON_GPU
from edgepareto.host.errors import ModelError, WrongUse

__all__ = ["offered_deployments", "planned_deployments"]

FIRST_OWN_DEPLOYMENTS = 3  # protocol version from which a candidate may run otherwise than its batch
EVERY_COUNT_UP_TO = 8  # threads; beyond that the powers of two
WORTH_A_GENE: dict[str, tuple[str, ...]] = {  # 16-bit weights alone make a file smaller, not faster
    ONNX_RUNTIME: ("fp32", "int8"),
    LITERT: ("fp32", "int8"),
    **dict.fromkeys(ON_GPU, ("fp32", "fp16")),
}
POSSIBLE: dict[str, tuple[str, ...]] = {**WORTH_A_GENE, LITERT: ("fp32", "fp16", "int8")}

Tell = Callable[[StudyNotice], None]


def planned_deployments(device: DeviceConfig) -> DeploymentGenes:
    """Where nothing is chosen: as the device is set, in 32 bits."""
    return DeploymentGenes(formats=((device.runtime, "fp32"),))


def offered_deployments(
    search: SearchConfig, device: DeviceConfig, info: DeviceInfo, model: onnx.ModelProto, samples: int, tell: Tell
) -> DeploymentGenes:
    """For a study that begins on the connected device. tell: hears what "all" leaves out, and why.

    model: the unpruned one. samples: for calibration, there are. Raises WrongUse for what was asked for by name and
    cannot be had on the device.
    """
    asked = (search.runtimes, search.precisions, search.threads, search.clock_modes)
    if all(choice is None for choice in asked):
        return planned_deployments(device)
    if info.protocol < FIRST_OWN_DEPLOYMENTS:
        raise WrongUse(
            f"{device.name}: its agent {info.agent_version} runs all candidates alike; upgrade it with host deploy "
            f"{device.name} --upgrade, or drop --runtimes, --precisions, --threads and --clock-modes"
        )
    formats = _formats(search, device, info, model, samples, tell)
    threads = _threads(search.threads, device, info)
    usual = device.threads or info.default_threads
    return DeploymentGenes(
        formats=formats,
        threads=threads,
        clock_modes=_clock_modes(search.clock_modes, device, info, tell),
        usual_threads=usual if usual in threads else threads[-1],
    )


def _formats(
    search: SearchConfig, device: DeviceConfig, info: DeviceInfo, model: onnx.ModelProto, samples: int, tell: Tell
) -> tuple[Format, ...]:
    """The device's own runtime in 32 bits first, where it is among them."""
    runtimes = (device.runtime,) if search.runtimes is None else search.runtimes or tuple(WORTH_A_GENE)
    precisions = ("fp32",) if search.precisions is None else search.precisions
    by_name = bool(search.runtimes), bool(search.precisions)
    found, refused = [], []
    for runtime in runtimes:
        missing = None if info.runtime(runtime) else f"its agent has no {runtime}"
        if missing and (by_name[0] or search.runtimes is None):
            has = ", ".join(known.name for known in info.runtimes) or "none"
            way_out = "drop it" if info.simulated else "install it there or drop it"
            raise WrongUse(f"{device.name}: --runtimes {runtime}: {missing} (it has {has}); {way_out}")
        if missing:
            continue
        unexpressible = _unexpressible(model) if runtime == LITERT else None
        for precision in precisions or WORTH_A_GENE[runtime]:
            why = _why_not(runtime, precision, info, model, samples, unexpressible)
            if why is None:
                found.append((runtime, precision))
            else:
                refused.append(f"no {precision} in {runtime}: {why}")
    if not found:
        raise WrongUse(f"{device.name}: {'; '.join(refused)}; ask for another --precisions or --runtimes")
    for line in refused:
        tell(StudyNotice(text=f"{device.name}: {line}", is_warning=any(by_name)))
    return tuple(sorted(dict.fromkeys(found), key=lambda one: (one[0] != device.runtime, one[1] != "fp32")))


def _unexpressible(model: onnx.ModelProto) -> str | None:
    """What LiteRT lacks; converting tells, so once for all precisions."""
    from edgepareto.host.export.board_files import require_expressible  # brings LiteRT

    try:
        require_expressible(model, "the model")
    except ModelError as error:
        return str(error)
    return None


def _why_not(
    runtime: str, precision: str, info: DeviceInfo, model: onnx.ModelProto, samples: int, unexpressible: str | None
) -> str | None:
    """unexpressible: why the runtime cannot have the model at all."""
    installed = info.runtime(runtime)
    assert installed is not None, "looked for before"
    if precision not in POSSIBLE[runtime]:
        return f"that runtime can have {', '.join(POSSIBLE[runtime])}"
    if installed.lacks_figures(ON_A_DEVICE[runtime][1], precision):
        return f"the simulated {info.board} has no figures of it"
    if unexpressible is not None or precision == "fp32":
        return unexpressible
    from edgepareto.host.export.quantize import FEWEST_SAMPLES, missing_lite_quantizer, model_kind, refusal

    if precision == "int8" and samples < FEWEST_SAMPLES:
        return f"its ranges are learnt from {FEWEST_SAMPLES} calibration samples or more, there are {samples}"
    if precision == "int8" and runtime == LITERT and (missing := missing_lite_quantizer()):
        return missing
    return refusal(
        runtime=runtime,
        library=installed.library,
        version=installed.version,
        precision=precision,
        kind=model_kind(model),
    )


def _threads(asked: Sequence[int] | None, device: DeviceConfig, info: DeviceInfo) -> tuple[int, ...]:
    if asked is None:
        return (0,)
    cores = info.cpu_count
    too_many = [count for count in asked if count > cores]
    if too_many:
        raise WrongUse(
            f"{device.name}: --threads {too_many[0]}: this board has {cores} cores; choose 1 to {cores}, or all"
        )
    if asked:
        return tuple(asked)
    few = range(1, min(cores, EVERY_COUNT_UP_TO) + 1)
    powers = (2**power for power in range(4, cores.bit_length()) if 2**power < cores)
    return tuple(sorted({*few, *powers, cores}))


def _clock_modes(asked: Sequence[str] | None, device: DeviceConfig, info: DeviceInfo, tell: Tell) -> tuple[str, ...]:
    if asked is None:
        return ("",)
    offered = info.clock_modes
    if not asked and not offered:
        tell(StudyNotice(text=f"{device.name}: no clock modes: its owner allows none (docs/boards.md)"))
        return ("",)
    if not asked:
        return offered
    unknown = [mode for mode in asked if mode not in offered]
    if unknown:
        raise WrongUse(
            f"{device.name}: --clock-modes {unknown[0]}: "
            + (f"it has {', '.join(offered)}" if offered else "its owner allows none (docs/boards.md, Clock modes)")
        )
    return tuple(asked)
