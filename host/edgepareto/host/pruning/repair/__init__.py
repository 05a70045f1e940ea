"""What a cut layer's weights should be: the dense model observed once, then each candidate repaired in order."""

from edgepareto.host.pruning.repair.dense_activations import DenseActivations, observe
from edgepareto.host.pruning.repair.recovery import RECOVERY_VERSION
from edgepareto.host.pruning.repair.sensitivity import measure_sensitivities

__all__ = ["RECOVERY_VERSION", "DenseActivations", "measure_sensitivities", "observe"]
