"""host deploy"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from edgepareto.host.cli.options import DebugOption, QuietOption, SharedOption, ShuntOption, session_of
from edgepareto.host.cli.person import TerminalPerson, person_here
from edgepareto.host.errors import WrongUse

if TYPE_CHECKING:
    from edgepareto.host.api.deploying import DeployResult, DeployTask

__all__ = ["deploy"]


def deploy(
    context: typer.Context,
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="Boards of host devices add, or a group.")],
    upgrade: Annotated[
        bool, typer.Option("--upgrade", help="Put this host's release in place of another; goes back if it fails.")
    ] = False,
    rotate: Annotated[bool, typer.Option("--rotate", help="New certificates, of a new authority of yours.")] = False,
    remove: Annotated[bool, typer.Option("--remove", help="Take the agent off the board; leaves nothing.")] = False,
    wheelhouse: Annotated[
        Path | None, typer.Option("--wheelhouse", metavar="DIR", help="Wheels that win over PyPI's (NVIDIA's).")
    ] = None,
    host_key: Annotated[
        str | None, typer.Option("--host-key", metavar="SHA256:...", help="The board's SSH key; for scripts.")
    ] = None,
    agent_port: Annotated[
        int | None,
        typer.Option(
            "--agent-port",
            min=1,
            max=65535,
            metavar="N",
            help="Where it listens and is asked; default that of its address.",
        ),
    ] = None,
    meter: Annotated[
        str | None, typer.Option("--meter", metavar="KIND", help="Also for the next time; auto: found by the agent.")
    ] = None,
    shunt_ohm: ShuntOption = None,
    shared: SharedOption = None,
    yes: Annotated[
        bool, typer.Option("--yes", help="Also while a host measures there, or over another user's credentials.")
    ] = False,
    debug: DebugOption = False,
    quiet: QuietOption = False,
) -> None:
    """Install the agent on boards over SSH. The board needs no internet; run again, it changes nothing.

    Example: host deploy pi1 jetson2
    """
    from edgepareto.host import api
    from edgepareto.host.config import settings_file
    from edgepareto.host.views.deploy_view import show_deploy

    task = _only_task(upgrade=upgrade, rotate=rotate, remove=remove)
    of_an_installation = {
        "--wheelhouse": wheelhouse,
        "--agent-port": agent_port,
        "--meter": meter,
        "--shunt-ohm": shunt_ohm,
        "--shared": shared,
    }
    _refuse_idle(task, of_an_installation)
    person = person_here()
    with show_deploy(quiet=session_of(context).quiet) as display:
        results = api.deploy(
            names,
            task=task,
            wheelhouse=wheelhouse,
            host_key=host_key,
            agent_port=agent_port,
            meter=meter,
            shunt_ohm=shunt_ohm,
            shared=shared,
            is_sure=yes,
            settings=settings_file(),
            ask=None if person is None else _Paused(person, display.paused),
            report_for=display.board,
        )
    _print_results(results)
    if any(result.deployed is None for result in results):
        raise typer.Exit(1)


def _only_task(*, upgrade: bool, rotate: bool, remove: bool) -> DeployTask:
    """What the flags ask for. Raises WrongUse for more than one."""
    from edgepareto.host.api import DeployTask

    tasks = {DeployTask.UPGRADE: upgrade, DeployTask.ROTATE: rotate, DeployTask.REMOVE: remove}
    asked = [task for task, is_wanted in tasks.items() if is_wanted]
    if len(asked) > 1:
        raise WrongUse(f"{' and '.join(f'--{task.value}' for task in asked)} exclude each other; one after the other")
    return asked[0] if asked else DeployTask.INSTALL


def _refuse_idle(task: DeployTask, of_an_installation: Mapping[str, object]) -> None:
    """Raises WrongUse for flags that would be taken and mean nothing; by flag, None where it was not given."""
    from edgepareto.host.api import DeployTask

    idle = [flag for flag, value in of_an_installation.items() if value is not None]
    if idle and task in (DeployTask.ROTATE, DeployTask.REMOVE):
        raise WrongUse(f"{', '.join(idle)}: has no meaning with --{task.value}; leave it out")


def _print_results(results: Sequence[DeployResult]) -> None:
    """What became of each board, and what to do next."""
    from edgepareto.host.views.console import log_console
    from edgepareto.host.views.deploy_view import deployed_lines

    console = log_console()
    for result in results:
        done = result.deployed
        if done is None:
            console.print(f"host: {result.problem}", markup=False)
            continue
        for line in deployed_lines(result.name, done.outcome.value, done.info, done.notes):
            typer.echo(line)
    good = [result.name for result in results if result.deployed is not None and result.deployed.info is not None]
    if good:
        typer.echo(f"next: host profile MODEL.onnx --devices {','.join(good)}")


class _Paused:
    """The person at the terminal; the live lines make room for each question."""

    def __init__(self, person: TerminalPerson, paused: Callable[[], AbstractContextManager[None]]) -> None:
        self._person = person
        self._paused = paused

    def secret(self, prompt: str) -> str:
        with self._paused():
            return self._person.secret(prompt)

    def confirm(self, question: str) -> bool:
        with self._paused():
            return self._person.confirm(question)
