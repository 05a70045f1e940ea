"""A candidate's accuracy on the board beside the host's, and whether it is another there."""

from __future__ import annotations

import json
from collections.abc import Iterator

from edgepareto.host.domain.verified import Verified, VerifiedDevice
from edgepareto.host.views.figures import UNKNOWN, deployment_text, metric_text, percent, points_text
from edgepareto.host.views.fitting import Fitting
from rich import box
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

__all__ = ["verified_json", "verified_tables"]

SCHEMA = 1


def verified_tables(found: VerifiedDevice) -> Iterator[RenderableType]:
    """One table, whole in 60 columns, and the lines under it."""
    yield Fitting([_table(found), _table(found, narrow=True)])
    yield from _notes(found)


def verified_json(found: VerifiedDevice) -> str:
    device = found.device
    return json.dumps(
        {
            "schema": SCHEMA,
            "device": device.name,
            "board": device.board,
            "simulated": device.simulated,
            "metric": found.metric,
            "split": found.split,
            "samples": found.samples,
            "candidates": [_record(one) for one in found.candidates],
        },
        indent=2,
    )


def _table(found: VerifiedDevice, *, narrow: bool = False) -> Table:
    table = Table(
        title=_title(found),
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        padding=0 if narrow else (0, 1),
    )
    for heading in ("candidate", "runs as", "host", "board", "difference", "differs"):
        table.add_column(heading, no_wrap=True, justify="left" if heading in ("candidate", "runs as") else "right")
    for one in found.candidates:
        numbers = (percent(one.on_host), percent(one.on_board), points_text(one.difference))
        table.add_row(one.candidate, deployment_text(one.deployment, short=narrow), *numbers, _verdict(one))
    return table


def _title(found: VerifiedDevice) -> str:
    simulated = ["simulated"] if found.device.simulated else []
    return " · ".join([found.device.name, found.device.board, *simulated, metric_text(found.metric)])


def _verdict(one: Verified) -> Text:
    if one.failure:
        return Text("failed", style="bold yellow")
    if one.differs is None:
        return Text(UNKNOWN)
    return Text("YES", style="bold yellow") if one.differs else Text("no", style="green")


def _notes(found: VerifiedDevice) -> Iterator[Text]:
    yield Text(f"  {found.samples} samples of the {found.split} split, the same files on both", style="dim")
    yield Text("  difference: the board's minus the host's, in points, 95 % interval of paired samples", style="dim")
    worse = [one for one in found.candidates if one.differs]
    if worse:
        names = ", ".join(one.candidate for one in worse)
        yield Text(f"  ! what runs on the board is not what was scored: {names}", style="bold yellow")
    for one in found.candidates:
        if one.failure:
            yield Text(f"  ! {one.candidate}: {one.failure}", style="bold yellow")
    if found.device.simulated:
        yield Text("  ! SIMULATED: no board was asked", style="bold yellow")


def _record(one: Verified) -> dict[str, object]:
    difference = one.difference
    fields: dict[str, object] = {
        "candidate": one.candidate,
        "runtime": one.deployment.runtime,
        "precision": one.deployment.precision,
        "host_accuracy": one.on_host,
        "board_accuracy": one.on_board,
        "difference": None if difference is None else difference.value,
        "difference_low": None if difference is None else difference.low,
        "difference_high": None if difference is None else difference.high,
        "differs": one.differs,
        "failure": one.failure or None,
    }
    return {name: value for name, value in fields.items() if value is not None}
