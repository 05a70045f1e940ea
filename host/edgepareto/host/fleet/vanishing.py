"""A call that failed on its way: whether that is the network's doing, and what it turns out to have been."""

from __future__ import annotations

import grpc
from edgepareto.host.domain import DeviceInfo
from edgepareto.host.fleet.channel import reason
from edgepareto.host.fleet.lease import TTL_S
from edgepareto.host.fleet.troubles import IncidentKind

__all__ = ["is_transport", "what_happened"]

AGENTS_BUG = "see the agent's log"  # how every INTERNAL of the agent's own ends
TRANSPORT = frozenset(
    {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DEADLINE_EXCEEDED,  # of a call that an agent answers at once
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.UNKNOWN,  # what a damaged frame ends as, these two
        grpc.StatusCode.INTERNAL,
    }
)

ALL_THREADS_BUSY = "Concurrent RPC limit exceeded"  # grpc/_server.py; the same code as of a disk that is full


def is_transport(error: grpc.RpcError) -> bool:
    """Worth looking for the board, which may have vanished, or has no thread for us at the moment."""
    if error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED:
        return ALL_THREADS_BUSY in (error.details() or "")
    return error.code() in TRANSPORT and AGENTS_BUG not in (error.details() or "")


def what_happened(
    before: DeviceInfo, after: DeviceInfo, cause: grpc.RpcError, gone_s: float, lease_kept: bool
) -> tuple[IncidentKind, str]:
    """Of a board that was found again, with the detail in words. lease_kept: it is the lease of before the cut."""
    if before.boot_id != after.boot_id:
        return IncidentKind.REBOOTED, f"the board was started anew (boot {before.boot_id}, now {after.boot_id})"
    why = f"{reason(cause)}; it answered again after {gone_s:.0f} s"
    if lease_kept or gone_s >= TTL_S:
        return IncidentKind.CONNECTION_CUT, why
    return IncidentKind.AGENT_RESTARTED, f"its agent was started anew: {why}"
