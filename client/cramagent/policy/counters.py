"""What has happened so far: one counter per reason, each with the sentence that says when it moves."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Final

FAULT_OUTCOMES: Final[tuple[str, ...]] = (
    "mapped",
    "promoted",
    "first_touch",
    "swapped_in",
    "copy_on_write",
    "bus_error",
    "stalled",
    "out_of_memory",
)
"""What a fault comes to, as one word of a bounded set."""


def _counts(sentence: str) -> int:
    """A counter that starts at 0; `sentence` is its help text (`HostCounters.sentences`)."""
    return field(default=0, metadata={"sentence": sentence})


@dataclass(slots=True)
class HostCounters:
    """Only ever grows. Pages are counted once per device page or folio, except where it says mapper."""

    # -- faults ------------------------------------------------------------------------------------
    first_touches: int = _counts("Pages never used that were filled with zeros on a fault.")
    read_faults: int = _counts("Read faults that mapped a device page R/O for the faulting mapper.")
    mkwrites: int = _counts("Write faults that mapped a device page writable in place.")
    mkwrite_denied_budget: int = _counts("Write faults promoted because writable_cnt had reached the budget.")
    mkwrite_denied_credits: int = _counts("Write faults promoted because no write credit was left.")
    mkwrite_denied_mappers: int = _counts("Write faults promoted because the folio has several mappers.")
    mkwrite_denied_closed: int = _counts("Write faults promoted because the node was closed.")
    promotions: int = _counts("Device pages copied to DRAM and given back.")
    promotions_copied: int = _counts(
        "Device pages copied to DRAM for a writer alone; other mappers keep them."
    )
    swap_ins: int = _counts("Pages loaded from a tier behind the node.")
    fault_around: int = _counts("Device pages mapped R/O because a neighbour was read.")
    fault_around_hits: int = _counts("Those of them that were read before they went elsewhere.")
    read_ahead: int = _counts("Pages loaded from the swap file because a neighbour was.")
    read_ahead_hits: int = _counts("Those of them that were used before they went elsewhere.")
    cow_copies: int = _counts("DRAM frames shared after a fork that were copied for the writer.")
    direct_reclaims: int = _counts("Faults that found no free frame and had to reclaim by themselves.")
    out_of_memory: int = _counts("Accesses that found no free frame and nothing that could be reclaimed.")
    bus_errors: int = _counts("Accesses to pages whose bytes are lost.")
    stalls: int = _counts("Accesses to device pages while the device did not answer.")
    # -- stores through writable mappings ----------------------------------------------------------
    node_loads: int = _counts("Pages that the CPU read from the device through a mapping.")
    node_stores: int = _counts("Pages that the CPU stored to the device through a writable mapping.")
    stores_refused: int = _counts("Stores through a writable mapping that the device could not take.")
    bus_error_kills: int = _counts("Address spaces that died of a refused store (on_bus_error = kill).")
    killed_accesses: int = _counts("Accesses to an address space that a refused store had killed.")
    bus_error_rescues: int = _counts("Refused stores that were applied in DRAM (on_bus_error = rescue).")
    # -- reclaim -----------------------------------------------------------------------------------
    kswapd_wakes: int = _counts("Times that free DRAM fell under the low watermark.")
    second_chances: int = _counts("Referenced DRAM pages that the clock hand passed over.")
    demotions: int = _counts("DRAM pages that the node took.")
    demotions_void: int = _counts("DRAM pages that the node took, and that stayed: used or freed meanwhile.")
    demote_denied_closed: int = _counts("DRAM pages not offered to the node because it was closed or away.")
    demote_denied_admission: int = _counts("DRAM pages held back by admission = upper-bound.")
    demote_denied_full: int = _counts("DRAM pages for which the node had no free device page.")
    demote_refused_no_more_writes: int = _counts("Pages of demotions that ended with no more writes.")
    demote_refused_region_limit: int = _counts("Pages of demotions that ended at the region's media limit.")
    demote_refused_poisoned: int = _counts("Pages of demotions that ended at a poisoned device page.")
    demote_unavailable: int = _counts("Pages of demotions that the device did not answer.")
    demote_gone: int = _counts("Pages of demotions during which the session ended.")
    ineligible_gfp: int = _counts("Allocations refused because they did not come with __GFP_PRIVATE.")
    ineligible_file: int = _counts("Allocations refused because the page belongs to a file.")
    ineligible_kernel: int = _counts("Allocations refused because the page is the kernel's.")
    swap_outs_zswap: int = _counts("DRAM pages that zswap took.")
    swap_outs_swapfile: int = _counts("DRAM pages that the swap file took.")
    zswap_full: int = _counts("Pages that zswap had no room for.")
    swapfile_full: int = _counts("Pages that the swap file had no room for.")
    reclaim_kept: int = _counts("Cold DRAM pages that stayed because no tier had room.")
    # -- writable budget ---------------------------------------------------------------------------
    reprotects_aged: int = _counts("Writable mappings made R/O because nothing was stored for long.")
    reprotects_pressure: int = _counts("Writable mappings made R/O because pressure cut the budget.")
    reprotects_shared: int = _counts(
        "Writable mappings made R/O because another space came to share the page."
    )
    fork_protects: int = _counts("Writable mappings made R/O by a fork.")
    credits_granted: int = _counts("Write credits that the device granted.")
    credits_refused: int = _counts("Write credits that were asked for and not granted.")
    credits_spent: int = _counts("Write credits spent on pages that were made writable.")
    credits_dropped: int = _counts("Write credits given up: the node closed, or the session ended.")
    credit_requests_unanswered: int = _counts("Requests for write credits that the device did not answer.")
    # -- writeback ---------------------------------------------------------------------------------
    writebacks: int = _counts("Device pages moved to a tier behind the node, for any reason.")
    writebacks_release: int = _counts("Of these: the device asked for the capacity back.")
    writebacks_balloon: int = _counts("Those of them that the balloon asked for.")
    writeback_zaps: int = _counts("R/O mappings zapped before writeback, counted per mapper.")
    writeback_no_room: int = _counts("Device pages that stayed because no tier had room.")
    # -- frees -------------------------------------------------------------------------------------
    frees_done: int = _counts("Frees after which nothing was left to do.")
    frees_deferred: int = _counts("Frees whose device page waits for TRIM, or whose entry became a zombie.")
    frees_buffer_full: int = _counts("Frees that found the TRIM buffer full.")
    zombies_made: int = _counts("vswap entries whose last user went away.")
    reaped: int = _counts("Zombies freed, by the reaper or by writeback that met one.")
    trim_commands: int = _counts("TRIM commands that the device took.")
    trimmed_pages: int = _counts("Device pages given back by TRIM.")
    trim_unavailable: int = _counts("TRIM commands that the device did not take; their pages wait on.")
    # -- the node ----------------------------------------------------------------------------------
    node_closes: int = _counts("Times that pressure closed the node.")
    node_opens: int = _counts("Times that pressure let the node open again.")
    no_more_writes: int = _counts("Times that the device was first seen to take no more writes.")
    sessions_lost: int = _counts("Sessions that ended with all bytes in the region.")
    pages_lost_reset: int = _counts("Mapped pages lost with the session, counted per mapper.")
    pages_lost_released: int = _counts(
        "Mapped pages lost where the device took capacity by force, counted per mapper."
    )
    pages_lost_poison: int = _counts("Mapped pages lost to poison, counted per mapper.")
    balloon_inflated: int = _counts("Device pages taken by the balloon.")
    balloon_deflated: int = _counts("Device pages given back by the balloon.")

    @property
    def pages_lost(self) -> int:
        """Mapped pages whose bytes are lost, for any reason; counted once, when they are lost."""
        return self.pages_lost_reset + self.pages_lost_released + self.pages_lost_poison

    @classmethod
    def sentences(cls) -> dict[str, str]:
        """The help text of every counter, by its name, in the order above."""
        return {each.name: each.metadata["sentence"] for each in fields(cls)}


@dataclass(slots=True)
class NodeCounters:
    """What happened on one node: its share of the host's counts. Only ever grow; the audit compares them."""

    demotions: int = 0
    """DRAM pages that the node took."""
    demotions_refused: int = 0
    """Pages of demotions that ended with no more writes, or at the region's media limit."""
    no_more_writes: int = 0
    """Times that the device was first seen to take no more writes."""
    writebacks: int = 0
    """Device pages moved to a tier behind the node."""
    writebacks_release: int = 0
    writebacks_balloon: int = 0
    writeback_no_room: int = 0
    trimmed_pages: int = 0
    closes: int = 0
    opens: int = 0
    sessions_lost: int = 0
    pages_lost_reset: int = 0
    """Mapped pages lost with the session, counted per mapper, as the next two."""
    pages_lost_released: int = 0
    pages_lost_poison: int = 0

    @property
    def pages_lost(self) -> int:
        """For any reason."""
        return self.pages_lost_reset + self.pages_lost_released + self.pages_lost_poison


class FaultCounts:
    """Page faults by kind (`read`, `write`: what the access was) and outcome. Only ever grow."""

    __slots__ = ("reads", "writes")

    def __init__(self) -> None:
        self.reads: dict[str, int] = dict.fromkeys(FAULT_OUTCOMES, 0)
        self.writes: dict[str, int] = dict.fromkeys(FAULT_OUTCOMES, 0)

    def add(self, outcome: str, count: int, *, write: bool) -> None:
        """So many more faults came to that."""
        if count:
            (self.writes if write else self.reads)[outcome] += count

    @property
    def total(self) -> int:
        """All faults so far."""
        return sum(self.reads.values()) + sum(self.writes.values())

    def rows(self) -> dict[tuple[str, str], int]:
        """By (kind, outcome)."""
        kinds = {"read": self.reads, "write": self.writes}
        return {(kind, outcome): count for kind, counts in kinds.items() for outcome, count in counts.items()}
