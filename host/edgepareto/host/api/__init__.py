"""The public Python functions; the command line calls nothing else.

    from edgepareto.host.api import search
    study = search("resnet.onnx", calibration="calibration.npz", validation="validation.npz", scale=1 / 255,
                   devices=["pi1"], settings="edgepareto.toml", min_accuracy=0.88)
    study.front("pi1").pick("knee").measurement.latency_s

Every function raises EdgeParetoError leaves (edgepareto.host.errors) with one-line messages.

A function's room is imported with its first use: listing the boards loads nothing that prunes.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgepareto.host.api.deploying import DeployTask, deploy
    from edgepareto.host.api.device_access import (
        board_log,
        board_owners,
        grant_access,
        lease_holder,
        revoke_access,
        unlock_device,
    )
    from edgepareto.host.api.devices import (
        add_device,
        add_device_by_card,
        check_devices,
        device_details,
        known_devices,
        known_identity,
        own_identity,
        remove_device,
        write_authority,
    )
    from edgepareto.host.api.models import inspect, prune
    from edgepareto.host.api.profiling import profile
    from edgepareto.host.api.project import check_settings, init_project
    from edgepareto.host.api.searching import search
    from edgepareto.host.api.step_probing import profile_steps
    from edgepareto.host.api.study import DeviceFrontView, Study, export, load_study, recompute, remeasure
    from edgepareto.host.config import DeviceConfig

__all__ = [
    "DeployTask",
    "DeviceConfig",
    "DeviceFrontView",
    "Study",
    "add_device",
    "add_device_by_card",
    "board_log",
    "board_owners",
    "check_devices",
    "check_settings",
    "deploy",
    "device_details",
    "export",
    "grant_access",
    "init_project",
    "inspect",
    "known_devices",
    "known_identity",
    "lease_holder",
    "load_study",
    "own_identity",
    "profile",
    "profile_steps",
    "prune",
    "recompute",
    "remeasure",
    "remove_device",
    "revoke_access",
    "search",
    "unlock_device",
    "write_authority",
]

ROOMS = {
    "edgepareto.host.api.device_access": (
        "board_log",
        "board_owners",
        "grant_access",
        "lease_holder",
        "revoke_access",
        "unlock_device",
    ),
    "edgepareto.host.api.deploying": (
        "DeployTask",
        "deploy",
    ),
    "edgepareto.host.api.devices": (
        "add_device",
        "add_device_by_card",
        "check_devices",
        "device_details",
        "known_devices",
        "known_identity",
        "own_identity",
        "remove_device",
        "write_authority",
    ),
    "edgepareto.host.api.models": (
        "inspect",
        "prune",
    ),
    "edgepareto.host.api.profiling": ("profile",),
    "edgepareto.host.api.project": (
        "check_settings",
        "init_project",
    ),
    "edgepareto.host.api.searching": ("search",),
    "edgepareto.host.api.step_probing": ("profile_steps",),
    "edgepareto.host.api.study": (
        "DeviceFrontView",
        "Study",
        "export",
        "load_study",
        "recompute",
        "remeasure",
    ),
    "edgepareto.host.config": ("DeviceConfig",),
}

if not TYPE_CHECKING:  # else a name that does not exist would be one for type checkers

    def __getattr__(name: str) -> object:
        for room, names in ROOMS.items():
            if name in names:
                return getattr(import_module(room), name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def __dir__() -> list[str]:
        return __all__
