"""What board this is, read from the real box; a simulated board gives the same fields itself."""

from __future__ import annotations

import hashlib
import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import metadata, util
from pathlib import Path

__all__ = ["DeviceInfo", "InstalledRuntime", "agent_version", "boot_id_of", "installed_runtimes", "read_device_info"]

BOOT_ID = "proc/sys/kernel/random/boot_id"
# The wheels that bring the module onnxruntime (onnxruntime.ai, Install) and the libraries that hold its providers.
ONNX_RUNTIME_WHEELS = ("onnxruntime", "onnxruntime-gpu")
# The one that is still made first, as runtime/litert_runtime.py takes them.
LITERT_WHEELS = {"ai-edge-litert": "ai_edge_litert", "tflite-runtime": "tflite_runtime"}
PROVIDER_LIBRARIES = {
    "libonnxruntime_providers_tensorrt.so": "TensorrtExecutionProvider",
    "libonnxruntime_providers_cuda.so": "CUDAExecutionProvider",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class InstalledRuntime:
    """providers: what the wheel ships; which one a model really uses, the worker asks from the loaded session.

    figures: of a simulated board, the precisions that it has figures of, by provider; a real one has none.
    """

    name: str
    version: str
    providers: tuple[str, ...]
    figures: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceInfo:
    """board_id: stable across boots. host_boot_id: boot id of the machine that the agent's process runs on, another
    thing than the boot_id of a simulated board. None: not known. fixes_clocks: while a lease is held. clock_modes: that
    a host may ask for."""

    agent_version: str
    board_id: str
    boot_id: str
    board: str
    simulated: bool
    architecture: str
    os: str
    cpu_count: int
    memory_bytes: int
    runtimes: tuple[InstalledRuntime, ...]
    default_threads: int
    shares_host_cores: bool
    profile_note: str | None
    host_boot_id: str | None
    fixes_clocks: bool = False
    clock_modes: tuple[str, ...] = ()


def read_device_info(
    root: Path,
    *,
    default_threads: int,
    shares_host_cores: bool,
    fixes_clocks: bool = False,
    clock_modes: tuple[str, ...] = (),
) -> DeviceInfo:
    """The real box below `root` (/ but for tests)."""
    return DeviceInfo(
        agent_version=agent_version(),
        board_id=_board_id(root),
        boot_id=boot_id_of(root) or "unknown",
        board=_board_name(root),
        simulated=False,
        architecture=platform.machine(),
        os=_os_name(root),
        cpu_count=os.cpu_count() or 1,
        memory_bytes=_memory_bytes(root),
        runtimes=installed_runtimes(),
        default_threads=default_threads,
        shares_host_cores=shares_host_cores,
        profile_note=None,
        host_boot_id=boot_id_of(root),
        fixes_clocks=fixes_clocks,
        clock_modes=clock_modes,
    )


def agent_version() -> str:
    return metadata.version("edgepareto")


def boot_id_of(root: Path) -> str | None:
    return _first_text(root, BOOT_ID)


def installed_runtimes() -> tuple[InstalledRuntime, ...]:
    """Found without importing them: a runtime brings numpy and tens of megabytes, which only workers may hold."""
    return (*_onnx_runtime(), *_litert())


def _onnx_runtime() -> tuple[InstalledRuntime, ...]:
    for wheel in ONNX_RUNTIME_WHEELS:
        try:
            version = metadata.version(wheel)
        except metadata.PackageNotFoundError:
            continue
        spec = util.find_spec("onnxruntime")
        if spec is not None and spec.origin is not None:
            libraries = Path(spec.origin).parent / "capi"
            accelerated = tuple(name for file, name in PROVIDER_LIBRARIES.items() if (libraries / file).exists())
            providers = (*accelerated, "CPUExecutionProvider")
            return (InstalledRuntime(name="onnxruntime", version=version, providers=providers),)
    return ()


def _litert() -> tuple[InstalledRuntime, ...]:
    for wheel, module in LITERT_WHEELS.items():
        try:
            version = metadata.version(wheel)
        except metadata.PackageNotFoundError:
            continue
        if util.find_spec(module) is not None:
            # Their versions overlap, and hosts refuse what only the old one computes wrongly.
            told = f"{version} ({wheel})" if wheel == "tflite-runtime" else version
            return (InstalledRuntime(name="litert", version=told, providers=("XNNPACK", "CPU")),)
    return ()


def _board_id(root: Path) -> str:
    """The serial number of the device tree, else machine-id, hashed: machine-id(5) asks not to show it as it is."""
    identity = _first_text(root, "proc/device-tree/serial-number", "etc/machine-id") or platform.node()
    return hashlib.sha256(f"edgepareto {identity}".encode()).hexdigest()[:16]


def _board_name(root: Path) -> str:
    name = _first_text(root, "proc/device-tree/model", "sys/class/dmi/id/product_name")
    if name is not None:
        return name
    for line in _lines(root, "proc/cpuinfo"):
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            return value.strip()
    return platform.node() or "unknown board"


def _os_name(root: Path) -> str:
    for line in _lines(root, "etc/os-release"):
        key, _, value = line.partition("=")
        if key == "PRETTY_NAME":
            return value.strip('"')
    return f"{platform.system()} {platform.release()}"


def _memory_bytes(root: Path) -> int:
    for line in _lines(root, "proc/meminfo"):
        if line.startswith("MemTotal:"):
            return int(line.split()[1]) * 1024
    return 0


def _first_text(root: Path, *names: str) -> str | None:
    """The first file that can be read and holds something. Device tree strings end with a NUL."""
    for name in names:
        text = "\n".join(_lines(root, name)).strip().strip("\0").strip()
        if text:
            return text
    return None


def _lines(root: Path, name: str) -> list[str]:
    try:
        return (root / name).read_text(errors="replace").splitlines()
    except OSError:
        return []
