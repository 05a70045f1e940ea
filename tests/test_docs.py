"""What the documentation shows is what happens."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path

DOCS = Path(__file__).parents[1] / "docs"


def test_the_worked_example_of_three_networks_prints_cnn_1_alone():
    code = re.search(r"```python\n(.*?)```", (DOCS / "worked-example.md").read_text(), re.DOTALL)
    assert code
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(code.group(1), "worked-example.md", "exec"), {})
    assert printed.getvalue() == "['CNN-1']\n"
