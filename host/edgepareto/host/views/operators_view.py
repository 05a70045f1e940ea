"""Where the time of a model goes, operator by operator; several models side by side, to see why one is not faster."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from edgepareto.host.domain.trace import OperatorTime
from edgepareto.host.views.figures import UNKNOWN
from rich import box
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

__all__ = ["TimedModel", "operator_record", "operator_tables"]

NODES_SHOWN = 12
Cost = Mapping[str, float]  # seconds per inference, by node or by operator type


@dataclass(frozen=True, slots=True, kw_only=True)
class TimedModel:
    """operators: of one model on one device; empty where the runtime did not tell. latency_s None: not measured."""

    name: str
    latency_s: float | None
    operators: tuple[OperatorTime, ...]

    @property
    def by_type(self) -> Cost:
        return _summed((operator.op_type, _seconds(operator)) for operator in self.operators)

    @property
    def by_node(self) -> Cost:
        return _summed((operator.name, _seconds(operator)) for operator in self.operators)

    @property
    def total_s(self) -> float:
        return sum(map(_seconds, self.operators))


def operator_tables(device: str, models: Sequence[TimedModel]) -> Iterator[RenderableType]:
    """By type first, then the costliest nodes, and what of the latency is in no operator."""
    timed = [model for model in models if model.operators]
    if timed:
        yield _table(f"{device}: time by type of operator", "operator", timed, [model.by_type for model in timed])
        types = {operator.name: operator.op_type for model in timed for operator in model.operators}
        nodes = [model.by_node for model in timed]
        yield _table(f"{device}: costliest nodes", "node", timed, nodes, types=types, most=NODES_SHOWN)
        for model in timed:
            yield Text(f"  {_sum_text(model)}", style="dim")
    for model in models:
        if not model.operators and model.latency_s is not None:
            yield Text(f"  ! {model.name}: the runtime could not tell the time of its operators", style="bold yellow")


def operator_record(model: TimedModel) -> dict[str, object]:
    """For JSON, costliest first. dispatch_s, what is in no operator, is absent where they take all of the latency."""
    if not model.operators:
        return {}
    total_s = model.total_s
    record: dict[str, object] = {
        "operators_s": total_s,
        "operator_types": [
            {"op_type": op_type, "seconds": seconds, "share": _share(seconds, total_s)}
            for op_type, seconds in _costliest(model.by_type)
        ],
        "operators": [
            {
                "name": operator.name,
                "op_type": operator.op_type,
                "seconds": _seconds(operator),
                "share": _share(_seconds(operator), total_s),
            }
            for operator in sorted(model.operators, key=_seconds, reverse=True)
        ],
    }
    rest_s = None if model.latency_s is None else model.latency_s - total_s
    return record | ({"dispatch_s": rest_s} if rest_s is not None and rest_s >= 0 else {})


def _table(
    title: str,
    heading: str,
    models: Sequence[TimedModel],
    costs: Sequence[Cost],
    *,
    types: Mapping[str, str] | None = None,
    most: int | None = None,
) -> Table:
    """A row per name, the one that costs any model most first. With one model also the running sum of its shares."""
    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, show_edge=False)
    table.add_column(heading, no_wrap=True)
    if types is not None:
        table.add_column("type", no_wrap=True)
    alone = len(models) == 1
    for model in models:
        table.add_column("time" if alone else model.name, justify="right", no_wrap=True)
        table.add_column("share", justify="right", no_wrap=True)
    if alone:
        table.add_column("so far", justify="right", no_wrap=True)
    largest = {name: max(cost.get(name, 0.0) for cost in costs) for cost in costs for name in cost}
    names = [name for name, _ in _costliest(largest)]
    so_far = 0.0
    for name in names[:most]:
        cells = [name] if types is None else [_short(name), types[name]]
        for model, cost in zip(models, costs, strict=True):
            seconds = cost.get(name)
            share = None if seconds is None else _share(seconds, model.total_s)
            cells += [UNKNOWN if seconds is None else _time(seconds), UNKNOWN if share is None else _percent(share)]
            so_far += share or 0.0
        table.add_row(*cells, *([_percent(so_far)] if alone else []))
    if most is not None and len(names) > most:
        rest = [[_time(sum(cost.get(name, 0.0) for name in names[most:])), ""] for cost in costs]
        table.add_row(f"{len(names) - most} more", "", *(cell for pair in rest for cell in pair), style="dim")
    return table


def _sum_text(model: TimedModel) -> str:
    total = f"{model.name}: operators {_time(model.total_s)}"
    if model.latency_s is None:
        return total
    rest_s = model.latency_s - model.total_s
    if rest_s < 0:
        return f"{total}, latency {_time(model.latency_s)}: less, since writing the times down takes some itself"
    share = _percent(rest_s / model.latency_s)
    return f"{total} of {_time(model.latency_s)} latency; the rest, {_time(rest_s)} ({share}), is between operators"


def _summed(costs: Iterator[tuple[str, float]]) -> Cost:
    summed: dict[str, float] = {}
    for name, seconds in costs:
        summed[name] = summed.get(name, 0.0) + seconds
    return summed


def _costliest(costs: Cost) -> list[tuple[str, float]]:
    return sorted(costs.items(), key=lambda item: -item[1])


def _seconds(operator: OperatorTime) -> float:
    return operator.total_ns * 1e-9 / operator.runs


def _share(seconds: float, total_s: float) -> float:
    return seconds / total_s if total_s > 0 else 0.0


def _time(seconds: float) -> str:
    return f"{seconds * 1e3:.3g} ms" if seconds >= 1e-3 else f"{seconds * 1e6:.3g} µs"


def _percent(share: float) -> str:
    return f"{share * 100:.1f} %"


def _short(name: str, most: int = 44) -> str:
    """The end of a long name tells more than its beginning."""
    return name if len(name) <= most else f"…{name[1 - most :]}"
