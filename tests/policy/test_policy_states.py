"""The state table: every state with every event, and what each state says."""

from __future__ import annotations

import pytest

from cramagent.policy.states import MEANING, TRANSITIONS, IllegalTransition, PageEvent, State, step

TABLE = """
                 NONE  DRAM     ENTRY    RO       RW    SWAPPED  LOST
FIRST_TOUCH      DRAM  -        -        -        -     -        -
DEMOTE           -     ENTRY    -        -        -     -        -
DEMOTE_RESIDENT  -     RO       -        -        -     -        -
SWAP_OUT         -     SWAPPED  -        -        -     -        -
READ_FAULT       -     -        RO       -        -     -        -
SWAP_IN          -     -        -        -        -     DRAM     -
MKWRITE          -     -        RW       RW       -     -        -
PROMOTE          -     -        DRAM     DRAM     DRAM  -        -
STORE            -     DRAM     -        -        RW    -        -
REPROTECT        -     -        -        -        RO    -        -
FORK_PROTECT     -     -        -        -        RO    -        -
WRITEBACK        -     -        SWAPPED  SWAPPED  -     -        -
FREE             -     NONE     NONE     NONE     NONE  NONE     NONE
BYTES_LOST       -     -        LOST     LOST     LOST  -        -
COPY_ON_WRITE    -     DRAM     -        -        -     -        -
"""
"""DESIGN's table as a reader would draw it: where each event (row) leads from each state (column)."""


def _cells() -> list[tuple[State, PageEvent, State | None]]:
    header, *rows = TABLE.strip().splitlines()
    states = [State[name] for name in header.split()]
    cells: list[tuple[State, PageEvent, State | None]] = []
    for row in rows:
        event, *targets = row.split()
        cells += [
            (state, PageEvent[event], None if target == "-" else State[target])
            for state, target in zip(states, targets, strict=True)
        ]
    return cells


def test_the_table_above_is_whole() -> None:
    """It names each of the 7 x 15 pairs once."""
    pairs = {(state, event) for state, event, _ in _cells()}
    assert len(_cells()) == len(pairs) == len(State) * len(PageEvent) == 7 * 15


@pytest.mark.parametrize(("state", "event", "target"), _cells())
def test_every_pair(state: State, event: PageEvent, target: State | None) -> None:
    """A legal event leads where the table says; an illegal one raises, and says what it was."""
    if target is not None:
        assert step(state, event) is target
    else:
        with pytest.raises(IllegalTransition, match=f"{event.name} .* {state.name}") as refused:
            step(state, event)
        assert (refused.value.state, refused.value.event) == (state, event)


def test_every_state_has_its_meaning() -> None:
    """No state goes without."""
    assert set(MEANING) == set(State)


@pytest.mark.parametrize("state", State)
def test_meaning_and_transitions_agree(state: State) -> None:
    """What a state says of accesses and places is what its events do."""
    meaning = MEANING[state]
    takes = {event for event in PageEvent if (state, event) in TRANSITIONS}
    # Only a mapping that needs no fault lets a store through.
    assert (PageEvent.STORE in takes) == (meaning.cpu_writes == "ok")
    # Exactly what is on the device can be lost there, promoted from there.
    assert (PageEvent.BYTES_LOST in takes) == (PageEvent.PROMOTE in takes) == meaning.device_page
    # Writeback changes an entry's backend: there must be an entry, and a device page behind it.
    assert (PageEvent.WRITEBACK in takes) == (meaning.entry and meaning.device_page)
    # A fault that maps R/O happens where reads fault and the bytes are on the device.
    assert (PageEvent.READ_FAULT in takes) == (meaning.cpu_reads == "fault" and meaning.device_page)
    # Lost bytes stay lost until the page is freed.
    if meaning.cpu_reads == "bus error":
        assert takes == {PageEvent.FREE}


@pytest.mark.parametrize(("pair", "target"), TRANSITIONS.items())
def test_device_pages_come_and_go_by_named_events(pair: tuple[State, PageEvent], target: State) -> None:
    """A device page is gained by demotion alone, and an entry never appears under a page in DRAM."""
    state, event = pair
    if MEANING[target].device_page and not MEANING[state].device_page:
        assert event in {PageEvent.DEMOTE, PageEvent.DEMOTE_RESIDENT}
    if MEANING[state].entry and not MEANING[target].entry:
        assert event in {PageEvent.MKWRITE, PageEvent.PROMOTE, PageEvent.SWAP_IN, PageEvent.FREE}
