"""Emulated time as the agent and the service take it: one clock each, over one world."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cramlab.simulated.waiting import EmulatedCondition, EmulatedFlag

if TYPE_CHECKING:
    from collections.abc import Callable

    from cramlab.simulated.world import Task, World
    from cxldevd.clock import Condition

EPOCH_NS: Final = 1_767_225_600_000_000_000
"""Wall time when a world begins: 2026-01-01, so that no run differs from another by when it was made."""


@dataclass(frozen=True, slots=True)
class CpuCosts:
    """What a host's own work takes, ns. Published figures of real machines, rounded."""

    access_ns: int = 100
    """A page that is mapped: a load from DRAM."""
    fault_ns: int = 1_000
    """Entering and leaving the kernel, page tables; what is waited for comes on top."""
    zswap_store_ns: int = 14_600
    zswap_load_ns: int = 6_800
    """zram with zstd on a kernel of today."""
    swapfile_store_ns: int = 20_000
    swapfile_load_ns: int = 80_000
    """A 4 KiB read of an NVMe drive; writes go out many at a time."""


class EmulatedClock:
    """Time of one machine of the world. What it starts ends with it."""

    def __init__(self, world: World, costs: CpuCosts | None = None) -> None:
        self.world: Final = world
        self.costs: Final = costs or CpuCosts()
        self._tasks: list[Task] = []

    def now_ns(self) -> int:
        """Since the world began."""
        return self.world.now_ns

    def wall_ns(self) -> int:
        """Since the epoch."""
        return EPOCH_NS + self.world.now_ns

    # -- the agent's ----------------------------------------------------------------------------------

    def flag(self) -> EmulatedFlag:
        """A flag that tasks wait for."""
        return EmulatedFlag(self.world)

    def start(self, name: str, run: Callable[[], object]) -> Task:
        """A task."""
        task = self.world.spawn(name, run)
        self._tasks = [one for one in self._tasks if one.is_alive()]
        self._tasks.append(task)
        return task

    def lend(self, name: str, run: Callable[[], object]) -> None:
        """A task as any other."""
        self.start(name, run)

    def spend(self, *, accesses: int = 0, faults: int = 0) -> None:
        """Let the time pass that these take a CPU."""
        self.world.sleep(accesses * self.costs.access_ns + faults * self.costs.fault_ns)

    def kill(self) -> None:
        """The machine is gone: all that it runs ends where it is. Called by the world, between tasks."""
        for task in self._tasks:
            task.kill()

    # -- the service's --------------------------------------------------------------------------------

    def condition(self) -> Condition:
        """A condition that tasks wait for."""
        return EmulatedCondition(self.world)

    def wait(self, condition: Condition, deadline_ns: int | None) -> None:
        """Wait until notified, or until the deadline."""
        if deadline_ns is None:
            condition.wait()
        elif (left_ns := deadline_ns - self.world.now_ns) > 0:
            condition.wait(left_ns / 1e9)
