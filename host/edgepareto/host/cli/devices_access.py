"""host devices check, unlock, logs, grant, revoke: verbs that ask a board, over the network or by SSH."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from edgepareto.host.cli.options import DebugOption, QuietOption, session_of
from edgepareto.host.errors import WrongUse

__all__ = ["check", "grant", "logs", "revoke", "unlock"]

NameArgument = Annotated[str, typer.Argument(metavar="NAME", show_default=False)]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


def check(
    context: typer.Context,
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="Default: all.")] = None,
    ssh: Annotated[
        bool, typer.Option("--ssh/--no-ssh", help="Ask a board by SSH why its agent does not answer.")
    ] = True,
    debug: DebugOption = False,
    quiet: QuietOption = False,
) -> None:
    """Ask devices who they are, what they run, whether they have a meter and who holds them.

    Example: host devices check pi1
    """
    from edgepareto.host import api
    from edgepareto.host.config import settings_file
    from edgepareto.host.views import devices_table, print_parts, results_console, show_spinner

    with show_spinner(quiet=session_of(context).quiet) as tell:
        statuses = api.check_devices(names or None, by_ssh=ssh, tell=tell, settings=settings_file())
    print_parts(results_console(), devices_table(statuses))
    if any(status.info is None for status in statuses):
        raise typer.Exit(1)


def unlock(name: NameArgument, yes: YesOption = False, debug: DebugOption = False, quiet: QuietOption = False) -> None:
    """Take a board from whoever holds it; their search goes on without it, and is told who did that.

    Example: host devices unlock pi1
    """
    from edgepareto.host import api
    from edgepareto.host.cli.person import person_here
    from edgepareto.host.config import settings_file
    from edgepareto.host.views import holder_text

    holder = api.lease_holder(name, settings=settings_file())
    if holder is None:
        typer.echo(f"{name}: nobody holds it")
        return
    typer.echo(f"{name}: {holder_text(holder)}")
    if not yes:
        person = person_here()
        if person is None:
            raise WrongUse(f"{name}: is held by {holder.owner}; to take it without being asked: --yes")
        if not person.confirm(f"Take {name} from {holder.owner}?"):
            raise typer.Exit(1)
    ended = api.unlock_device(name, settings=settings_file())
    typer.echo(f"{name}: nobody held it any more" if ended is None else f"{name}: is free, {ended.owner} lost it")


def logs(
    name: NameArgument,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what comes, until Ctrl-C.")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", metavar="N", min=0, max=100_000)] = 100,
    debug: DebugOption = False,
    quiet: QuietOption = False,
) -> None:
    """Show what the agent on a board wrote: its journal, fetched by SSH.

    Example: host devices logs pi1 --follow
    """
    from edgepareto.host import api
    from edgepareto.host.cli.person import person_here
    from edgepareto.host.config import settings_file

    with api.board_log(name, lines=lines, follow=follow, ask=person_here(), settings=settings_file()) as log:
        for line in log:
            typer.echo(line)


def grant(
    name: NameArgument,
    ca: Annotated[Path, typer.Option("--ca", metavar="FILE", help="Of host devices identity -o, from a colleague.")],
    owner: Annotated[
        str | None, typer.Option("--as", metavar="NAME", help="What the board calls them; default user@machine.")
    ] = None,
    card: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="CARD", help="The file for them; default NAME.card.")
    ] = None,
    debug: DebugOption = False,
    quiet: QuietOption = False,
) -> None:
    """Let a colleague use a board, at once, and write the card that they need. Neither file is secret.

    Example: host devices grant pi1 --ca ann.pem -o pi1.card
    """
    from edgepareto.host import api
    from edgepareto.host.cli.person import person_here
    from edgepareto.host.config import settings_file
    from edgepareto.host.credentials import short_fingerprint

    granted, written = api.grant_access(name, ca, owner=owner, card=card, ask=person_here(), settings=settings_file())
    typer.echo(f"{name}: {granted.name} {short_fingerprint(granted.fingerprint)} may use it; compare that with them")
    typer.echo(f"written: {written}, for them: host devices add {name} --card {written.name}")


def revoke(
    name: NameArgument,
    owner: Annotated[
        str | None, typer.Option("--owner", metavar="OWNER", help="Name or fingerprint; without it they are listed.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Also where it is you.")] = False,
    debug: DebugOption = False,
    quiet: QuietOption = False,
) -> None:
    """Let somebody use a board no more; without --owner list who may.

    Example: host devices revoke pi1 --owner ann@laptop
    """
    from edgepareto.host import api
    from edgepareto.host.cli.person import person_here
    from edgepareto.host.config import settings_file
    from edgepareto.host.credentials import short_fingerprint

    if owner is None:
        for known in api.board_owners(name, ask=person_here(), settings=settings_file()):
            typer.echo(f"{known.name} {short_fingerprint(known.fingerprint)}")
        typer.echo(f"to let one in no more: host devices revoke {name} --owner OWNER", err=True)
        return
    gone = api.revoke_access(name, owner, even_us=yes, ask=person_here(), settings=settings_file())
    typer.echo(f"{name}: {gone.name} may not use it any more; what they run there ends within five minutes")
