from __future__ import annotations

from pathlib import Path

import pytest
from on_board.emulated_board import NoEmulatedBoard, built_board


@pytest.fixture(scope="session")
def built() -> Path:
    """The emulated board, at rest."""
    try:
        return built_board()
    except NoEmulatedBoard as why:
        pytest.skip(f"no emulated board: {why}")
