"""The state of one virtual page in one address space: the whole table, and the one way through it.

A page table entry (PTE) moves only by `step`. Several mappers of one device page each have their
own state: some may be ENTRY and others RO. An illegal event raises `IllegalTransition` and changes
nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Final


class State(IntEnum):
    """Where one mapper's page stands. The full meaning is in `MEANING`."""

    NONE = 0
    DRAM = 1
    ENTRY = 2
    RO = 3
    RW = 4
    SWAPPED = 5
    LOST = 6


@dataclass(frozen=True, slots=True)
class Meaning:
    """What one state says, as the hardware and the vswap table see it."""

    bytes_in: str
    cpu_reads: str
    """`ok`: the access needs no fault. `fault`: the host must act. `bus error`: the bytes are lost."""
    cpu_writes: str
    entry: bool
    """A vswap entry exists (behind an R/O mapping it is cached)."""
    device_page: bool


MEANING: Final[dict[State, Meaning]] = {
    State.NONE: Meaning("nowhere: zeros", "fault", "fault", entry=False, device_page=False),
    State.DRAM: Meaning("a DRAM frame", "ok", "ok", entry=False, device_page=False),
    State.ENTRY: Meaning("the device", "fault", "fault", entry=True, device_page=True),
    State.RO: Meaning("the device", "ok", "fault", entry=True, device_page=True),
    State.RW: Meaning("the device", "ok", "ok", entry=False, device_page=True),
    State.SWAPPED: Meaning("zswap or the swap file", "fault", "fault", entry=True, device_page=False),
    State.LOST: Meaning(
        "nowhere: the device lost them", "bus error", "bus error", entry=True, device_page=False
    ),
}


class PageEvent(IntEnum):
    """What can happen to one mapper's page."""

    FIRST_TOUCH = 0
    """A page never used is filled with zeros."""
    DEMOTE = 1
    """The device took the bytes; the mapper now holds the vswap entry."""
    DEMOTE_RESIDENT = 2
    """As DEMOTE, under `mapping = resident`: the mapper keeps an R/O mapping."""
    SWAP_OUT = 3
    """The next tier took a DRAM page's bytes: node closed, refused, or balloon."""
    READ_FAULT = 4
    """A device page is mapped R/O for the faulting mapper; the entry stays."""
    SWAP_IN = 5
    """A swapped page's bytes are in DRAM again."""
    MKWRITE = 6
    """A device page is mapped writable in place; the entry is reaped."""
    PROMOTE = 7
    """A device page's bytes are copied to DRAM and mapped there."""
    STORE = 8
    """A store went through a writable mapping."""
    REPROTECT = 9
    """A writable mapping is made R/O again: a new entry."""
    FORK_PROTECT = 10
    """As REPROTECT, because the space forks."""
    WRITEBACK = 11
    """The entry's backend becomes the next tier; an R/O mapping was zapped first."""
    FREE = 12
    """The mapper gave the page up."""
    BYTES_LOST = 13
    """The device was reset, or the page turned out poisoned."""
    COPY_ON_WRITE = 14
    """A DRAM frame shared after a fork is copied for the writer."""


_S, _E = State, PageEvent

TRANSITIONS: Final[dict[tuple[State, PageEvent], State]] = {
    (_S.NONE, _E.FIRST_TOUCH): _S.DRAM,
    (_S.DRAM, _E.DEMOTE): _S.ENTRY,
    (_S.DRAM, _E.DEMOTE_RESIDENT): _S.RO,
    (_S.DRAM, _E.SWAP_OUT): _S.SWAPPED,
    (_S.DRAM, _E.STORE): _S.DRAM,
    (_S.DRAM, _E.COPY_ON_WRITE): _S.DRAM,
    (_S.ENTRY, _E.READ_FAULT): _S.RO,
    (_S.SWAPPED, _E.SWAP_IN): _S.DRAM,
    (_S.ENTRY, _E.MKWRITE): _S.RW,
    (_S.RO, _E.MKWRITE): _S.RW,
    (_S.ENTRY, _E.PROMOTE): _S.DRAM,
    (_S.RO, _E.PROMOTE): _S.DRAM,
    # A bus error under `on_bus_error = rescue`, and host memory taking a writable page back.
    (_S.RW, _E.PROMOTE): _S.DRAM,
    (_S.RW, _E.STORE): _S.RW,
    (_S.RW, _E.REPROTECT): _S.RO,
    (_S.RW, _E.FORK_PROTECT): _S.RO,
    (_S.ENTRY, _E.WRITEBACK): _S.SWAPPED,
    (_S.RO, _E.WRITEBACK): _S.SWAPPED,
    **{(state, _E.FREE): _S.NONE for state in _S if state is not _S.NONE},
    (_S.ENTRY, _E.BYTES_LOST): _S.LOST,
    (_S.RO, _E.BYTES_LOST): _S.LOST,
    (_S.RW, _E.BYTES_LOST): _S.LOST,
}
"""Every legal (state, event) and where it leads. What is absent is illegal."""

NEXT: Final[tuple[tuple[State | None, ...], ...]] = tuple(
    tuple(TRANSITIONS.get((state, event)) for state in State) for event in PageEvent
)
"""The same by [event][state], for who moves many pages by one event; None is illegal."""


class IllegalTransition(Exception):
    """This event cannot happen in this state. Nothing was changed."""

    def __init__(self, state: State, event: PageEvent) -> None:
        super().__init__(f"{event.name} cannot happen to a page that is {state.name}")
        self.state = state
        self.event = event


def step(state: State, event: PageEvent) -> State:
    """Where `event` takes a page that is in `state`.

    Raises:
        IllegalTransition: the table has no such row.
    """
    new = NEXT[event][state]
    if new is None:
        raise IllegalTransition(state, event)
    return new
