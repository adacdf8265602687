"""For tests: one device in memory, as the policy's effects meet it. See `cramagent.policy.testing`."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, TypeAlias

from cramagent.policy.effects import NodeLoaded, NodeStatus, NodeTrimmed, NodeWritten
from cramagent.policy.settings import PAGE_BYTES

if TYPE_CHECKING:
    from cramagent.policy.effects import NodeLoad, NodeTrim, NodeWrite

Token: TypeAlias = int
"""What a page holds, as one number; 0 is a page of zeros."""


class FakeDevice:
    """Device pages by DPA, between which and the host's frames tokens move.

    Attributes that a test may set:
        capacity: pages that the device's media holds; more end with NO_MORE_WRITES.
        region_limit: pages that the region may hold; more end with REGION_LIMIT.
        poisoned: DPAs that answer POISONED to a load; a write or TRIM takes the poison away.
        answers: statuses that the next device effects answer instead of acting, first first (OK: act).
        link_up: False: every device effect answers UNAVAILABLE.
        session_over: True (after `reset_device`): every device effect answers GONE, until `new_session`.
        lost_tokens: what was in the device when it was reset.
        accept_first: of a write that `answers` refuses, so many pages are stored (and reported) before.
        late_write: with UNAVAILABLE, so many pages of a write are stored without anybody being told.
    """

    def __init__(self, frames: list[Token | None], *, node_pages: int, capacity: int | None = None) -> None:
        self.frames = frames
        self.node_pages = node_pages
        self.capacity = node_pages if capacity is None else capacity
        self.region_limit = node_pages
        self.device: dict[int, Token] = {}
        """By DPA. A page that is absent reads as zeros and must not be loaded."""
        self.poisoned: set[int] = set()
        self.answers: deque[NodeStatus] = deque()
        self.link_up = True
        self.session_over = False
        self.lost_tokens: set[Token] = set()
        self.accept_first = 0
        self.late_write = 0
        self._doubtful: set[int] = set()
        """DPAs of writes that nobody answered: only TRIM makes them usable."""

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

    def write(self, effect: NodeWrite) -> NodeWritten:
        """Perform it."""
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

    def load(self, effect: NodeLoad) -> NodeLoaded:
        """Perform it."""
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

    def trim(self, effect: NodeTrim) -> NodeTrimmed:
        """Perform it."""
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
