"""Everything that the metrics tell, taken at one moment."""

from __future__ import annotations

from copy import copy, deepcopy
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cramagent.attachment import Attachment
    from cramagent.link import LinkState
    from cramagent.machine import Machine
    from cramagent.policy.counters import HostCounters
    from cramagent.policy.effects import NodeStatus
    from cramagent.policy.snapshot import HostSnapshot
    from cramagent.tally import NodeTally, Tally


@dataclass(frozen=True, slots=True)
class NodePicture:
    """Of one node and its device."""

    number: int
    device: str
    """Where it is."""
    tally: NodeTally
    device_ns: dict[str, int]
    refused_writes: dict[NodeStatus, int]
    link: LinkState

    @classmethod
    def take(cls, node: Attachment) -> NodePicture:
        """A picture of a node; called by the main loop only."""
        return cls(
            number=node.number,
            device=node.device,
            tally=deepcopy(node.tally),
            device_ns=dict(node.link.client.device_ns),
            refused_writes=dict(node.link.refused_writes),
            link=node.link.state,
        )


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
    nodes: tuple[NodePicture, ...]
    """By number."""
    pages_left_out: int

    @classmethod
    def take(cls, machine: Machine) -> Picture:
        """A picture of a machine; called by the main loop only."""
        return cls(
            name=machine.attachments[0].link.region.host,
            host=machine.host.snapshot(),
            counters=copy(machine.host.counters),
            faults=machine.host.faults.rows(),
            tally=deepcopy(machine.tally),
            tiers={
                tier.value: (store.used_bytes, store.limit_bytes) for tier, store in machine.tiers.items()
            },
            nodes=tuple([NodePicture.take(node) for node in machine.attachments]),
            pages_left_out=machine.source.pages_left_out,
        )
