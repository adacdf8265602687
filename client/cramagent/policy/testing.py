"""For tests of the policy and of what is built on it: a runner in memory.

    performer = FakePerformer(settings, node_pages=64)
    host = Host(settings)
    host.node_attached(64 * 4096)
    access = performer.drive(host.fault(space, vpn, write=True, now_ns=0))

A page's bytes are a `Token`: any int, 0 for zeros. A device refuses, stalls, poisons and dies on
demand, and holds the policy to its side of the contract: no device page is used again after a write
that nobody answered unless it was TRIMmed, none is loaded that holds nothing, no dropped handle is
used, TRIM ranges are merged and in order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar, cast

from cramagent.policy.effects import (
    CopyFrame,
    Done,
    NodeLoad,
    NodeTrim,
    NodeWrite,
    Tier,
    TierDrop,
    TierGet,
    TierPut,
    TierStored,
    Together,
    ZeroFrames,
)
from cramagent.policy.testing_device import FakeDevice, Token

if TYPE_CHECKING:
    from cramagent.policy.effects import Decision, Effect, Outcome
    from cramagent.policy.settings import PolicySettings

T = TypeVar("T")

__all__ = ["FakeDevice", "FakePerformer", "Token"]


class FakePerformer(FakeDevice):
    """Frames, devices and two tiers, in memory.

    It is the first device itself, so that tests of one node read plainly; `devices` has all, by node.

    Attributes that a test may set, beside those of `FakeDevice`:
        tier_capacity: pages that each tier holds.
    """

    def __init__(
        self,
        settings: PolicySettings,
        *,
        node_pages: int,
        capacity: int | None = None,
        zswap_pages: int = 1 << 30,
        swapfile_pages: int = 1 << 30,
        scratch_frames: int = 256,
    ) -> None:
        super().__init__(
            [None] * (settings.dram_pages + scratch_frames), node_pages=node_pages, capacity=capacity
        )
        self.scratch = tuple(range(settings.dram_pages, settings.dram_pages + scratch_frames))
        """Frames that are the runner's, as the policy's contract says."""
        self.devices: list[FakeDevice] = [self]
        for _ in range(1, settings.nodes):
            self.devices.append(FakeDevice(self.frames, node_pages=node_pages, capacity=capacity))
        self.tiers: dict[Tier, dict[int, Token]] = {Tier.ZSWAP: {}, Tier.SWAPFILE: {}}
        self.tier_capacity = {Tier.ZSWAP: zswap_pages, Tier.SWAPFILE: swapfile_pages}
        self.log: list[Effect] = []
        """Every effect performed; the parts of a `Together` behind it."""
        self._next_handle = 1

    def drive(self, decision: Decision[T]) -> T:
        """Perform a decision's effects until it ends. What performing raises is thrown into it."""
        outcome: Outcome | None = None
        try:
            effect = next(decision)
            while True:
                try:
                    outcome = self.perform(effect)
                except Exception as error:  # noqa: BLE001 -- whatever it is, the decision must hear of it
                    effect = decision.throw(error)
                else:
                    effect = decision.send(outcome)
        except StopIteration as end:
            answer: T = end.value
            return answer

    def of_kind(self, kind: type[T]) -> list[T]:
        """The performed effects of one kind, in order."""
        return [effect for effect in self.log if isinstance(effect, kind)]

    # -- effects -----------------------------------------------------------------------------------

    def perform(self, effect: Effect) -> Outcome:
        """Do what one effect asks."""
        self.log.append(effect)
        match effect:
            case NodeWrite():
                return self.devices[effect.node].write(effect)
            case NodeLoad():
                return self.devices[effect.node].load(effect)
            case NodeTrim():
                return self.devices[effect.node].trim(effect)
            case Together(effects):
                assert len({part.node for part in effects}) == len(effects) > 1, "of one node each, or alone"
                return cast("Outcome", tuple([self.perform(part) for part in effects]))
            case TierPut():
                return self._put(effect)
            case TierGet(tier, handles, frames):
                for handle, frame in zip(handles, frames, strict=True):
                    self.frames[frame] = self.tiers[tier][handle]
            case TierDrop(tier, handles):
                for handle in handles:
                    del self.tiers[tier][handle]
            case ZeroFrames(frames):
                for frame in frames:
                    self.frames[frame] = 0
            case CopyFrame(source, target):
                self.frames[target] = self._bytes_of(source)
        return Done()

    def _put(self, effect: TierPut) -> TierStored:
        store = self.tiers[effect.tier]
        room = max(0, self.tier_capacity[effect.tier] - len(store))
        handles = range(self._next_handle, self._next_handle + min(room, len(effect.frames)))
        self._next_handle = handles.stop
        for handle, frame in zip(handles, effect.frames, strict=False):
            store[handle] = self._bytes_of(frame)
        return TierStored(tuple(handles))
