"""For tests of the policy and of what is built on it: a runner in memory.

    performer = FakePerformer(settings, node_pages=64)
    host = Host(settings)
    host.node_attached(64 * 4096)
    access = performer.drive(host.fault(space, vpn, write=True, now_ns=0))

A page's bytes are a `Token`: any int, 0 for zeros. The device refuses, stalls, poisons and dies on
demand, and holds the policy to its side of the contract: no device page is used again after a write
that nobody answered unless it was TRIMmed, none is loaded that holds nothing, no dropped handle is
used, TRIM ranges are merged and in order.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from cramagent.policy.effects import (
    CopyFrame,
    Done,
    NodeLoad,
    NodeLoaded,
    NodeStatus,
    NodeTrim,
    NodeTrimmed,
    NodeWrite,
    NodeWritten,
    Tier,
    TierDrop,
    TierGet,
    TierPut,
    TierStored,
    ZeroFrames,
)
from cramagent.policy.settings import PAGE_BYTES

if TYPE_CHECKING:
    from cramagent.policy.effects import Decision, Effect, Outcome
    from cramagent.policy.settings import PolicySettings

T = TypeVar("T")

Token: TypeAlias = int
"""What a page holds, as one number; 0 is a page of zeros."""


class FakePerformer:
    """Frames, one device and two tiers, in memory.

    Attributes that a test may set:
        capacity: pages that the device's media holds; more end with NO_MORE_WRITES.
        region_limit: pages that the region may hold; more end with REGION_LIMIT.
        tier_capacity: pages that each tier holds.
        poisoned: DPAs that answer POISONED to a load; a write or TRIM takes the poison away.
        answers: statuses that the next device effects answer instead of acting, first first (OK: act).
        link_up: False: every device effect answers UNAVAILABLE.
        session_over: True (after `reset_device`): every device effect answers GONE, until `new_session`.
        lost_tokens: what was in the device when it was reset.
        accept_first: of a write that `answers` refuses, so many pages are stored (and reported) before.
        late_write: with UNAVAILABLE, so many pages of a write are stored without anybody being told.
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
        self.frames: list[Token | None] = [None] * (settings.dram_pages + scratch_frames)
        self.scratch = tuple(range(settings.dram_pages, settings.dram_pages + scratch_frames))
        """Frames that are the runner's, as the policy's contract says."""
        self.node_pages = node_pages
        self.capacity = node_pages if capacity is None else capacity
        self.region_limit = node_pages
        self.device: dict[int, Token] = {}
        """By DPA. A page that is absent reads as zeros and must not be loaded."""
        self.tiers: dict[Tier, dict[int, Token]] = {Tier.ZSWAP: {}, Tier.SWAPFILE: {}}
        self.tier_capacity = {Tier.ZSWAP: zswap_pages, Tier.SWAPFILE: swapfile_pages}
        self.poisoned: set[int] = set()
        self.answers: deque[NodeStatus] = deque()
        self.link_up = True
        self.session_over = False
        self.lost_tokens: set[Token] = set()
        self.accept_first = 0
        self.late_write = 0
        self.log: list[Effect] = []
        """Every effect performed."""
        self._doubtful: set[int] = set()
        """DPAs of writes that nobody answered: only TRIM makes them usable."""
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

    def reset_device(self) -> None:
        """A new power-on: all bytes in the device are gone, and so is the session."""
        self.lost_tokens.update(self.device.values())
        self.device.clear()
        self.poisoned.clear()
        self._doubtful.clear()
        self.answers.clear()
        self.session_over = True

    def new_session(self) -> None:
        """Attached anew, to an empty region."""
        self.reset_device()
        self.session_over = False

    # -- effects -----------------------------------------------------------------------------------

    def perform(self, effect: Effect) -> Outcome:
        """Do what one effect asks."""
        self.log.append(effect)
        match effect:
            case NodeWrite():
                return self._write(effect)
            case NodeLoad():
                return self._load(effect)
            case NodeTrim():
                return self._trim(effect)
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

    def _bytes_of(self, frame: int) -> Token:
        token = self.frames[frame]
        assert token is not None, f"frame {frame} was never filled"
        return token

    def _status(self) -> NodeStatus:
        if not self.link_up:
            return NodeStatus.UNAVAILABLE
        if self.session_over:
            return NodeStatus.GONE
        status = self.answers.popleft() if self.answers else NodeStatus.OK
        if status is NodeStatus.GONE:
            self.reset_device()
        return status

    def _write(self, effect: NodeWrite) -> NodeWritten:
        status = self._status()
        pairs = list(zip(effect.dpas, effect.frames, strict=True))
        for dpa in effect.dpas:
            assert 0 <= dpa < self.node_pages * PAGE_BYTES, f"{dpa:#x} is past the region's end"
            assert dpa not in self._doubtful, f"{dpa:#x} is written again before its TRIM"
        if self.session_over:
            # Link down or not: nobody will ever read it back.
            return NodeWritten(status, 0)
        if status is NodeStatus.UNAVAILABLE:
            # A page that held data before is a store, which may be asked for again.
            self._doubtful.update(dpa for dpa in effect.dpas if dpa not in self.device)
            for dpa, frame in pairs[: self.late_write]:
                self.device[dpa] = self._bytes_of(frame)
            return NodeWritten(status, 0)
        if status is not NodeStatus.OK:
            pairs = pairs[: self.accept_first]
        for accepted, (dpa, frame) in enumerate(pairs):
            new = dpa not in self.device
            if new and len(self.device) >= self.capacity:
                return NodeWritten(NodeStatus.NO_MORE_WRITES, accepted)
            if new and len(self.device) >= self.region_limit:
                return NodeWritten(NodeStatus.REGION_LIMIT, accepted)
            self.device[dpa] = self._bytes_of(frame)
            self.poisoned.discard(dpa)
        return NodeWritten(status, len(pairs))

    def _load(self, effect: NodeLoad) -> NodeLoaded:
        status = self._status()
        if status not in {NodeStatus.OK, NodeStatus.POISONED}:
            return NodeLoaded(status)
        poisoned: set[int] = set()
        for place, (dpa, frame) in enumerate(zip(effect.dpas, effect.frames, strict=True)):
            if dpa in self.poisoned or status is NodeStatus.POISONED:
                poisoned.add(place)
            else:
                self.frames[frame] = self.device[dpa]
        return NodeLoaded(NodeStatus.POISONED if poisoned else NodeStatus.OK, frozenset(poisoned))

    def _trim(self, effect: NodeTrim) -> NodeTrimmed:
        status = self._status()
        if status is not NodeStatus.OK:
            return NodeTrimmed(status)
        end = -1
        for start, length in effect.ranges:
            assert start > end, "TRIM ranges are not merged and in order"
            end = start + length
            for dpa in range(start, end, PAGE_BYTES):
                self.device.pop(dpa, None)
                self.poisoned.discard(dpa)
                self._doubtful.discard(dpa)
        return NodeTrimmed(status)

    def _put(self, effect: TierPut) -> TierStored:
        store = self.tiers[effect.tier]
        room = max(0, self.tier_capacity[effect.tier] - len(store))
        handles = range(self._next_handle, self._next_handle + min(room, len(effect.frames)))
        self._next_handle = handles.stop
        for handle, frame in zip(handles, effect.frames, strict=False):
            store[handle] = self._bytes_of(frame)
        return TierStored(tuple(handles))
