"""Which channel steps a search uses on a device: those of its settings, else those learned of it, else the default.

They are fixed in the device's record when a study begins on it, so that a later probe changes no search that goes on.
"""

from __future__ import annotations

from collections.abc import Callable

from edgepareto.host.config import DeviceConfig, StudyConfig, read_learned_steps, steps_file
from edgepareto.host.domain import DeviceInfo, StudyNotice
from edgepareto.host.domain.learned_steps import DEFAULT_STEP, ChannelSteps, KernelKind, LearnedSteps
from edgepareto.host.pruning.group_steps import group_steps
from edgepareto.host.store import DeviceRecord
from edgepareto.host.study.inputs import StudyInputs

__all__ = ["channel_steps", "planned_steps", "step_changed"]


def planned_steps(inputs: StudyInputs, config: StudyConfig, device: DeviceConfig) -> ChannelSteps:
    """What a study that begins would use if the device is the one that was probed. Raises ConfigError."""
    learned = None if device.step is not None else read_learned_steps(config.folder, device.name)
    return _steps(inputs, device, learned)


def channel_steps(
    inputs: StudyInputs,
    config: StudyConfig,
    device: DeviceConfig,
    info: DeviceInfo,
    listener: Callable[[StudyNotice], None],
) -> ChannelSteps:
    """For a study that begins on the connected device. The listener is told what learned steps are used or ignored.

    Raises ConfigError for a file of learned steps that cannot be read.
    """
    if device.step is not None:
        return _steps(inputs, device, None)
    learned = read_learned_steps(config.folder, device.name)
    if learned is None:
        return _steps(inputs, device, None)
    threads = device.threads or info.default_threads
    other = learned.mismatch(info, runtime=device.runtime, threads=threads)
    if other is not None:
        file = steps_file(config.folder, device.name)
        text = (
            f"{device.name}: {file} was learned elsewhere ({other}) and is ignored, channels are cut in steps of "
            f"{DEFAULT_STEP}; host profile-steps --devices {device.name} learns anew"
        )
        listener(StudyNotice(text=text, is_warning=True))
        return _steps(inputs, device, None)
    steps = _steps(inputs, device, learned)
    if steps.learned:
        found = ", ".join(f"{kind.value} {step}" for kind, step in steps.learned)
        listener(StudyNotice(text=f"{device.name}: channel steps as learned on {learned.measured_at[:10]}: {found}"))
    return steps


def step_changed(stored: DeviceRecord, device: DeviceConfig) -> bool:
    """Whether the settings name another step than the study was begun with. One that was learned since is no change."""
    if stored.channel_steps is not None and stored.channel_steps.learned:
        return device.step is not None
    return (stored.config.step or DEFAULT_STEP) != (device.step or DEFAULT_STEP)


def _steps(inputs: StudyInputs, device: DeviceConfig, learned: LearnedSteps | None) -> ChannelSteps:
    if learned is None:
        return ChannelSteps(by_group=_uniform(inputs, device.step or DEFAULT_STEP))
    by_kind = {kind: learned.sure.get(kind, DEFAULT_STEP) for kind in KernelKind}
    return ChannelSteps(by_group=group_steps(inputs.analysis, by_kind), learned=tuple(learned.sure.items()))


def _uniform(inputs: StudyInputs, step: int) -> tuple[int, ...]:
    return (step,) * len(inputs.analysis.groups)
