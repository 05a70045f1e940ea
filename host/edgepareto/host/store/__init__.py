"""What a study knows, on disk: one SQLite file, raw traces inside it, model files beside it."""

from edgepareto.host.store.records import (
    BatchRecord,
    DeviceRecord,
    DeviceState,
    FoundElsewhere,
    Phase,
    Route,
    StudyIdentity,
)
from edgepareto.host.store.study_store import STUDY_FILE, StudyStore

__all__ = [
    "STUDY_FILE",
    "BatchRecord",
    "DeviceRecord",
    "DeviceState",
    "FoundElsewhere",
    "Phase",
    "Route",
    "StudyIdentity",
    "StudyStore",
]
