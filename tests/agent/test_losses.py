"""Every lost page is in the report, once for each time that it was lost, however it came out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from agent_helpers import NS_PER_S, Rig, prose
from cramagent.policy.effects import NodeStatus
from cramagent.policy.host import Backend
from cramagent.policy.states import State
from cramagent.sources import Exit, Fork, Free, Store

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def family(rig: Rig) -> Rig:
    """200 pages of space 0, most of them on the device, and its child, space 1, which shares them."""
    for first in range(0, 200, 20):
        vpns = tuple(range(first, first + 20))
        rig.source.now.update({(space, vpn): prose(vpn) for vpn in vpns for space in (0, 1)})
        rig.workload.apply(Store(0, vpns, b"".join(prose(vpn) for vpn in vpns)))
        rig.background()
    rig.workload.apply(Fork(0, 1))
    return rig


def poison(rig: Rig) -> tuple[int, int]:
    """Poison the first page that the device holds; (vpn, DPA)."""
    host_space = rig.workload.spaces[0]
    places = {vpn: rig.host.peek(host_space, vpn) for vpn in rig.host.mapped(host_space)}
    vpn, place = next((vpn, place) for vpn, place in places.items() if place.backend is Backend.NODE)
    rig.node.poisoned.add(place.where)
    return vpn, place.where


def told(rig: Rig) -> set[tuple[int, int, str]]:
    """(space, vpn, cause) of every lost page in the report; the counters count the same."""
    rig.losses.collect(rig.host, rig.workload.spaces)
    runs = rig.losses.runs
    assert sum(run.pages for run in runs) == rig.host.counters.pages_lost
    return {
        (run.space, vpn, run.cause) for run in runs for vpn in range(run.first_vpn, run.first_vpn + run.pages)
    }


def by_load(rig: Rig, vpn: int, _dpa: int) -> None:
    """One mapper reads it."""
    rig.accesses.load([(0, vpn)])


def by_two_loads(rig: Rig, vpn: int, _dpa: int) -> None:
    """Both do, in one batch: the device page is met twice."""
    rig.accesses.load([(0, vpn), (1, vpn)])


def by_store(rig: Rig, vpn: int, _dpa: int) -> None:
    """A promotion copies it."""
    rig.workload.apply(Store(0, (vpn,), prose(7)))


def by_writeback(rig: Rig, _vpn: int, _dpa: int) -> None:
    """Nobody's access."""
    rig.performer.drive(rig.host.writeback_all(10 * NS_PER_S))


def by_event(rig: Rig, _vpn: int, dpa: int) -> None:
    """The device tells."""
    rig.performer.drive(rig.host.poison_told([dpa]))


def by_verify(rig: Rig, _vpn: int, _dpa: int) -> None:
    """The last look."""
    assert rig.verifier.verify().lost == 2


@pytest.mark.parametrize("found", [by_load, by_two_loads, by_store, by_writeback, by_event, by_verify])
def test_all_mappers_of_a_poisoned_page_are_told(family: Rig, found: Callable[[Rig, int, int], None]) -> None:
    """Whoever finds it; the event that comes behind, twice, adds nothing."""
    vpn, dpa = poison(family)
    found(family, vpn, dpa)
    for _ in range(2):
        family.performer.drive(family.host.poison_told([dpa]))
    assert told(family) == {(0, vpn, "poison"), (1, vpn, "poison")}


def test_an_event_costs_no_look_at_all_pages(family: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """The policy says which pages were lost: nobody searches for them."""
    vpn, dpa = poison(family)
    monkeypatch.setattr(family.host, "mapped", lambda _space: pytest.fail("all pages are looked at"))
    family.performer.drive(family.host.poison_told([dpa]))
    assert told(family) == {(0, vpn, "poison"), (1, vpn, "poison")}


def test_a_page_lost_twice_is_told_twice(family: Rig) -> None:
    """Lost, stored anew, lost again."""
    family.workload.apply(Exit(1))
    vpn, dpa = poison(family)
    by_load(family, vpn, dpa)
    family.workload.apply(Free(0, (vpn,)))
    family.workload.apply(Store(0, (vpn,), prose(vpn)))
    while family.host.peek(family.workload.spaces[0], vpn).backend is not Backend.NODE:
        family.workload.draw(64)
        family.workload.apply(
            Store(0, tuple(range(300, 360)), b"".join(prose(number) for number in range(60)))
        )
        family.background()
    family.node.poisoned.add(family.host.peek(family.workload.spaces[0], vpn).where)
    by_load(family, vpn, dpa)
    told(family)
    assert [(run.first_vpn, run.cause) for run in family.losses.runs] == [(vpn, "poison")] * 2


def test_a_space_that_exits_takes_its_losses_into_the_report(family: Rig) -> None:
    """They were lost while it lived, and nobody had asked yet."""
    vpn, dpa = poison(family)
    by_event(family, vpn, dpa)
    family.workload.apply(Exit(1))
    family.workload.apply(Free(0, (vpn,)))
    assert told(family) == {(0, vpn, "poison"), (1, vpn, "poison")}


def test_poison_under_the_last_look_is_lost_for_the_policy_too(family: Rig) -> None:
    """What the report says and what the page tables say are one."""
    vpn, _ = poison(family)
    family.verifier.verify()
    assert {family.host.state(family.workload.spaces[space], vpn) for space in (0, 1)} == {State.LOST}


def test_a_session_that_goes_in_the_middle_is_told_with_its_cause(family: Rig) -> None:
    """Each page on the device, for each of its mappers, as runs."""
    family.cause = "lease_expired"
    family.node.answers = [NodeStatus.GONE]
    on_node = family.host.snapshot().node_used
    family.workload.draw(64)
    lost = told(family)
    assert len(lost) == family.host.counters.pages_lost_reset == 2 * on_node
    assert {cause for _, _, cause in lost} == {"lease_expired"}
    assert len(family.losses.runs) < len(lost) / 2
