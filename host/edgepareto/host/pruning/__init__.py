"""Structured pruning on the ONNX graph: what may be cut, in which order, and how the rest is repaired. No training."""

from edgepareto.host.pruning.analysis import Analysis, TensorSpec, analyse
from edgepareto.host.pruning.branches import Branch
from edgepareto.host.pruning.channel_group import ChannelGroup, FrozenGroup
from edgepareto.host.pruning.graph_features import GraphFeatures
from edgepareto.host.pruning.prepared_model import PhaseSeconds, PreparedModel, PrunedModel, prepare
from edgepareto.host.pruning.repair import RECOVERY_VERSION

__all__ = [
    "RECOVERY_VERSION",
    "Analysis",
    "Branch",
    "ChannelGroup",
    "FrozenGroup",
    "GraphFeatures",
    "PhaseSeconds",
    "PreparedModel",
    "PrunedModel",
    "TensorSpec",
    "analyse",
    "prepare",
]
