"""Who hears a lane's bell while a command is carried out: another thread, or nobody where none comes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from cramwire.lane import Command, Operation
from cxldevd.lanes import lane
from cxldevd.lanes.commands import LaneCommands
from lane_peer import Peer
from server_helpers import PAGE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cxldevd.lanes.lane import LaneCaller
    from server_helpers import Host

BATCH = 16
"""Pages: more than are always carried out at once, and few enough to be where commands come one by one."""


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Of each command: whether its thread kept the bell's turn."""
    seen: list[bool] = []
    carry_out = LaneCommands.carry_out

    def told(self: LaneCommands, *command: Any) -> None:
        caller: LaneCaller = command[-1]
        seen.append(caller._turn.held)
        carry_out(self, *command)

    monkeypatch.setattr(LaneCommands, "carry_out", told)
    return seen


@pytest.fixture
def peer(host: Host) -> Iterator[Peer]:
    """A lane of one host."""
    with Peer(host) as made:
        yield made


def submit_read(peer: Peer, slot: int, pages: int) -> None:
    """A read of the first pages; its bell is not rung yet."""
    for index in range(pages):
        peer.segment.addresses[slot][index] = index * PAGE
    peer.segment.put_command(slot, Command(Operation.READ, pages, 0))
    peer.put(slot)


def read(peer: Peer, pages: int) -> None:
    """And its answer, before anything else is asked."""
    submit_read(peer, 0, pages)
    peer.ring()
    assert peer.answer()[1].code == 0


def test_a_lone_batch_keeps_its_turn(peer: Peer, kept: list[bool]) -> None:
    """Once commands have come one by one: to hand the bell over costs more than it brings."""
    for _ in range(lane._ALONE + 1):
        read(peer, BATCH)
    assert kept == [False] * lane._ALONE + [True]


def test_a_large_batch_gives_it_up(peer: Peer, kept: list[bool]) -> None:
    """Also where commands come one by one: the next one shall not wait for as long."""
    for _ in range(lane._ALONE + 1):
        read(peer, BATCH)
    read(peer, lane._LARGEST)
    assert kept[-2:] == [True, False]


def test_a_batch_with_others_behind_it_gives_it_up(peer: Peer, kept: list[bool]) -> None:
    """They are answered meanwhile."""
    for _ in range(lane._ALONE + 1):
        read(peer, BATCH)
    for slot in (0, 1):
        submit_read(peer, slot, BATCH)
    peer.ring(2)
    assert {peer.answer()[0], peer.answer()[0]} == {0, 1}
    assert kept[lane._ALONE] is True
    assert False in kept[-2:]


def test_a_few_pages_keep_it_always(peer: Peer, kept: list[bool]) -> None:
    """They hold the interpreter most of the time: a second thread would gain nothing."""
    for _ in range(2):
        read(peer, lane._LARGE - 1)
    assert kept == [True, True]
