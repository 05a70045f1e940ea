"""host devices and its verbs. Here: add, list, show, remove, identity, for which no board is asked."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from edgepareto.host.cli import devices_access
from edgepareto.host.cli.options import DebugOption, JsonOption, QuietOption, SharedOption, ShuntOption
from edgepareto.host.errors import WrongUse

__all__ = ["app"]

app = typer.Typer(help="The boards: which there are, whether they answer.\n\nExample: host devices check")

NameArgument = Annotated[str, typer.Argument(metavar="NAME", show_default=False)]


@app.command()
def add(
    name: NameArgument,
    ssh: Annotated[
        str | None,
        typer.Argument(metavar="USER@HOST", help="Where SSH reaches it, or an alias of ~/.ssh/config."),
    ] = None,
    port: Annotated[int | None, typer.Option("--port", metavar="N", help="Of SSH; default 22.")] = None,
    key: Annotated[str | None, typer.Option("--key", metavar="FILE", help="The private key for SSH.")] = None,
    host_key: Annotated[
        str | None, typer.Option("--host-key", metavar="SHA256:...", help="The board's key; default: asked for once.")
    ] = None,
    address: Annotated[
        str | None, typer.Option("--address", metavar="HOST:PORT", help="Of the agent; default the same host, 50051.")
    ] = None,
    meter: Annotated[
        str | None, typer.Option("--meter", metavar="KIND", help="ina219, hwmon, ...; default: found by the agent.")
    ] = None,
    shunt_ohm: ShuntOption = None,
    shared: SharedOption = None,
    group: Annotated[
        str | None, typer.Option("--group", metavar="GROUP", help="A name for all boards of a kind: --devices GROUP.")
    ] = None,
    card: Annotated[
        str | None, typer.Option("--card", metavar="FILE", help="A colleague's board, as host devices grant wrote it.")
    ] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Forget the board that has this name.")] = False,
    debug: DebugOption = False,
    quiet: QuietOption = False,
) -> None:
    """Remember a board, for every project. Nothing is asked of it yet; host deploy installs the agent.

    Example: host devices add pi1 pi@192.168.1.20 --meter ina219 --shunt-ohm 0.1 --group pi4
    """
    from edgepareto.host import api
    from edgepareto.host.config import settings_file

    settings = settings_file()
    api.known_devices(settings=settings)  # a file that cannot be read is told before anything is written
    of_ssh = {
        "port": port,
        "key": key,
        "host_key": host_key,
        "address": address,
        "meter": meter,
        "shunt_ohm": shunt_ohm,
        "shared": shared,
    }
    if card is not None:
        given = [f"--{flag.replace('_', '-')}" for flag, value in of_ssh.items() if value is not None]
        if ssh is not None or given:
            raise WrongUse(f"--card says all of a board; leave out {', '.join([*([ssh] if ssh else []), *given])}")
        device = api.add_device_by_card(name, card, group=group, replace=replace)
        typer.echo(f"{name} is added: agent at {device.address}; next: host devices check {name}")
    elif ssh is not None:
        device = api.add_device(
            name,
            ssh,
            port=port,
            key=key,
            host_key=host_key,
            address=address,
            meter=meter,
            shunt_ohm=shunt_ohm,
            shared=shared,
            group=group,
            replace=replace,
        )
        typer.echo(f"{name} is added: {ssh}; next: host deploy {name}")
    else:
        raise WrongUse(f"where is {name}? host devices add {name} USER@HOST, or --card FILE for a colleague's board")
    here = next(known for known in api.known_devices(settings=settings) if known.name == name)
    if here.origin != device.origin:
        typer.echo(f"note: {here.origin} has a {name} of its own, which wins in this folder", err=True)


@app.command("list")
def list_devices(json: JsonOption = False, debug: DebugOption = False, quiet: QuietOption = False) -> None:
    """List the devices that have a name here, without asking them.

    Example: host devices list
    """
    from edgepareto.host import api
    from edgepareto.host.config import settings_file
    from edgepareto.host.views import known_devices_json, known_devices_table, print_parts, results_console

    known = api.known_devices(settings=settings_file())
    if json:
        typer.echo(known_devices_json(known, api.known_identity()))
    else:
        print_parts(results_console(), known_devices_table(known, api.known_identity()))


@app.command()
def show(name: NameArgument, json: JsonOption = False, debug: DebugOption = False, quiet: QuietOption = False) -> None:
    """Show everything that is known of a device here, without asking it.

    Example: host devices show pi1
    """
    from edgepareto.host import api
    from edgepareto.host.config import settings_file
    from edgepareto.host.views import device_details_json, device_details_table, print_parts, results_console

    details = api.device_details(name, settings=settings_file())
    if json:
        typer.echo(device_details_json(details))
    else:
        print_parts(results_console(), device_details_table(details))


@app.command()
def remove(name: NameArgument, debug: DebugOption = False, quiet: QuietOption = False) -> None:
    """Forget a board. What was installed on it stays there: host deploy NAME --remove takes it off, before this.

    Example: host devices remove pi1
    """
    from edgepareto.host import api
    from edgepareto.host.config import settings_file

    removed = api.remove_device(name, settings=settings_file())
    typer.echo(f"{name} is removed from the list")
    if removed.board_id is not None and removed.ssh is not None:
        typer.echo(
            f"its agent stays on the board; to take it off: host devices add {name} {removed.ssh}, then "
            f"host deploy {name} --remove",
            err=True,
        )


@app.command()
def identity(
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Write the certificate that a board's owner grants."),
    ] = None,
    debug: DebugOption = False,
    quiet: QuietOption = False,
) -> None:
    """Show who you are to the boards; -o writes what a colleague needs to let you use theirs, nothing of it secret.

    Example: host devices identity -o ann.pem
    """
    from edgepareto.host import api
    from edgepareto.host.views import identity_lines

    own = api.own_identity() if output is None else api.write_authority(output)
    for line in identity_lines(own):
        typer.echo(line)
    if output is None:
        typer.echo("for a colleague's board: host devices identity -o FILE")
    else:
        typer.echo(f"written: {output}, for a board's owner, who compares the first line and runs")
        typer.echo(f"host devices grant NAME --ca {output.name}")


app.command()(devices_access.check)
app.command()(devices_access.unlock)
app.command()(devices_access.logs)
app.command()(devices_access.grant)
app.command()(devices_access.revoke)
