"""A device out of a saved state: the same generation, the same sessions, the same bytes.

Its books are not read but kept anew: every page and every TRIM goes through the ledger, which asserts the
identity as ever. Faults are not armed again: what they held back or held up is free, or due.

The time while nobody ran counts for what the device does by itself: queued TRIMs and staged writes that
fell due meanwhile are done at the first tick. Leases begin anew, and what was asked back of a region is
taken no sooner: their hosts could neither renew nor give while nobody was there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from cxldev.device import Device
from cxldev.outcomes import POISONED, STAGED
from cxldev.regions import AskedBack
from cxldev.saved_state import COLUMNS, VERSION, SavedState, StateMismatch, kind_of
from cxldev.telemetry import WatermarkLevel
from cxldev.trim_queue import TrimQueue

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from cxldev.config import DeviceConfig
    from cxldev.power_on import PowerOn
    from cxldev.regions import Region

_NONE: Final = np.empty(0, np.int64)


def restore_device(
    config: DeviceConfig,
    state: SavedState,
    read_media: Callable[[memoryview], None],
    *,
    now_ns: int,
    away_ns: int,
) -> Device:
    """The device of a saved state. What fell due meanwhile is done at the first call.

    Args:
        config: must be of the same kind (`saved_state.kind_of`); all else may have changed.
        state: what a `Snapshot` gathered.
        read_media: fills memory with the media's bytes; what it raises is raised.
        now_ns: the clock of this process.
        away_ns: how long no process ran the device.

    Raises:
        StateMismatch: a state of another version, or of another kind of device.
    """
    check_state(config, state)
    device = Device(config, generation=state.facts["generation"], now_ns=now_ns)
    power = device.power
    facts = state.facts
    later_ns = now_ns - facts["now_ns"] - max(0, away_ns)
    read_media(power.arena.memory[: state.media_bytes])

    in_use: list[tuple[NDArray[np.int64], NDArray[np.int64]]] = [(_NONE, _NONE)]
    regions: dict[int, Region] = {}
    for region_facts in facts["regions"]:
        region = _restore_region(power, region_facts, later_ns)
        if region_facts["asked_back"] is not None:
            size, forced_at_ns = region_facts["asked_back"]
            if forced_at_ns is not None:
                forced_at_ns += now_ns - facts["now_ns"]
            region.asked_back = AskedBack(size, forced_at_ns)
        regions[region.number] = region
        columns = {name: state.columns[f"{region.number}.{name}"] for name in ("pages", *COLUMNS)}
        _restore_pages(power, region, columns)
        region.trims.restore(region_facts["trims"], later_ns)
        held = columns["size"] > 0
        in_use.append((columns["place"][held].astype(np.int64), columns["size"][held].astype(np.int64)))
    places, sizes = (np.concatenate(parts) for parts in zip(*in_use, strict=True))
    power.arena.adopt(state.media_bytes, places, sizes)
    power.regions.restore(facts["sessions"])
    if power.staging is not None:
        power.staging.restore(facts["staging"], regions, later_ns)
    power.gauge.level = WatermarkLevel(facts["watermark"])
    power.no_more_writes.active = facts["no_more_writes"]
    power.refused_pages = facts["refused_pages"]
    power.events.restore(facts["event_sequence"])
    power.wake_by(now_ns)
    return device


def check_state(config: DeviceConfig, state: SavedState) -> None:
    """Whether a device of this kind can be restored from it.

    Raises:
        StateMismatch: it was saved by another version, or by another kind of device.
    """
    version = state.facts["version"]
    if version != VERSION:
        raise StateMismatch(f"it is of version {version}; this program restores version {VERSION}")
    saved, wanted = state.facts["device"], kind_of(config)
    differing = [
        f"{name} {saved[name]}, not {value}" for name, value in wanted.items() if saved[name] != value
    ]
    if differing:
        raise StateMismatch(f"it is of a device with {', '.join(differing)}")


def _restore_region(power: PowerOn, facts: dict[str, Any], later_ns: int) -> Region:
    account = power.ledger.open_account(facts["guaranteed_bytes"], facts["limit_bytes"])
    region = power.regions.add(
        session=facts["session"],
        host=facts["host"],
        logical_bytes=facts["logical_bytes"],
        lease_ns=facts["lease_ns"],
        now_ns=power.now_ns,
        account=account,
        trims=TrimQueue(power.ledger, account),
        number=facts["number"],
    )
    power.ledger.promise(account, facts["promised_pages"])
    region.credit_request = facts["credit_request"]
    region.last_staged = facts["last_staged"]
    region.last_staged_due_ns = facts["last_staged_due_ns"] + later_ns
    return region


def _restore_pages(power: PowerOn, region: Region, columns: dict[str, NDArray[Any]]) -> None:
    """Into the page table, and into the books."""
    kinds = columns["kind"]
    region.table.set(
        columns["pages"],
        kinds=kinds,
        sectors=columns["sectors"].astype(np.int64),
        sizes=columns["size"].astype(np.int64),
        places=columns["place"],
    )
    power.ledger.store(
        region.account,
        len(kinds),
        int(columns["sectors"].sum(dtype=np.int64)),
        poisoned=int(np.count_nonzero(kinds == POISONED)),
        staged=int(np.count_nonzero(kinds == STAGED)),
    )
