"""Structured pruning on the ONNX graph: what may be cut, in which order, and how the rest is repaired. No training."""

from edgepareto.host.pruning.analysis import Analysis, TensorSpec, analyse
from edgepareto.host.pruning.channel_group import ChannelGroup, FrozenGroup
from edgepareto.host.pruning.importance import CRITERIA
from edgepareto.host.pruning.prepared_model import PhaseSeconds, PreparedModel, PrunedModel, prepare
from edgepareto.host.pruning.recovery import RECOVERIES

__all__ = [
    "CRITERIA",
    "RECOVERIES",
    "Analysis",
    "ChannelGroup",
    "FrozenGroup",
    "PhaseSeconds",
    "PreparedModel",
    "PrunedModel",
    "TensorSpec",
    "analyse",
    "prepare",
]
