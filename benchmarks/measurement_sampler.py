"""The product's sampler process on an INA219 whose registers are simulated and whose time is real.

Takes the sampler's own arguments. In the place of smbus2 stands a bus of 100 kHz that blocks as long as a transaction
lasts, so that what the sampler does to the machine is what it does on a board: the same driver, the same polling.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from types import ModuleType

from edgepareto.agent.power.sampler import main
from edgepareto.agent.simulation.chip import Ina219Chip
from edgepareto.agent.simulation.profile import Supply

TRANSACTION_S = 0.48e-3  # address, register, address again and two bytes at 100 kHz


class SteadyLoad:
    """5 W of a board at 5.1 V."""

    supply = Supply(open_circuit_v=5.1, source_ohm=0.05, shunt_ohm=0.1)

    def mean_current_a(self, start_ns: float, end_ns: float) -> float:
        return 1.0


class SMBus:
    """smbus2.SMBus as far as the driver uses it."""

    def __init__(self, bus: int) -> None:
        self._chip = Ina219Chip(SteadyLoad())

    def read_i2c_block_data(self, i2c_addr: int, register: int, length: int) -> list[int]:
        time.sleep(TRANSACTION_S)
        value = self._chip.read(register, time.clock_gettime_ns(time.CLOCK_MONOTONIC_RAW))
        return [value >> 8, value & 0xFF][:length]

    def write_i2c_block_data(self, i2c_addr: int, register: int, data: Sequence[int]) -> None:
        time.sleep(TRANSACTION_S)
        self._chip.write(register, data[0] << 8 | data[1], time.clock_gettime_ns(time.CLOCK_MONOTONIC_RAW))

    def close(self) -> None:
        pass


if __name__ == "__main__":
    smbus2 = ModuleType("smbus2")
    smbus2.SMBus = SMBus  # type: ignore[attr-defined]
    sys.modules["smbus2"] = smbus2
    sys.exit(main())
