"""The real agent's command, which tells at its end which modules its server process had loaded."""

from __future__ import annotations

import json
import sys

from edgepareto.agent.cli import run

code = run(sys.argv[1:])
sys.stdout.write(json.dumps(sorted(sys.modules)) + "\n")
sys.exit(code)
