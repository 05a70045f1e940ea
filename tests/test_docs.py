"""What the documentation shows is what happens."""

from __future__ import annotations

import contextlib
import io
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from edgepareto.agent.cli import run
from edgepareto.host.__main__ import main
from edgepareto.host.cli.app import app

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.glob("*.md"))]


def test_the_worked_example_of_three_networks_prints_cnn_1_alone():
    code = re.search(r"```python\n(.*?)```", (DOCS / "worked-example.md").read_text(), re.DOTALL)
    assert code
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(code.group(1), "worked-example.md", "exec"), {})
    assert printed.getvalue() == "['CNN-1']\n"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_host_command_of_a_page_has_the_verbs_and_the_options_that_are_typed_there(page: Path):
    for line in _host_commands(page.read_text()):
        command = typer.main.get_command(app)
        words = shlex.split(line)[1:]
        while (commands := getattr(command, "commands", None)) and words and not words[0].startswith("-"):
            assert words[0] in commands, f"{page.name}: {line}"
            command = commands[words.pop(0)]
        known = {flag for parameter in command.params for flag in (*parameter.opts, *parameter.secondary_opts)}
        known |= set(command.context_settings.get("help_option_names", ["--help"]))
        unknown = [word for word in words if re.match(r"--?[a-z]", word) and word.split("=")[0] not in known]
        assert not unknown, f"{page.name}: {line}"


def test_the_boards_page_shows_a_board_from_the_first_command_to_the_last():
    verbs = [" ".join(shlex.split(line)[1:3]) for line in _host_commands((DOCS / "boards.md").read_text())]
    wanted = ["devices add", "deploy pi1", "devices check", "profile model.onnx", "search --devices", "devices logs"]
    places = [verbs.index(verb) for verb in [*wanted, "devices remove", "devices grant", "devices revoke"]]
    assert places == sorted(places)


def test_links_lead_to_files_and_headings_that_there_are():
    for page in PAGES:
        for target, heading in re.findall(r"\]\((?!https?:)([^)#]*)#?([^)]*)\)", page.read_text()):
            file = (page.parent / target).resolve() if target else page
            assert file.exists(), f"{page.name}: {target}"
            if heading:
                assert heading in _anchors(file.read_text()), f"{page.name}: {target}#{heading}"


def test_the_agent_by_hand_answers_at_the_address_that_the_boards_page_searches(tmp_path: Path):
    lines = _shell_lines((DOCS / "boards.md").read_text())
    meters, agent = (shlex.split(line, comments=True)[1:] for line in lines if "bin/edgepareto-agent" in line)
    assert run(meters) == 0
    assert agent == ["--config", "agent.toml"]
    address = next(shlex.split(line)[-1] for line in lines if "--devices 127.0.0.1" in line)
    settings = (ROOT / "deploy" / "agent.toml.example").read_text()
    assert f'listen = "{address}"' in settings
    # A free port in the place of the page's, which something else may hold here.
    (tmp_path / "agent.toml").write_text(settings.replace(address, "127.0.0.1:0"))
    process = subprocess.Popen(
        [sys.executable, "-m", "edgepareto.agent", *agent], stdout=subprocess.PIPE, text=True, cwd=tmp_path
    )
    assert process.stdout is not None
    try:
        found = re.search(r"127\.0\.0\.1:\d+", process.stdout.readline())
        assert found
        assert main(["devices", "check", found.group()]) == 0
    finally:
        process.terminate()
        process.wait(timeout=20)
        process.stdout.close()


def _shell_lines(text: str) -> list[str]:
    return [line for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL) for line in block.splitlines()]


def _host_commands(text: str) -> list[str]:
    """Those of blocks and those between backticks; `host deploy NAME... [--remove]` is a pattern and no command."""
    inline = re.findall(r"`(host [^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
    lines = [shlex.join(shlex.split(line, comments=True)) for line in _shell_lines(text) if line.startswith("host ")]
    return [line for line in (*lines, *inline) if not re.search(r"\.\.\.|\[|\|", line)]


def _anchors(text: str) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
