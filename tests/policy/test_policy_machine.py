"""Random lives of a host against a model that is a dict: no byte is ever wrong, none is lost silently."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from cramagent.policy.effects import Tier
from cramagent.policy.host import Backend
from cramagent.policy.settings import (
    Admission,
    Budget,
    Mapping,
    OnBusError,
    Placement,
    PolicySettings,
    Writeback,
)
from cramagent.policy.states import State
from policy_helpers import PAGE_BYTES, AccessKind, NodeStatus
from policy_life import Cell, Key, Life

if TYPE_CHECKING:
    from collections.abc import Callable

    from cramagent.policy.effects import Decision
    from cramagent.policy.folio import Folio

picks = st.integers(0, 1 << 16)
"""Chooses one of what is there now, by remainder."""


class HostLife(Life, RuleBasedStateMachine):
    """The runner, with everything going wrong that can."""

    @initialize(
        dram_pages=st.sampled_from([16, 20, 40]),
        budget=st.sampled_from([0, 1, 3, Budget.TOKENS]),
        mapping=st.sampled_from(Mapping),
        admission=st.sampled_from(Admission),
        on_bus_error=st.sampled_from(OnBusError),
        writeback=st.sampled_from(Writeback),
        trim_buffer=st.sampled_from([1, 4, 64]),
        ranges=st.sampled_from([1, 4]),
        tier_pages=st.sampled_from([4, 1000]),
        ahead=st.sampled_from([1, 4]),
        nodes=st.sampled_from([1, 1, 2, 3]),
        placement=st.sampled_from(Placement),
    )
    def power_on(
        self,
        *,
        dram_pages: int,
        budget: int | Budget,
        mapping: Mapping,
        admission: Admission,
        on_bus_error: OnBusError,
        writeback: Writeback,
        trim_buffer: int,
        ranges: int,
        tier_pages: int,
        ahead: int,
        nodes: int,
        placement: Placement,
    ) -> None:
        """One host of any kind, small enough that everything runs full."""
        chosen = PolicySettings(
            dram_pages=dram_pages,
            nodes=nodes,
            placement=placement,
            budget=Budget.TOKENS if isinstance(budget, Budget) else Budget.PAGES,
            budget_pages=0 if isinstance(budget, Budget) else budget,
            credit_stock_pages=4,
            credit_interval_ns=100,
            mapping=mapping,
            admission=admission,
            on_bus_error=on_bus_error,
            writeback=writeback,
            low_watermark_milli=200,
            high_watermark_milli=400,
            fault_around_pages=ahead,
            read_ahead_pages=ahead,
            demote_batch_pages=4,
            writeback_batch_pages=6,
            reap_batch_pages=5,
            trim_buffer_pages=trim_buffer,
            ranges_per_trim=ranges,
            trim_interval_ns=300,
            writeback_pause_ns=100,
            writable_age_ns=500,
            balloon_step_bytes=16 * PAGE_BYTES,
            balloon_min_pages=2,
        )
        self.begin(chosen, tier_pages=tier_pages)
        self.evict(list(range(0, 24, 2)))

    # -- write credits -----------------------------------------------------------------------------

    @rule(granted=st.integers(0, 4), node=picks)
    def asks_for_credits(self, granted: int, node: int) -> None:
        """A request, and its answer at once; the device never grants more than is wanted."""
        self.ask_credits(self.a_node(node))
        self.answer_credits(granted, self.a_node(node))

    @rule(node=picks)
    def sends_for_credits(self, node: int) -> None:
        """A request whose answer takes a while, or never comes."""
        self.ask_credits(self.a_node(node))

    @rule(granted=st.integers(0, 4), lost=st.booleans(), node=picks)
    def hears_of_credits(self, granted: int, lost: bool, node: int) -> None:
        """The answer; pages may have been made writable, and R/O again, since it was asked for."""
        self.answer_credits(None if lost else granted, self.a_node(node))

    # -- programs ----------------------------------------------------------------------------------

    @rule(numbers=st.lists(picks, min_size=1, max_size=6))
    def stores(self, numbers: list[int]) -> None:
        """Whole-page stores to some pages, no two of them one shared page."""
        if not self.model:
            return
        cells: dict[Cell, Key] = {}
        for number in numbers:
            key = self.pick(number)
            cells.setdefault(self.model[key], key)
        self.store(list(cells.values()))

    @rule(
        status=st.sampled_from([NodeStatus.NO_MORE_WRITES, NodeStatus.REGION_LIMIT]),
        first=st.integers(0, 2),
        everywhere=st.booleans(),
    )
    def stores_refused(self, status: NodeStatus, first: int, everywhere: bool) -> None:
        """Stores to all that is writable; a device does not take one of them, or each one does not."""
        writable = [key for key in self.model if self.host.state(*key) is State.RW]
        refusing = {self.host.peek(*key).node for key in (writable if everywhere else writable[:1])}
        for device in [self.performer.devices[node] for node in refusing]:
            if device.link_up:
                device.answers.appendleft(status)
                device.accept_first = first
        if writable:
            self.store(writable)

    @rule(space=picks, vpn=st.integers(0, 30))
    def stores_somewhere(self, space: int, vpn: int) -> None:
        """A store that may be a first touch."""
        self.store([(self.a_space(space), vpn)])

    @rule(numbers=st.lists(picks, min_size=1, max_size=6), batch=st.booleans())
    def loads(self, numbers: list[int], batch: bool) -> None:
        """Reads, the fast path first or not; what comes back is what the model says."""
        if not self.model:
            return
        keys = [self.pick(number) for number in numbers]
        if batch:
            for key, access in self.fault_in(keys, write=False):
                if access.kind is AccessKind.DRAM:
                    assert self.performer.frames[access.where] in self.model[key].tokens, key
        scratch = self.performer.scratch[: len(keys)]
        answers = self.drive(self.host.load(keys, scratch, self.now))
        for key, frame, answer in zip(keys, scratch, answers or [], strict=False):
            cell = self.model[key]
            if answer.kind in {AccessKind.DRAM, AccessKind.NODE}:
                assert self.performer.frames[frame] in cell.tokens, key
            elif answer.kind is AccessKind.BUS_ERROR:
                assert self.host.state(*key) is State.LOST, key

    @precondition(lambda self: len(self.spaces) < 4)
    @rule(space=picks)
    def fork(self, space: int) -> None:
        """The child starts with the parent's bytes; MAP_SHARED pages stay one page."""
        parent = self.a_space(space)
        child = self.host.fork(parent)
        self.spaces.append(child)
        for (owner, vpn), cell in tuple(self.model.items()):
            if owner == parent:
                self.model[child, vpn] = (
                    cell if cell.shared else Cell(set(cell.tokens), cell.lost, cell.shared)
                )

    @rule(number=picks, space=picks, vpn=st.integers(31, 40))
    def share(self, number: int, space: int, vpn: int) -> None:
        """Map a page MAP_SHARED a second time, if it may be."""
        if not self.model:
            return
        key, other = self.pick(number), (self.a_space(space), vpn)
        folio = self.host._mm.spaces[key[0]].ptes[key[1]].folio
        legal = other not in self.model and not folio.copy_on_write
        try:
            self.host.share(*key, *other)
        except ValueError:
            assert not legal
        else:
            assert legal
            self.model[key].shared = True
            self.model[other] = self.model[key]

    @rule(number=picks, noticed=st.booleans())
    def free(self, number: int, noticed: bool) -> None:
        """One page goes."""
        if self.model:
            key = self.pick(number)
            self.drive(self.host.free(*key, noticed=noticed))
            del self.model[key]

    @precondition(lambda self: len(self.spaces) > 2)
    @rule(space=picks, noticed=st.booleans())
    def exit(self, space: int, noticed: bool) -> None:
        """One process goes."""
        gone = self.a_space(space)
        self.drive(self.host.exit_space(gone, noticed=noticed))
        self.spaces.remove(gone)
        self.model = {key: cell for key, cell in self.model.items() if key[0] != gone}

    # -- daemons -----------------------------------------------------------------------------------

    @rule(numbers=st.lists(picks, min_size=1, max_size=12))
    def evict(self, numbers: list[int]) -> None:
        """Reclaim chooses these pages, as far as they are in DRAM."""
        chosen: dict[Folio, None] = {}
        for number in numbers if self.model else ():
            space, vpn = self.pick(number)
            folio = self.host._mm.spaces[space].ptes[vpn].folio
            if folio.backend is Backend.DRAM:
                folio.in_flight, folio.referenced = True, False
                chosen[folio] = None
        self.drive(self.host._reclaim._shrink_folios(list(chosen)))

    @rule(
        name=st.sampled_from(
            ["kswapd", "reaper", "ager", "writeback", "trimmer", "balloon", "background", "writeback_all"]
        ),
        later=st.integers(0, 400),
    )
    def daemon(self, name: str, later: int) -> None:
        """Any daemon, some time later."""
        self.now += later
        turn: Callable[[int], Decision[object]] = getattr(self.host, name)
        self.drive(turn(self.now))

    @precondition(lambda self: self.behind is None)
    @rule()
    def kswapd_begins(self) -> None:
        """A turn of kswapd that waits at its first write to the device, which the device has already."""
        self.goes_on(self.host.kswapd(self.now), None)

    @precondition(lambda self: self.behind is not None)
    @rule()
    def kswapd_goes_on(self) -> None:
        """Whatever happened meanwhile."""
        assert self.behind is not None
        self.goes_on(*self.behind)

    @rule()
    def trims_all(self) -> None:
        """The TRIM batcher, forced."""
        self.drive(self.host.trimmer(self.now, force=True))

    # -- the device --------------------------------------------------------------------------------

    @rule(
        level=st.sampled_from([1, 1, 2, 3, 4, 5]),
        no_more_writes=st.sampled_from([False, False, False, True]),
        ratio=st.sampled_from([3000, 2000, 1000, 0, 4000]),
        stale=st.integers(0, 10),
        node=picks,
    )
    def reading(self, level: int, no_more_writes: bool, ratio: int, stale: int, node: int) -> None:
        """Telemetry, true or a little old."""
        self.read_telemetry(level, self.a_node(node), no_more_writes=no_more_writes, ratio=ratio, stale=stale)

    @rule(ratio=st.sampled_from([3000, 1000]), number=picks)
    def recovers(self, ratio: int, number: int) -> None:
        """A device is well again: link, session, media; and the tiers."""
        node = self.a_node(number)
        device = self.performer.devices[node]
        device.link_up = True
        self.performer.fuse = None
        device.answers.clear()
        device.capacity = 40
        for tier in Tier:
            self.performer.tier_capacity[tier] = 1000
        self.host.node_reachable(node)
        if device.session_over:
            self.host.node_lost(node)
        self.attach(node)
        self.read_telemetry(1, node, no_more_writes=False, ratio=ratio, stale=0)

    @rule(
        status=st.sampled_from([status for status in NodeStatus if status is not NodeStatus.POISONED]),
        after=st.integers(0, 2),
        first=st.integers(0, 4),
        node=picks,
    )
    def will_refuse(self, status: NodeStatus, after: int, first: int, node: int) -> None:
        """One of the next effects of a device is refused, stalls, or finds the session gone."""
        device = self.performer.devices[self.a_node(node)]
        device.answers.extend([NodeStatus.OK] * after + [status])
        device.accept_first = first
        device.late_write = first

    @rule(number=picks, told=st.booleans(), on=picks)
    def poison(self, number: int, told: bool, on: int) -> None:
        """A device page goes bad; the event about it comes, or is lost."""
        node = self.a_node(on)
        device = self.performer.devices[node]
        if not device.device:
            return
        dpa = list(device.device)[number % len(device.device)]
        self.at_risk.add(device.device[dpa])
        device.poisoned.add(dpa)
        if told:
            self.told.append((node, dpa))
            self.drive(self.host.poison_told([dpa], node))

    @rule(number=picks)
    def tells_again(self, number: int) -> None:
        """An event comes late, or twice; its device page may hold anything by now. `audit` sees no loss."""
        if self.told:
            node, dpa = self.told[number % len(self.told)]
            self.drive(self.host.poison_told([dpa], node))

    @rule(
        kind=st.sampled_from(["crash", "capacity", "tier", "reset", "link"]),
        number=st.integers(0, 30),
        tier=st.sampled_from(Tier),
        told=st.booleans(),
        on=picks,
    )
    def misfortune(self, kind: str, number: int, tier: Tier, told: bool, on: int) -> None:
        """Something breaks, of one device or of the host. The agent hears of it, or finds out."""
        node = self.a_node(on)
        device = self.performer.devices[node]
        if kind == "crash":
            self.performer.fuse = number % 6
        elif kind == "capacity":
            device.capacity = number
        elif kind == "tier":
            self.performer.tier_capacity[tier] = number
        elif kind == "link":
            device.link_up = False
            if told:
                self.host.node_unreachable(node)
        else:
            device.reset_device()
            if told:
                self.host.node_lost(node)
                self.attach(node)

    # -- what must hold ----------------------------------------------------------------------------

    @invariant()
    def holds(self) -> None:
        """After every step."""
        if self.spaces:
            self.audit()


# The same lives at every run, so that a failure is of the change that brought it, and few enough for a
# core test; to look for new ones, raise max_examples and take derandomize away.
HostLife.TestCase.settings = settings(
    max_examples=40,
    stateful_step_count=35,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
TestHostLife = HostLife.TestCase
