"""What models cost on a board by each runtime, provider and precision that somebody has published figures of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgepareto.agent.errors import Status, WorkerError
from edgepareto.agent.runtime.runtime import RuntimeOptions
from edgepareto.agent.runtime.verdicts import wrong_provider
from edgepareto.agent.simulation.cost_model import ARITHMETIC_KINDS, CostTable, OpKind, ThreadCosts
from edgepareto.agent.simulation.sourced import Table, constant, words

__all__ = ["RuntimeCosts", "find_costs", "parse_costs"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeCosts:
    """precisions: those whose models cost the same. table: at the board's full clocks.

    gpu_busy_w: of the whole board while its GPU runs a model; None: the cores run it, and draw what they draw.
    """

    runtime: str
    provider: str
    precisions: tuple[str, ...]
    table: CostTable
    gpu_busy_w: float | None


def parse_costs(tables: Sequence[Table]) -> tuple[RuntimeCosts, ...]:
    return tuple(
        RuntimeCosts(
            runtime=table["runtime"],
            provider=table["provider"],
            precisions=words(table, "precisions"),
            table=CostTable(
                channel_step=int(constant(table, "channel_step")),
                additive=table["additive"],
                bytes_per_element=int(constant(table, "bytes_per_element")),
                fixed_s=constant(table, "fixed_us") / 1e6,
                rows={int(threads): _thread_costs(row) for threads, row in table["threads"].items()},
                free=frozenset(map(OpKind, words(table, "free") if "free" in table else ())),
            ),
            gpu_busy_w=constant(table, "gpu_busy_w") if "gpu_busy_w" in table else None,
        )
        for table in tables
    )


def find_costs(board: str, costs: Sequence[RuntimeCosts], options: RuntimeOptions) -> RuntimeCosts:
    """Raises WorkerError, LOAD_FAILED or WRONG_PROVIDER, for what the board has no costs of."""
    of_runtime = [one for one in costs if one.runtime == options.name]
    if not of_runtime:
        known = ", ".join(dict.fromkeys(one.runtime for one in costs))
        raise WorkerError(
            Status.LOAD_FAILED, f"a simulated {board} has no costs of runtime {options.name}; choose one of: {known}"
        )
    of_provider = [one for one in of_runtime if one.provider == options.provider]
    if not of_provider:
        known = ", ".join(dict.fromkeys(one.provider for one in of_runtime))
        raise wrong_provider(options.provider, f"a simulated {board} has costs of {options.name} with {known} alone")
    for one in of_provider:
        if options.precision in one.precisions:
            return one
    known = ", ".join(precision for one in of_provider for precision in one.precisions)
    raise WorkerError(
        Status.LOAD_FAILED,
        f"a simulated {board} has no costs of {options.precision} with {options.name} and {options.provider}; "
        f"choose one of: {known}",
    )


def _thread_costs(row: Table) -> ThreadCosts:
    """gemm_gflops is the rate of every kind that has none of its own."""
    return ThreadCosts(
        flops_per_s={
            kind: constant(row, name if (name := f"{kind.value}_gflops") in row else "gemm_gflops") * 1e9
            for kind in ARITHMETIC_KINDS
        },
        bytes_per_s=constant(row, "memory_gb_per_s") * 1e9,
        weight_stream_bytes_per_s=constant(row, "weight_stream_gb_per_s") * 1e9,
        dispatch_s=constant(row, "dispatch_us") / 1e6,
        extra_reduction=constant(row, "extra_reduction"),
        image_flops_per_s=constant(row, "image_gflops") * 1e9 if "image_gflops" in row else None,
        elementwise_dispatch_s=constant(row, "elementwise_us") / 1e6 if "elementwise_us" in row else None,
    )
