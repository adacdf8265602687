"""One host, put together: policy, memory, tiers, link, workload. The runner only sets it going."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from cramagent.accesses import Accesses
from cramagent.attachment import Attachment
from cramagent.clock import SYSTEM_CLOCK
from cramagent.dram import Dram
from cramagent.losses import Losses, session_loss
from cramagent.policy.effects import Tier
from cramagent.policy.host import Host
from cramagent.policy.trim import merge_first
from cramagent.refusals import ProtocolBroken
from cramagent.tally import Tally
from cramagent.tiers.swapfile import SwapFile
from cramagent.tiers.zswap import Zswap
from cramagent.traced import performer_of
from cramagent.truth import Truth
from cramagent.verifier import Verifier
from cramagent.workload import Workload

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from cramagent.clock import Clock
    from cramagent.link import NodeLink
    from cramagent.patterns import Pattern
    from cramagent.performer import Performer
    from cramagent.policy.settings import PolicySettings
    from cramagent.sources.changes import Source
    from cramagent.tiers import TierStore
    from cramwire.v1 import types_pb2


def _cause_of(links: tuple[NodeLink, ...], node: int) -> str:
    return session_loss(links[node].over_reason)


@dataclass(frozen=True, slots=True)
class Plan:
    """What a machine is built from. Sizes in bytes."""

    policy: PolicySettings
    zswap_bytes: int
    swap_bytes: int
    swap_folder: Path
    pattern: Pattern
    write_share: float
    seed: int


@dataclass(slots=True)
class Machine:
    """The parts, by name."""

    host: Host
    dram: Dram
    tiers: dict[Tier, TierStore]
    attachments: tuple[Attachment, ...]
    """One for each node, by its number."""
    performer: Performer
    truth: Truth
    tally: Tally
    losses: Losses
    accesses: Accesses
    source: Source
    workload: Workload
    verifier: Verifier
    clock: Clock

    @classmethod
    def build(
        cls, plan: Plan, source: Source, links: Sequence[NodeLink], clock: Clock = SYSTEM_CLOCK
    ) -> Machine:
        """All parts, wired; no byte has moved yet. `links`: one for each node of the policy.

        Raises:
            OSError: the swap file cannot be made.
        """
        assert len(links) == plan.policy.nodes, (len(links), plan.policy.nodes)
        links = tuple(links)
        host = Host(plan.policy)
        dram = Dram(plan.policy.dram_pages)
        tiers: dict[Tier, TierStore] = {
            Tier.ZSWAP: Zswap(plan.zswap_bytes),
            Tier.SWAPFILE: SwapFile(plan.swap_folder, plan.swap_bytes),
        }
        performer = performer_of(links[0].client.traces, dram, links, tiers)
        truth, tally = Truth(), Tally()
        losses = Losses(partial(_cause_of, links))
        accesses = Accesses(host, performer, dram, truth, tally, clock=clock)
        workload = Workload(
            source=source,
            host=host,
            performer=performer,
            accesses=accesses,
            truth=truth,
            losses=losses,
            tally=tally,
            pattern=plan.pattern,
            write_share=plan.write_share,
            seed=plan.seed,
        )
        verifier = Verifier(
            host=host,
            performer=performer,
            dram=dram,
            tiers=tiers,
            truth=truth,
            accesses=accesses,
            losses=losses,
        )
        return cls(
            host,
            dram,
            tiers,
            tuple([Attachment(number, link) for number, link in enumerate(links)]),
            performer,
            truth,
            tally,
            losses,
            accesses,
            source,
            workload,
            verifier,
            clock,
        )

    def attached(self, node: Attachment, telemetry: types_pb2.Telemetry) -> None:
        """A session began: the policy gets an empty node."""
        node.logical_bytes = node.link.region.logical_bytes
        self.host.node_attached(node.logical_bytes, node.number)
        self.take_reading(node, telemetry)

    def resumed(self, node: Attachment, telemetry: types_pb2.Telemetry) -> None:
        """A session of a former run goes on: the policy's node is as that run left it.

        What the policy knows nothing in is trimmed: an answer may have been lost on the way.
        """
        self.take_reading(node, telemetry)
        empty = self.host.empty_device_pages(node.number)
        if empty:
            ranges, _ = merge_first(empty, len(empty))
            node.link.trim(ranges)

    def take_reading(
        self, node: Attachment, telemetry: types_pb2.Telemetry, *, of_event: bool = False
    ) -> None:
        """Telemetry of any origin: to the policy, with the region's size if that changed.

        One that is older than what is known already is counted, and not believed.

        Raises:
            ProtocolBroken: the region has a size that none can have.
        """
        if not node.link.is_news(telemetry, of_event=of_event):
            node.tally.readings_stale += 1
            return
        reading = node.link.reading(telemetry)
        if node.logical_bytes and reading.logical_bytes != node.logical_bytes:
            try:
                self.host.resized(reading.logical_bytes, node.number)
            except ValueError as error:
                raise ProtocolBroken(f"the device resized the region: {error}") from error
            self.workload.tell_losses()
            node.logical_bytes = reading.logical_bytes
        self.host.reading(reading, self.clock.now_ns(), node.number)

    @property
    def swap_disk_full(self) -> bool:
        """Whether it is the disk that keeps the swap file from holding more, and not its size."""
        return any(isinstance(tier, SwapFile) and tier.disk_full for tier in self.tiers.values())

    def close(self) -> None:
        """Give back memory, files and the source."""
        self.source.close()
        for tier in self.tiers.values():
            tier.close()
        self.dram.close()
