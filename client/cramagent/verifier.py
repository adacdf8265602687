"""The last look: every page of every space, where it lies, against what it should hold.

Nothing is faulted in and nothing moves: frames, tiers and device pages are read in place.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cramagent.policy.effects import NodeStatus
from cramagent.policy.host import Backend
from cramagent.policy.settings import PAGE_BYTES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cramagent.accesses import Accesses
    from cramagent.dram import Dram
    from cramagent.losses import Losses
    from cramagent.performer import Performer
    from cramagent.policy.effects import Tier
    from cramagent.policy.host import Host
    from cramagent.tiers import TierStore
    from cramagent.truth import Truth

_ZEROS = bytes(PAGE_BYTES)
_FOUND_BY = "verify"


@dataclass(slots=True)
class Verified:
    """What the last look found, in pages."""

    compared: int = 0
    lost: int = 0
    """Lost and not stored anew."""
    unread: int = 0
    """On the device, which did not answer: nobody knows what they hold."""


class Verifier:
    """Reads everything back once."""

    def __init__(
        self,
        *,
        host: Host,
        performer: Performer,
        dram: Dram,
        tiers: Mapping[Tier, TierStore],
        truth: Truth,
        accesses: Accesses,
        losses: Losses,
    ) -> None:
        self._host = host
        self._performer = performer
        self._dram = dram
        self._tiers = tiers
        self._truth = truth
        self._accesses = accesses
        self._losses = losses
        self._found = Verified()

    def verify(self) -> Verified:
        """Compare every page that can be read."""
        self._found = Verified()
        on_node: dict[tuple[int, int], list[tuple[int, int]]] = {}
        for space, host_space in self._accesses.host_space.items():
            known = {vpn for vpn, _ in self._truth.pages(space)}
            for vpn in sorted(known.union(self._host.mapped(host_space))):
                place = self._host.peek(host_space, vpn)
                if place.backend is Backend.NODE:
                    on_node.setdefault((place.node, place.where), []).append((space, vpn))
                else:
                    self._look(space, vpn, place.backend, place.where)
        step = len(self._dram.scratch)
        for node in sorted({node for node, _ in on_node}):
            dpas = sorted(dpa for there, dpa in on_node if there == node)
            for start in range(0, len(dpas), step):
                batch = dpas[start : start + step]
                self._look_on_node(node, batch, [on_node[node, dpa] for dpa in batch])
        self._losses.collect(self._host, self._accesses.host_space)
        return self._found

    def _compare(self, space: int, vpn: int, data: bytes | memoryview) -> None:
        self._found.compared += 1
        self._accesses.compare(space, vpn, data, _FOUND_BY)

    def _look(self, space: int, vpn: int, backend: Backend, where: int) -> None:
        if backend is Backend.DRAM:
            self._compare(space, vpn, self._dram.frame(where))
        elif backend is Backend.NONE:
            self._compare(space, vpn, _ZEROS)
        elif backend is Backend.LOST:
            self._found.lost += 1
        else:
            assert backend.tier is not None, backend
            frame = self._dram.frame(self._dram.scratch[0])
            self._tiers[backend.tier].get(where, frame)
            self._compare(space, vpn, frame)

    def _look_on_node(self, node: int, dpas: list[int], mappers: list[list[tuple[int, int]]]) -> None:
        frames = self._dram.scratch[: len(dpas)]
        answer = self._performer.load(dpas, frames, node)
        if answer.status is NodeStatus.GONE:
            self._host.node_lost(node)
        elif answer.poisoned:
            self._host.poison_met((dpas[position] for position in answer.poisoned), node)
        for position, pages in enumerate(mappers):
            for space, vpn in pages:
                if answer.status is NodeStatus.GONE or position in answer.poisoned:
                    self._found.lost += 1
                elif answer.status in {NodeStatus.OK, NodeStatus.POISONED}:
                    self._compare(space, vpn, self._dram.frame(frames[position]))
                else:
                    self._found.unread += 1
