"""What the policy's state machine is made of: the model, the fragile performer, the runner's moves.

A node is named by its number.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from cramagent.policy.effects import NodeWrite
from cramagent.policy.host import Backend, Host
from cramagent.policy.states import State
from cramagent.policy.testing import FakePerformer, Token
from policy_helpers import NODE_PAGES, PAGE_BYTES, AccessKind, a_reading

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cramagent.policy.credits import CreditRequest
    from cramagent.policy.effects import Decision, Effect, Outcome
    from cramagent.policy.host import Access
    from cramagent.policy.settings import PolicySettings

T = TypeVar("T")

Key = tuple[int, int]
"""(space, vpn)"""


class Crash(Exception):
    """The performer failed in the middle of a decision."""


class FragilePerformer(FakePerformer):
    """Fails once, after so many more effects; and keeps the device's events about poison it was asked for."""

    fuse: int | None = None

    def perform(self, effect: Effect) -> Outcome:
        """As the fake, until the fuse has burnt."""
        if self.fuse is not None:
            self.fuse -= 1
            if self.fuse < 0:
                self.fuse = None
                raise Crash
        return super().perform(effect)


@dataclass(eq=False)
class Cell:
    """What one page must hold: one of these tokens (several after a store nobody answered), or LOST."""

    tokens: set[Token] = field(default_factory=lambda: {0})
    lost: bool = False
    shared: bool = False


class Life:
    """A host, its performer, and the model: what every page must hold."""

    host: Host
    performer: FragilePerformer

    def __init__(self) -> None:
        super().__init__()
        self.model: dict[Key, Cell] = {}
        self.spaces: list[int] = []
        self.now = 0
        self.last_token = 0
        self.at_risk: set[Token] = set()
        """Tokens of device pages that went bad at some time."""
        self.behind: tuple[Decision[None], Outcome] | None = None
        """A turn of kswapd that waits for this answer."""
        self.credit_requests: dict[int, CreditRequest] = {}
        """Those that were sent and not answered yet, by node."""
        self.told: list[tuple[int, int]] = []
        """Device pages (node, DPA) that events named."""

    def begin(self, chosen: PolicySettings, *, tier_pages: int) -> None:
        """One space with 24 pages that hold something."""
        self.host = Host(chosen)
        self.performer = FragilePerformer(
            chosen, node_pages=NODE_PAGES, capacity=40, zswap_pages=tier_pages, swapfile_pages=tier_pages
        )
        for node in range(chosen.nodes):
            self.attach(node)
        self.spaces.append(self.host.create_space())
        for vpn in range(24):
            self.store([(self.spaces[0], vpn)])

    # -- plumbing ----------------------------------------------------------------------------------

    def drive(self, decision: Decision[T]) -> T | None:
        """Run a decision. None if the performer crashed: the decision was thrown the error, and ended."""
        try:
            return self.performer.drive(decision)
        except Crash:
            return None

    def goes_on(self, decision: Decision[None], outcome: Outcome | None) -> None:
        """Kswapd until it writes to the device, or to its end."""
        self.behind = None
        try:
            effect = decision.send(outcome)
            while True:
                try:
                    answer = self.performer.perform(effect)
                except Crash as crash:
                    decision.throw(crash)
                    raise
                if isinstance(effect, NodeWrite):
                    self.behind = decision, answer
                    return
                effect = decision.send(answer)
        except (StopIteration, Crash):
            pass

    def pick(self, number: int) -> Key:
        """One of the mapped pages."""
        return list(self.model)[number % len(self.model)]

    def a_node(self, number: int) -> int:
        """One of the nodes."""
        return number % len(self.performer.devices)

    def a_space(self, number: int) -> int:
        """One of the living spaces."""
        return self.spaces[number % len(self.spaces)]

    def fault_in(self, keys: list[Key], *, write: bool) -> Iterator[tuple[Key, Access]]:
        """A batch of accesses; each may be used until the next is asked for. A crash ends it."""
        todo = list(keys)
        while todo:
            answers = self.drive(self.host.fault_in(todo, write=write, now_ns=self.now))
            for space, vpn in todo:
                if self.host.state(space, vpn) is not State.NONE:
                    self.model.setdefault((space, vpn), Cell())
            if answers is None:
                return
            yield from zip(todo, answers, strict=False)
            del todo[: len(answers)]

    def forget_dead(self) -> None:
        """A killed space's pages are free; it exits."""
        for space in tuple(self.spaces):
            if self.host.killed(space):
                self.model = {key: cell for key, cell in self.model.items() if key[0] != space}
                self.spaces.remove(space)
                assert self.drive(self.host.exit_space(space, noticed=True)) is None
        if not self.spaces:
            self.spaces.append(self.host.create_space())

    def store(self, keys: list[Key]) -> None:
        """The runner's way: DRAM at once, the device's pages in one batch behind."""
        queued: list[tuple[Key, Token]] = []
        for key, access in self.fault_in(keys, write=True):
            self.last_token += 1
            if access.kind is AccessKind.DRAM:
                self.performer.frames[access.where] = self.last_token
                self.model[key].tokens = {self.last_token}
            elif access.kind is AccessKind.NODE:
                queued.append((key, self.last_token))
        if not queued:
            return
        scratch = self.performer.scratch[: len(queued)]
        for frame, (_, token) in zip(scratch, queued, strict=True):
            self.performer.frames[frame] = token
        answers = self.drive(self.host.store([key for key, _ in queued], scratch, self.now))
        for place, (key, token) in enumerate(queued):
            cell = self.model[key]
            if answers is None or answers[place].kind is AccessKind.STALLED:
                cell.tokens = cell.tokens | {token}
            elif answers[place].kind in {AccessKind.DRAM, AccessKind.NODE}:
                cell.tokens = {token}

    # -- write credits -----------------------------------------------------------------------------

    def ask_credits(self, node: int) -> None:
        """The runner's turn: what the policy wants to ask a device, if it wants to."""
        request = self.host.credit_request(self.now, node)
        if request is not None:
            assert node not in self.credit_requests, "two requests at one time"
            assert request.wanted >= 0 < request.number
            self.credit_requests[node] = request

    def answer_credits(self, granted: int | None, node: int) -> None:
        """What the device says to it; None: nothing."""
        request = self.credit_requests.pop(node, None)
        if request is None:
            return
        if granted is None:
            self.host.credits_unanswered(request.number, node)
        else:
            self.host.credits_granted(request.number, min(granted, request.wanted), node)

    # -- the device --------------------------------------------------------------------------------

    def read_telemetry(self, level: int, node: int, *, no_more_writes: bool, ratio: int, stale: int) -> None:
        """Capacities of one device as they are, or `stale` pages behind."""
        device = self.performer.devices[node]
        stored = len(device.device)
        free = max(0, device.capacity - stored + stale)
        reading = a_reading(
            level,
            no_more_writes=no_more_writes,
            ratio_milli=ratio,
            stored_pages=max(0, stored - stale),
            media_free_bytes=free * 4112,
            region_free_bytes=free * 4112,
        )
        self.host.reading(reading, self.now, node)

    def attach(self, node: int) -> None:
        """A session, if there is none; as the runner does when the device is back."""
        if not self.host.snapshot().nodes[node].attached:
            self.performer.devices[node].new_session()
            self.credit_requests.pop(node, None)
            self.host.node_attached(NODE_PAGES * PAGE_BYTES, node)

    # -- what must hold ----------------------------------------------------------------------------

    def audit(self) -> None:
        """Every audit passes, and every page's bytes are where the host says, and right."""
        self.forget_dead()
        self.host.check()
        for space in self.spaces:
            vpns = {vpn for owner, vpn in self.model if owner == space}
            assert set(self.host.mapped(space)) == vpns
        for key, cell in self.model.items():
            if self.host.state(*key) is State.LOST:
                excuse = self.at_risk.union(*[device.lost_tokens for device in self.performer.devices])
                assert cell.lost or cell.tokens & excuse, f"{key} is lost without a reason"
                cell.lost = True
                continue
            assert not cell.lost, f"{key} was lost and is back"
            self.look_at(key, cell)

    def look_at(self, key: Key, cell: Cell) -> None:
        """The bytes themselves, without an access."""
        place = self.host.peek(*key)
        tier = place.backend.tier
        if tier is not None:
            assert self.performer.tiers[tier][place.where] in cell.tokens, key
        elif place.backend is Backend.DRAM:
            assert self.performer.frames[place.where] in cell.tokens, key
        else:
            device = self.performer.devices[place.node]
            if not device.session_over and place.where not in device.poisoned:
                assert device.device[place.where] in cell.tokens, key
