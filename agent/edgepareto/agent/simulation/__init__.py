"""Simulated boards: the shipped agent on a virtual board, behind four seams (clock, runtime, I2C bus, /sys and /proc).

Other rooms choose it by name and never import it. What it says is always labelled `simulated`.
"""

from __future__ import annotations

from edgepareto.agent.simulation.board import BOARD_NAMES, SimulatedBoard, SimulatedDevice, create_board, open_board

__all__ = ["BOARD_NAMES", "SimulatedBoard", "SimulatedDevice", "create_board", "open_board"]
