"""Hand-written, narrow definitions of the architectures in the catalogue. Needs torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from models.torch_definitions import (
    attention,
    concatenating,
    grouped,
    mobile,
    parallel,
    plain,
    recurrent,
    residual,
)
from torch import nn

__all__ = ["KEEPS_BATCH_NORM", "NETWORKS"]

NETWORKS: Mapping[str, Callable[[], nn.Module]] = {
    **attention.NETWORKS,
    **concatenating.NETWORKS,
    **grouped.NETWORKS,
    **mobile.NETWORKS,
    **parallel.NETWORKS,
    **plain.NETWORKS,
    **recurrent.NETWORKS,
    **residual.NETWORKS,
}
KEEPS_BATCH_NORM = frozenset({"bn_kept"})  # exported without folding BatchNorm into the convolutions
