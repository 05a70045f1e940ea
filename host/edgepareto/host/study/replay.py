"""Resume is replay: the search runs again from its seed, answered from the store, until it meets something new."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from importlib.metadata import version

from edgepareto.host.domain import BatchEntry, DeviceName, Genome
from edgepareto.host.errors import StudyError
from edgepareto.host.store import Phase, StudyIdentity, StudyStore

__all__ = ["check_same_study", "installed_libraries", "journal_generation", "order_seed", "request_key"]

LIBRARIES = ("pymoo", "numpy", "scipy", "scikit-learn")  # a search is replayed by running them again


def installed_libraries() -> tuple[tuple[str, str], ...]:
    return tuple((name, version(name)) for name in LIBRARIES)


def journal_generation(store: StudyStore, device: DeviceName, generation: int, asked: Sequence[Genome]) -> None:
    """Write down what was asked, or compare it with what was asked the first time.

    Raises StudyError where they differ: the search would take another path than the stored measurements.
    """
    journalled = store.generation(device, generation)
    if journalled is None:
        store.save_generation(device, generation, asked)
    elif journalled != tuple(asked):
        identity = store.identity()
        then = ", ".join(f"{name} {number}" for name, number in identity.libraries) if identity else "unknown"
        now = ", ".join(f"{name} {number}" for name, number in installed_libraries())
        raise StudyError(
            f"{device}: generation {generation} is not what this study asked before, so it cannot be resumed here; "
            f"it was begun with {then}, installed are {now}: install those versions or start another --study"
        )


def check_same_study(stored: StudyIdentity, wanted: StudyIdentity, folder: str) -> None:
    """Raises StudyError where `wanted` is another model, other data or other settings than the stored study's."""
    if stored.model_sha256 != wanted.model_sha256:
        raise StudyError(
            f"{folder}: is a study of {stored.model} (sha256 {stored.model_sha256[:12]}), not of {wanted.model} "
            f"(sha256 {wanted.model_sha256[:12]}); choose another --study"
        )
    if stored.recovery != wanted.recovery:
        raise StudyError(
            f"{folder}: was begun by an edgepareto that repairs pruned models otherwise "
            f"(recovery {stored.recovery}, here {wanted.recovery}), scores do not compare; host front shows it, "
            "search again under another --study"
        )
    if differences := stored.differences(wanted):
        raise StudyError(
            f"{folder}: was begun with other settings ({'; '.join(differences)}: stored, given); "
            "only budgets may change when a study is resumed: restore them or choose another --study"
        )


def request_key(study_id: str, device: DeviceName, phase: Phase, number: int, entries: Sequence[BatchEntry]) -> str:
    """The same batch of the same study has the same key in every run, and no other batch has it."""
    parts = [study_id, device, phase.value, str(number)]
    parts += [f"{entry.candidate}/{entry.purpose.value}/{entry.attempt}" for entry in entries]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def order_seed(seed: int, device: DeviceName, number: int) -> int:
    """Fixes every random order inside a batch; not the key's, which differs between studies."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{device}/{number}".encode()).digest()[:4], "big")
