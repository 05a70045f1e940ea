"""Makes the generated Python of every .proto, and with --check compares it with what is committed.

The one way to make it: grpcio-tools of exactly one version, in an environment of its own, because stubs made by newer
tools refuse older runtimes and the tools would hold protobuf back in ours.

    python proto/generate.py          # writes proto/edgepareto/profiler/v1/*_pb2*.py*
    python proto/generate.py --check  # exit 1 where the committed files differ
"""

from __future__ import annotations

import argparse
import filecmp
import shutil
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

TOOLS = "grpcio-tools==1.74.0"
PROTO_ROOT = Path(__file__).resolve().parent
ENVIRONMENT = PROTO_ROOT.parent / ".venv-proto"
SOURCES = sorted(PROTO_ROOT.rglob("*.proto"))


def tools_python() -> Path:
    """The Python that has the tools; the environment is made on first use."""
    python = ENVIRONMENT / "bin" / "python"
    stamp = ENVIRONMENT / TOOLS
    if not stamp.exists():
        shutil.rmtree(ENVIRONMENT, ignore_errors=True)
        venv.create(ENVIRONMENT, with_pip=True)
        subprocess.run(
            [python, "-m", "pip", "install", "--quiet", "--only-binary=:all:", TOOLS, "setuptools<81"], check=True
        )
        stamp.touch()
    return python


def generate(output: Path) -> list[Path]:
    """Write the generated files below `output`; returns them."""
    command = [tools_python(), "-W", "ignore", "-m", "grpc_tools.protoc", f"-I{PROTO_ROOT}"]
    command += [f"--python_out={output}", f"--pyi_out={output}", f"--grpc_python_out={output}"]
    subprocess.run([*map(str, command), *map(str, SOURCES)], check=True)
    return sorted(output.rglob("*_pb2*.py*"))


def differences() -> list[str]:
    """Names of committed generated files that are not what the tools make now."""
    with tempfile.TemporaryDirectory() as folder:
        fresh = generate(Path(folder))
        names = [path.relative_to(folder) for path in fresh]
        return [str(n) for n in names if not same(Path(folder) / n, PROTO_ROOT / n)]


def same(fresh: Path, committed: Path) -> bool:
    return committed.exists() and filecmp.cmp(fresh, committed, shallow=False)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare with the committed files instead of writing them")
    if not parser.parse_args().check:
        generate(PROTO_ROOT)
        return 0
    if sys.version_info >= (3, 14):
        print(f"generated code not compared: {TOOLS} has no wheel for this Python, {sys.version.split()[0]}")
        return 0
    stale = differences()
    if stale:
        print(
            "generated code is not what proto/generate.py makes now: "
            + ", ".join(stale)
            + "; run: python proto/generate.py"
        )
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
