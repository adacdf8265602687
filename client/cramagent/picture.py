"""Everything that the metrics tell, taken at one moment."""

from __future__ import annotations

from copy import copy, deepcopy
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cramagent.link import LinkState
    from cramagent.machine import Machine
    from cramagent.policy.counters import HostCounters
    from cramagent.policy.effects import NodeStatus
    from cramagent.policy.snapshot import HostSnapshot
    from cramagent.tally import Tally


@dataclass(frozen=True, slots=True)
class Picture:
    """Everything that the metrics tell, at one moment. Nothing in it moves."""

    name: str
    """What the host attaches as."""
    host: HostSnapshot
    counters: HostCounters
    faults: dict[tuple[str, str], int]
    """By (kind, outcome)."""
    tally: Tally
    tiers: dict[str, tuple[int, int]]
    """(used, limit) bytes by tier."""
    device_ns: dict[str, int]
    refused_writes: dict[NodeStatus, int]
    link: LinkState
    pages_left_out: int

    @classmethod
    def take(cls, machine: Machine) -> Picture:
        """A picture of a machine; called by the main loop only."""
        return cls(
            name=machine.link.region.host,
            host=machine.host.snapshot(),
            counters=copy(machine.host.counters),
            faults=machine.host.faults.rows(),
            tally=deepcopy(machine.tally),
            tiers={
                tier.value: (store.used_bytes, store.limit_bytes) for tier, store in machine.tiers.items()
            },
            device_ns=dict(machine.link.client.device_ns),
            refused_writes=dict(machine.link.refused_writes),
            link=machine.link.state,
            pages_left_out=machine.source.pages_left_out,
        )
