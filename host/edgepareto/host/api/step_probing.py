"""Learning the channel steps of devices, for later searches on them."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from edgepareto.host.config import DeviceConfig, Flags, read_settings, write_learned_steps
from edgepareto.host.domain import DeviceName
from edgepareto.host.errors import ConfigError
from edgepareto.host.views import ProbedSteps

__all__ = ["profile_steps"]


def profile_steps(
    devices: Sequence[str | DeviceConfig] | None = None,
    *,
    preset: str | None = None,
    wait_minutes: float = 2,
    settings: str | Path | None = None,
    on_progress: Callable[[str], None] | None = None,
) -> tuple[ProbedSteps, ...]:
    """Probe each device and store what was learned in .edgepareto/steps beside the settings (else the current folder).

    preset: quick where it is not given: steps are large beside its noise. What a finished device taught is stored
    before the next one is asked. wait_minutes: in line for boards that others use. Raises ConfigError, DeviceError,
    DeviceLost.
    """
    from edgepareto.host.fleet import connect, lease_owner  # brings grpc
    from edgepareto.host.study.step_probe import learn_steps

    flags = Flags(devices=None if devices is None else tuple(devices), preset=preset or "quick")
    chosen = read_settings(None if settings is None else Path(settings), flags)
    if not chosen.devices:
        raise ConfigError("no device: give --devices NAME[,NAME], or set [devices.NAME] in edgepareto.toml")
    probed = []
    tell = on_progress or _ignore
    owner = lease_owner(f"profile-steps {secrets.token_hex(4)}")
    with (
        TemporaryDirectory(prefix="edgepareto-steps-") as scratch,
        connect(chosen.devices, owner=owner, state=None, wait_s=60 * wait_minutes, tell=tell) as clients,
    ):
        for device in chosen.devices:
            learned = learn_steps(
                clients[DeviceName(device.name)],
                device,
                preset=chosen.search.preset,
                folder=Path(scratch),
                on_progress=partial(_tell, tell, device.name),
            )
            file = write_learned_steps(learned, chosen.folder)
            probed.append(ProbedSteps(learned=learned, file=file, set_step=device.step))
    return tuple(probed)


def _tell(on_progress: Callable[[str], None], name: str, text: str) -> None:
    on_progress(f"{name}: {text}")


def _ignore(text: str) -> None:
    return None
