"""`host deploy NAME --rotate` in a process that is killed right after the step that is named.

    python -m fakes.killed_host MODULE FUNCTION NAME...

The boards are those of fakes.deployable_board.
"""

from __future__ import annotations

import importlib
import os
import signal
import sys

from edgepareto.host import api
from edgepareto.host.api.deploying import DeployTask
from edgepareto.host.deploy import installed
from fakes.deployable_board import BOARD_SCRIPT


def main(module_name: str, function: str, *names: str) -> None:
    module = importlib.import_module(module_name)
    step = getattr(module, function)

    def last_step(*given: object, **named: object) -> None:
        step(*given, **named)
        os.kill(os.getpid(), signal.SIGKILL)

    setattr(module, function, last_step)
    installed.BOARD_SCRIPT = BOARD_SCRIPT
    api.deploy(names, task=DeployTask.ROTATE)


if __name__ == "__main__":
    main(*sys.argv[1:])
