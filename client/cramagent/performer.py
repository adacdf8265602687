"""Performs what the policy asks for: the only place where its numbers become bytes."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar, assert_never, cast

from cramagent.joint_read import JointRead, is_read
from cramagent.page_load import PageLoad
from cramagent.policy.effects import (
    CopyFrame,
    Done,
    NodeLoad,
    NodeLoaded,
    NodeTrim,
    NodeWrite,
    TierDrop,
    TierGet,
    TierPut,
    TierStored,
    Together,
    ZeroFrames,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from cramagent.behind import Behind
    from cramagent.dram import Dram
    from cramagent.joint_read import Read
    from cramagent.policy.effects import (
        Decision,
        Effect,
        NodeTrimmed,
        NodeWritten,
        Outcome,
        Tier,
    )
    from cramagent.tiers import TierStore

T = TypeVar("T")

_DONE = Done()


class NodePort(Protocol):
    """The device as the performer needs it."""

    def write(self, dpas: Sequence[int], data: bytes) -> NodeWritten:
        """Store page i of `data` at `dpas[i]`."""
        ...

    def read(
        self, dpas: Sequence[int], take: Callable[[Sequence[int], bytes | memoryview], None]
    ) -> NodeLoaded:
        """Read pages; `take` gets positions in `dpas` and the bytes of these pages."""
        ...

    def write_behind(self, dpas: Sequence[int], data: bytes) -> Behind[NodeWritten] | None:
        """As `write`, while other things go on; None: call `write`, it does not wait."""
        ...

    def read_behind(
        self, dpas: Sequence[int], take: Callable[[Sequence[int], bytes | memoryview], None]
    ) -> Behind[NodeLoaded] | None:
        """As `read`, likewise."""
        ...

    def trim(self, ranges: Sequence[tuple[int, int]]) -> NodeTrimmed:
        """TRIM (start, length) ranges."""
        ...


class Suspended(Generic[T]):
    """A decision that waits for its read of the device, or has ended."""

    __slots__ = ("answer", "decision", "read")

    def __init__(self, decision: Decision[T]) -> None:
        self.decision = decision
        self.read: Read | None = None
        """What it waits for; None: it has ended."""
        self.answer: T
        """What it decided, once it has ended."""


class Performer:
    """DRAM, the nodes by number, and the tiers behind them."""

    def __init__(self, dram: Dram, nodes: Sequence[NodePort], tiers: Mapping[Tier, TierStore]) -> None:
        self._dram = dram
        self._nodes = nodes
        self._tiers = tiers
        self._waiting: tuple[Decision[None], Behind[NodeWritten]] | None = None
        """The decision that was begun and waits for its write."""
        self._suspended: Suspended[Any] | None = None
        """The one that waits for its read."""

    def drive(self, decision: Decision[T]) -> T:
        """Perform a decision to its end; what it decided.

        An effect that raises is thrown into the decision, so that it can put back what it holds, and
        comes out here again.
        """
        try:
            effect = next(decision)
            while True:
                effect = decision.send(self._performed(decision, effect))
        except StopIteration as end:
            answer: T = end.value
            return answer

    # -- a decision that waits for company -------------------------------------------------------------

    def suspend(self, decision: Decision[T]) -> Suspended[T]:
        """Perform a decision until it reads from the device. Only one may wait so at a time.

        Its read goes together with that of the next decision that is driven, as one call, and it ends
        before that one goes on; or it reads when it is finished. What is driven meanwhile must bear that.
        """
        assert self._suspended is None, "a decision waits for its read already"
        suspended = Suspended(decision)
        self._until_it_reads(suspended, None)
        if suspended.read is not None:
            self._suspended = suspended
        return suspended

    def finish(self, suspended: Suspended[T]) -> T:
        """What it decided. It reads now, if it has not yet."""
        if self._suspended is suspended:
            self._suspended = None
        while suspended.read is not None:
            outcome = self._performed(suspended.decision, suspended.read)
            self._until_it_reads(suspended, outcome)
        return suspended.answer

    def _until_it_reads(self, suspended: Suspended[T], outcome: Outcome | None) -> None:
        decision, suspended.read = suspended.decision, None
        try:
            effect = decision.send(outcome)
            while not is_read(effect):
                effect = decision.send(self._performed(decision, effect))
            suspended.read = effect
        except StopIteration as end:
            suspended.answer = end.value

    def _read_beside(self, suspended: Suspended[Any], read: Read) -> Outcome:
        """Read for both. The suspended decision goes on to its end; the other one's outcome is answered."""
        self._suspended = None
        assert suspended.read is not None, "who is suspended waits for a read"
        joint = JointRead(suspended.read, read)
        try:
            first, second = joint.outcomes(self.perform(joint.effect))
        except BaseException as error:
            with suppress(type(error)):
                suspended.decision.throw(error)
            raise
        self._until_it_reads(suspended, first)
        self.finish(suspended)
        return second

    # -- a decision that may wait --------------------------------------------------------------------

    def begin(self, decision: Decision[None]) -> None:
        """Perform a decision until it writes to the device; that goes on behind, where it can.

        `resume` goes on with it. While one waits, another that is begun is driven to its end.
        """
        if self._waiting is not None:
            self.drive(decision)
            return
        self._go_on(decision, None)

    def resume(self, *, wait: bool = False) -> bool:
        """Go on with the decision that waits, if its write is answered, or once it is; whether it went on."""
        if self._waiting is None:
            return False
        decision, write = self._waiting
        if not wait and not write.done:
            return False
        self._waiting = None
        try:
            outcome = write.finish()
        except BaseException as error:
            decision.throw(error)
            raise
        self._go_on(decision, outcome)
        return True

    def settle(self) -> None:
        """Wait for all that goes on behind, or waits for company."""
        if self._suspended is not None:
            self.finish(self._suspended)
        while self.resume(wait=True):
            pass

    def _go_on(self, decision: Decision[None], outcome: Outcome | None) -> None:
        try:
            effect = decision.send(outcome)
            while True:
                if isinstance(effect, NodeWrite):
                    write = self._begin_write(effect)
                    if write is not None:
                        self._waiting = decision, write
                        return
                effect = decision.send(self._performed(decision, effect))
        except StopIteration:
            pass

    def _begin_write(self, effect: NodeWrite) -> Behind[NodeWritten] | None:
        """The write of a decision that may wait; None: it answers at once."""
        return self._write_behind(effect)

    # -- one effect ----------------------------------------------------------------------------------

    def _performed(self, decision: Decision[T], effect: Effect) -> Outcome:
        """One effect of a decision; what it raises is thrown into the decision, and comes out here again."""
        try:
            if self._suspended is not None and is_read(effect):
                return self._read_beside(self._suspended, effect)
            return self.perform(effect)
        except BaseException as error:
            decision.throw(error)
            raise

    def perform(self, effect: Effect) -> Outcome:
        """One effect, and what came of it."""
        match effect:
            case NodeWrite(dpas, frames, node):
                return self._nodes[node].write(dpas, self._dram.gather(frames))
            case NodeLoad(dpas, frames, node):
                return self.load(dpas, frames, node)
            case Together(effects):
                return self._together(effects)
            case NodeTrim(ranges, node):
                return self._nodes[node].trim(ranges)
            case TierPut(tier, frames):
                return TierStored(tuple(self._tiers[tier].put([self._dram.frame(frame) for frame in frames])))
            case TierGet(tier, handles, frames):
                for handle, frame in zip(handles, frames, strict=True):
                    self._tiers[tier].get(handle, self._dram.frame(frame))
                return _DONE
            case TierDrop(tier, handles):
                for handle in handles:
                    self._tiers[tier].drop(handle)
                return _DONE
            case ZeroFrames(frames):
                self._dram.zero(frames)
                return _DONE
            case CopyFrame(source, target):
                self._dram.copy(source, target)
                return _DONE
        assert_never(effect)

    def _write_behind(self, effect: NodeWrite) -> Behind[NodeWritten] | None:
        return self._nodes[effect.node].write_behind(effect.dpas, self._dram.gather(effect.frames))

    # -- several nodes at one time -------------------------------------------------------------------

    def _together(self, effects: tuple[NodeWrite, ...] | tuple[NodeLoad, ...]) -> Outcome:
        """The first is performed here, the others behind. All end before this does, whatever they raise."""
        parts: tuple[NodeWrite | NodeLoad, ...] = effects
        behind = [self._begun(effect) for effect in parts[1:]]
        outcomes: list[Outcome] = []
        errors: list[BaseException] = []
        for effect, finish in zip(parts, (None, *behind), strict=True):
            try:
                outcomes.append(self.perform(effect) if finish is None else finish())
            except BaseException as error:  # noqa: BLE001  # the first of them is raised below
                errors.append(error)
        if errors:
            raise errors[0]
        return cast("Outcome", tuple(outcomes))

    def _begun(self, effect: NodeWrite | NodeLoad) -> Callable[[], Outcome] | None:
        """What waits for its outcome; None: it can be performed without waiting."""
        if isinstance(effect, NodeWrite):
            write = self._write_behind(effect)
            return None if write is None else write.finish
        load = PageLoad(self._dram, effect.dpas, effect.frames)
        read = self._nodes[effect.node].read_behind(load.dpas, load.take)
        return None if read is None else lambda: load.loaded(read.finish())

    # -- loads ---------------------------------------------------------------------------------------

    def load(self, dpas: Sequence[int], frames: Sequence[int], node: int = 0) -> NodeLoaded:
        """Pages of one device into frames. Two mappers may ask for one device page: it is read once."""
        load = PageLoad(self._dram, dpas, frames)
        return load.loaded(self._nodes[node].read(load.dpas, load.take))
