"""What a worker does to and reads of its own process (Linux)."""

from __future__ import annotations

import ctypes
import os
import re
import resource
import signal
from collections.abc import Sequence
from pathlib import Path

from edgepareto.agent.worker.protocol import MemoryUsed

__all__ = [
    "die_with_the_agent",
    "give_up_rights",
    "limit_memory",
    "memory_used",
    "offer_to_the_oom_killer",
    "run_on",
]

_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS = 1, 38  # prctl(2)
LARGEST_FILE = 256 << 20  # bytes: of a library's own logs and profiles, 30 MB for a model of 2000 operators
LARGEST_ENGINE = 1 << 30  # bytes: what TensorRT makes has about the size of the model's weights
MODEL_SHARE_OF_MEMORY = 0.9  # of what was free when the worker started
THREAD_BYTES = 72 << 20  # address space that a thread reserves and hardly uses: its stack (8 MiB) and its malloc arena
# Their drivers map far more addresses than there is memory, so that only the agent's watch holds for them.
RESERVING_PROVIDERS = ("CUDA", "Tensorrt", "NvTensorRT")
_WORST_SCORE = "1000"  # proc(5), oom_score_adj: killed before anything else on the board


def die_with_the_agent() -> None:
    """The kernel kills this process when its parent dies. A parent that is dead already shows as end of stdin."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def offer_to_the_oom_killer() -> None:
    Path("/proc/self/oom_score_adj").write_text(_WORST_SCORE)


def give_up_rights(*, makes_engines: bool = False) -> None:
    """No program that this process starts has more rights, a crash writes no core, no file fills the disk, and ONNX
    Runtime reports its use to nobody, which it would do from threads of its own while a model is timed.

    RLIMIT_NPROC is left alone, as it counts all of the user's processes; TasksMax of the worker's unit does that.
    """
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # since 1.32; read when it is imported
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _lower(resource.RLIMIT_FSIZE, LARGEST_ENGINE if makes_engines else LARGEST_FILE)


def limit_memory(*, threads: int, provider: str) -> None:
    """A model that takes what the board has left fails then with a MemoryError, and takes neither swap nor board.

    Called once the libraries are loaded, so that what they map (more than 300 MB) does not count.
    """
    available = _kilobytes("/proc/meminfo", "MemAvailable")
    mapped = _kilobytes("/proc/self/status", "VmSize")
    if available is None or mapped is None or provider.startswith(RESERVING_PROVIDERS):
        return
    model_bytes = int(MODEL_SHARE_OF_MEMORY * available) << 10
    _lower(resource.RLIMIT_AS, (mapped << 10) + model_bytes + threads * THREAD_BYTES)


def run_on(cpus: Sequence[int]) -> None:
    """Before any library starts its threads, which inherit it."""
    os.sched_setaffinity(0, cpus)


def memory_used() -> MemoryUsed:
    """VmHWM and not ru_maxrss: that one keeps the peak of the process that exec'd us (getrusage(2), vfork)."""
    private = re.findall(r"^Private_\w+:\s+(\d+) kB", _text("/proc/self/smaps_rollup"), re.MULTILINE)
    peak = _kilobytes("/proc/self/status", "VmHWM")
    return MemoryUsed(
        peak_rss_bytes=None if peak is None else peak << 10,
        private_bytes=sum(map(int, private)) * 1024 if private else None,
    )


def _lower(limit: int, value: int) -> None:
    """Soft and hard; a limit that is lower already stays."""
    _, hard = resource.getrlimit(limit)
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(limit, (value, value))


def _kilobytes(file: str, name: str) -> int | None:
    found = re.search(rf"^{name}:\s+(\d+) kB", _text(file), re.MULTILINE)
    return int(found[1]) if found else None


def _text(file: str) -> str:
    try:
        return Path(file).read_text()
    except OSError:
        return ""
