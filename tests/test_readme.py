"""Every command of the README is run, in its order, as a newcomer would."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from edgepareto.host.__main__ import main

ROOT = Path(__file__).parents[1]
EXAMPLE = ROOT / "examples" / "fashion_mnist"
README = (ROOT / "README.md").read_text()
COMMANDS = [
    line.split("#")[0].strip()
    for block in re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
    for line in block.splitlines()
]
# A newcomer has minutes, a test has seconds.
SHORT = {
    "search": ["--measurements", "5", "--population", "4", "--preset", "quick"],
    "remeasure": ["--preset", "quick"],
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the README's reader has: a model and data."""
    (tmp_path / "model.onnx").write_bytes((EXAMPLE / "mobilenet.onnx").read_bytes())
    for name in ("calibration", "validation", "test"):
        with np.load(EXAMPLE / f"{name}.npz") as data:
            np.savez(tmp_path / f"{name}.npz", **{key: data[key][:100] for key in data.files})
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_commands_for_a_model_of_ones_own_run_in_their_order(folder: Path):
    journey = [shlex.split(line)[1:] for line in COMMANDS if line.startswith("host ") and "pi1" not in line]
    verbs = ["inspect", "init", "config", "search", "front", "export", "prune", "recompute", "remeasure"]
    assert [words[0] for words in journey] == verbs
    for words in journey:
        assert main([*words, *SHORT.get(words[0], [])]) == 0, words
    assert {"small.onnx", "small.onnx.json", "fronts.html", "half.onnx"} <= {file.name for file in folder.iterdir()}


def test_the_first_board_takes_the_commands_that_its_page_explains(folder: Path):
    ours = [line for line in COMMANDS if "pi1" in shlex.split(line)]
    assert [" ".join(line.split()[1:3]) for line in ours[:3]] == ["devices add", "deploy pi1", "devices check"]
    page = (ROOT / "docs" / "boards.md").read_text()
    assert all(line in page for line in ours)


def test_the_make_targets_and_pages_that_the_readme_names_exist():
    targets = [line.split()[1] for line in COMMANDS if line.startswith("make ")]
    assert targets == ["demo", "test", "test-board"]
    makefile = (ROOT / "Makefile").read_text()
    assert all(re.search(rf"^{target}:", makefile, re.MULTILINE) for target in targets)
    for page in re.findall(r"\]\(([^)#]+)[^)]*\)", README):
        assert (ROOT / page).exists(), page
