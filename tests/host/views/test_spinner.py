from __future__ import annotations

import io

from edgepareto.host.api import inspect, prune
from edgepareto.host.views import show_spinner
from fakes.models import convolution
from rich.console import Console


def shown(*, terminal: bool, quiet: bool = False) -> str:
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=terminal, width=120, color_system=None)
    with show_spinner(quiet=quiet, console=console) as on_progress:
        on_progress("ranking [channels]")
    return stream.getvalue()


def test_a_person_who_waits_sees_what_is_done_and_for_how_long():
    assert "ranking [channels] 0:00:00" in shown(terminal=True)


def test_nothing_is_printed_where_nobody_waits():
    assert shown(terminal=False) == ""
    assert shown(terminal=True, quiet=True) == ""


def test_a_prune_tells_what_it_does_in_order(tmp_path):
    told: list[str] = []
    inspect(convolution(), on_progress=told.append)
    assert told == ["reading the model", "looking for what can be pruned"]
    prune(convolution(), tmp_path / "half.onnx", ratio=0.5, on_progress=told.append)
    assert told[2:4] == told[:2]
    assert told[4:] == ["ranking channels by l1", "cutting", f"writing {tmp_path / 'half.onnx'}"]
