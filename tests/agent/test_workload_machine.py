"""Random lives of a workload over a device in memory: every byte right, every lost page told once."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from agent_helpers import NS_PER_S, PAGE, Rig, noise, prose
from cramagent.policy.effects import NodeStatus
from cramagent.policy.host import Backend
from cramagent.policy.settings import OnBusError
from cramagent.sources import Exit, Fork, Free, Store

PAGES = 80
"""Pages of a space: more than DRAM and a few."""
picks = st.integers(0, 1 << 16)


class WorkloadLife(RuleBasedStateMachine):
    """The source's changes, and a device that forgets, refuses, stalls and goes."""

    @initialize(
        budget=st.sampled_from([0, 8]),
        on_bus_error=st.sampled_from(OnBusError),
        write_share=st.sampled_from([0.5, 0.0]),
    )
    def begin(self, budget: int, on_bus_error: OnBusError, write_share: float) -> None:
        """One space, all its pages stored; most of them are on the device."""
        self.folder = tempfile.TemporaryDirectory()
        self.rig = Rig(
            Path(self.folder.name),
            dram_pages=24,
            settings={"budget_pages": budget, "on_bus_error": on_bus_error, "demote_batch_pages": 8},
            write_share=write_share,
        )
        self.number = 0
        self.now_ns = 0
        self.stores(0, 0, PAGES)

    def teardown(self) -> None:
        """The last look, with a device that answers."""
        if hasattr(self, "rig"):
            self.recovers()
            self.rig.verifier.verify()
            self.holds()
            self.rig.close()
            self.folder.cleanup()

    def a_space(self, number: int) -> int:
        """One of the living."""
        spaces = list(self.rig.workload.spaces)
        return spaces[number % len(spaces)]

    # -- the source --------------------------------------------------------------------------------

    @rule(space=picks, first=st.integers(0, PAGES - 1), count=st.integers(1, 40))
    def stores(self, space: int, first: int, count: int) -> None:
        """New bytes for a run of pages."""
        owner = self.a_space(space)
        for start in range(first, min(first + count, PAGES), 16):
            vpns = tuple(range(start, min(start + 16, first + count, PAGES)))
            data = []
            for vpn in vpns:
                self.number += 1
                data.append((noise if self.number % 2 else prose)(self.number))
                self.rig.source.now[owner, vpn] = data[-1]
            self.rig.workload.apply(Store(owner, vpns, b"".join(data)))

    @rule(space=picks, first=st.integers(0, PAGES - 1), count=st.integers(1, 10), noticed=st.booleans())
    def frees(self, space: int, first: int, count: int, noticed: bool) -> None:
        """A run of pages goes."""
        owner = self.a_space(space)
        vpns = tuple(range(first, min(first + count, PAGES)))
        for vpn in vpns:
            self.rig.source.now.pop((owner, vpn), None)
        self.rig.workload.apply(Free(owner, vpns, noticed))

    @rule(space=picks, vpn=st.integers(0, PAGES - 1))
    def vanishes(self, space: int, vpn: int) -> None:
        """The program has this page no more, and nobody says so."""
        self.rig.source.now.pop((self.a_space(space), vpn), None)

    @rule(space=picks)
    def forks(self, space: int) -> None:
        """A child, if there is room for one."""
        owner, child = self.a_space(space), next(n for n in range(9) if n not in self.rig.workload.spaces)
        if child > 2:
            return
        now = self.rig.source.now
        now.update({(child, vpn): page for (of, vpn), page in list(now.items()) if of == owner})
        self.rig.workload.apply(Fork(owner, child))

    @rule(space=picks, noticed=st.booleans())
    def exits(self, space: int, noticed: bool) -> None:
        """A child goes; the main space stays."""
        owner = self.a_space(space)
        if owner:
            self.rig.workload.apply(Exit(owner, noticed))

    # -- the runner --------------------------------------------------------------------------------

    @rule(count=st.integers(1, 60))
    def draws(self, count: int) -> None:
        """Reads, each compared, and stores of what the source holds."""
        self.rig.workload.draw(count)

    @rule(answering=st.booleans())
    def restores(self, answering: bool) -> None:
        """A batch of what was lost or deferred."""
        self.rig.workload.restore([] if answering and self.rig.host.snapshot().reachable else [0])

    @rule(later_s=st.integers(0, 20))
    def daemons(self, later_s: int) -> None:
        """A turn of all of them, some time later."""
        self.now_ns += later_s * NS_PER_S
        self.rig.performer.drive(self.rig.host.background(self.now_ns))

    @rule()
    def writes_back(self) -> None:
        """The node is emptied."""
        self.rig.performer.drive(self.rig.host.writeback_all(self.now_ns))

    # -- the device --------------------------------------------------------------------------------

    @rule(number=picks, told=st.sampled_from(["once", "twice", "late", "never"]))
    def poison(self, number: int, told: str) -> None:
        """A page goes bad; or an event about one comes that is long good again."""
        dpas = sorted(self.rig.node.pages)
        if not dpas:
            return
        dpa = dpas[number % len(dpas)]
        if told != "late":
            self.rig.node.poisoned.add(dpa)
        for _ in range({"once": 1, "twice": 2, "late": 1, "never": 0}[told]):
            self.rig.performer.drive(self.rig.host.poison_told([dpa]))

    @rule(
        status=st.sampled_from([NodeStatus.UNAVAILABLE, NodeStatus.NO_MORE_WRITES, NodeStatus.REGION_LIMIT])
    )
    def will_refuse_a_write(self, status: NodeStatus) -> None:
        """The next write of a whole batch is refused, or not answered."""
        self.rig.node.refuse_write = status

    @rule(told=st.booleans())
    def session_ends(self, told: bool) -> None:
        """The region is gone. The agent hears of it, or finds out."""
        if told:
            self.rig.host.node_lost()
        else:
            self.rig.node.answers = [NodeStatus.GONE]
            self.rig.workload.draw(60)
            self.rig.node.answers = []
            self.rig.host.node_lost()
        self.rig.node.pages.clear()
        self.rig.node.poisoned.clear()
        self.recovers()

    @rule()
    def link_goes(self) -> None:
        """Device pages stall."""
        self.rig.host.node_unreachable()

    @rule()
    def recovers(self) -> None:
        """The link, or a new session."""
        if not self.rig.host.snapshot().attached:
            self.rig.host.node_attached(self.rig.node_pages * PAGE)
        self.rig.host.node_reachable()

    # -- what must hold ----------------------------------------------------------------------------

    @invariant()
    def holds(self) -> None:
        """No byte is wrong, every lost page is in the report once, and no page is kept for nobody."""
        if not hasattr(self, "rig"):
            return
        rig = self.rig
        rig.host.check()
        assert rig.accesses.mismatches == []
        rig.workload.tell_losses()
        assert rig.host.counters.pages_lost == sum(run.pages for run in rig.losses.runs)
        for space, host_space in rig.workload.spaces.items():
            waiting = {vpn for of, vpn in rig.workload._deferred if of == space}
            known = {vpn for vpn, _ in rig.truth.pages(space)}
            for vpn in rig.host.mapped(host_space):
                backend = rig.host.peek(host_space, vpn).backend
                assert vpn in known or vpn in waiting or backend is Backend.LOST, (space, vpn)


# The same lives at every run, and few: see `test_policy_machine`.
WorkloadLife.TestCase.settings = settings(
    max_examples=25,
    stateful_step_count=25,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
TestWorkloadLife = WorkloadLife.TestCase
