"""The measurement protocol: one batch in, one raw trace per candidate out. Importing this room loads no numpy."""

from edgepareto.agent.profiling.batch import profile_batch
from edgepareto.agent.profiling.board import Board, MeterSetting
from edgepareto.agent.profiling.outputs import (
    OutputsDone,
    OutputsPiece,
    OutputsProgress,
    OutputsRequest,
    compute_outputs,
)
from edgepareto.agent.profiling.schedule import PRESETS, Preset
from edgepareto.agent.profiling.trace import (
    AnchorBaseline,
    BatchRequest,
    CandidateSpec,
    CandidateTrace,
    LatencyBlock,
    OperatorTime,
    PowerWindow,
    Progress,
    Purpose,
)
from edgepareto.agent.profiling.worker_client import Deadline

__all__ = [
    "PRESETS",
    "AnchorBaseline",
    "BatchRequest",
    "Board",
    "CandidateSpec",
    "CandidateTrace",
    "Deadline",
    "LatencyBlock",
    "MeterSetting",
    "OperatorTime",
    "OutputsDone",
    "OutputsPiece",
    "OutputsProgress",
    "OutputsRequest",
    "PowerWindow",
    "Preset",
    "Progress",
    "Purpose",
    "compute_outputs",
    "profile_batch",
]
