"""What a study began with on a device, asked of the device that is there now: a search that goes on, or a front that is
measured again, must run models as before."""

from __future__ import annotations

from edgepareto.host.domain import DeploymentGenes, DeviceInfo
from edgepareto.host.errors import WrongUse
from edgepareto.host.study.offered_deployments import FIRST_OWN_DEPLOYMENTS

__all__ = ["require_still_offered"]


def require_still_offered(begun_with: DeploymentGenes, info: DeviceInfo) -> None:
    """Raises WrongUse where its agent would run a candidate otherwise, or cannot run it any more."""
    if begun_with.sizes == (1, 1, 1) and not begun_with.usual.clock_mode:
        return  # all alike, as every agent can; its runtime is asked for when it is connected
    if info.protocol < FIRST_OWN_DEPLOYMENTS:
        raise WrongUse(
            f"{info.name}: its agent {info.agent_version} runs all candidates alike, the study varies how they run; "
            f"upgrade it with host deploy {info.name} --upgrade"
        )
    runtimes = dict.fromkeys(runtime for runtime, _ in begun_with.formats)
    missing = [runtime for runtime in runtimes if info.runtime(runtime) is None]
    missing += [f"clock mode {mode}" for mode in begun_with.clock_modes if mode and mode not in info.clock_modes]
    if missing:
        raise WrongUse(
            f"{info.name}: the study was begun with {', '.join(missing)}, which the device does not have any more; "
            "set that up there again, or choose another --study"
        )
