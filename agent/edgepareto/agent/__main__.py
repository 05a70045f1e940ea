"""The command `edgepareto-agent`: one place turns our errors into one line and an exit code."""

from __future__ import annotations

import logging
import os
import sys

from edgepareto.agent.errors import AgentError, ConfigError

__all__ = ["main"]

INTERRUPTED = 130


def main() -> int:
    """0 ended as told, 1 failed, 2 wrong use, 130 after Ctrl-C. Log lines go to stderr."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    # Why a connection was refused is told there alone (grpc_log), also where whoever started us silenced its own.
    os.environ.pop("GRPC_VERBOSITY", None)
    try:
        from edgepareto.agent.cli import run  # brings grpc: long enough on a board for a Ctrl-C

        return run(sys.argv[1:])
    except KeyboardInterrupt:
        return INTERRUPTED
    except AgentError as error:
        sys.stderr.write(f"edgepareto-agent: {error}\n")
        return 2 if isinstance(error, ConfigError) else 1


if __name__ == "__main__":
    sys.exit(main())
