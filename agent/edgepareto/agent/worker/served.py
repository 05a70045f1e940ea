"""python -m edgepareto.agent.worker.served --store DIR: the worker as edgepareto-worker@.service starts it.

Its stdin and stdout are the agent's connection, whose first line says what to run (see admission). It starts nothing
but this worker and opens no model and no data outside of the agent's folder.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from edgepareto.agent.worker.__main__ import serve, worker_arguments
from edgepareto.agent.worker.admission import NotAdmitted, take_request

__all__ = ["main"]


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m edgepareto.agent.worker.served", description=__doc__)
    parser.add_argument("--store", type=Path, required=True, help="the agent's folder; nothing outside of it is opened")
    store: Path = parser.parse_args(argv).store.absolute()
    try:
        arguments = worker_arguments(take_request())
    except (NotAdmitted, OSError) as error:
        sys.stderr.write(f"no worker was started: {error}\n")
        return 1
    return serve(arguments, store=store)


if __name__ == "__main__":
    sys.exit(main())
