"""What is written where nobody looks at a terminal: no escape codes, a note in one line."""

from __future__ import annotations

import pytest
from edgepareto.host.views.console import log_console, print_parts, results_console
from rich.table import Table
from rich.text import Text

NOTE = "  ! " + "a long warning that a terminal wraps " * 9


@pytest.mark.parametrize("variable", ["NO_COLOR", "FORCE_COLOR", "COLUMNS"])
def test_a_note_in_a_file_is_one_plain_line(variable: str, monkeypatch, capsys) -> None:
    monkeypatch.setenv(variable, "60")
    table = Table(title="numbers", title_style="bold")
    table.add_row(Text("1", style="dim"))
    for console in (results_console(), log_console()):
        print_parts(console, [table, Text(NOTE, style="bold yellow")])
    for text in capsys.readouterr():
        assert NOTE in text.splitlines()
        assert "\x1b" not in text
