from __future__ import annotations

import io
import threading
from dataclasses import replace

from edgepareto.host.domain.device import Meter, MeterQuality
from edgepareto.host.views.deploy_view import BoardProgress, deployed_lines
from fakes.fake_fleet import FakeDevice
from rich.console import Console
from rich.progress import Progress


def test_the_time_of_a_board_goes_on_after_everything_was_sent():
    now_s = 0.0
    console = Console(file=io.StringIO(), force_terminal=True)
    bars = Progress(console=console, get_time=lambda: now_s)
    task = bars.add_task("", name="pi1", total=1.0)
    board = BoardProgress("pi1", console, bars, task, threading.Lock())
    board.progress(64_000_000, 64_000_000)
    now_s = 90.0
    board.step("compiling")
    assert bars.tasks[0].finished_time is None
    assert bars.tasks[0].elapsed == 90.0


def test_what_an_agent_advises_is_runnable_here():
    fault = "auto found none (host deploy NAME --meter ina219 --shunt-ohm 0.1)"
    meter = Meter(kind="auto", quality=MeterQuality.MEASURED, fault=fault)
    _, told = deployed_lines("pi1", "installed", replace(FakeDevice(name="pi1").info, meter=meter), ())
    assert told.endswith("not usable: auto found none (host deploy pi1 --meter ina219 --shunt-ohm 0.1)")
