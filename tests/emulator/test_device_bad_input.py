"""Every call with everything wrong: its documented error, and nothing changed."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import pytest

from cxldev import config
from cxldev.config import PAGE_BYTES, LatencyConfig
from cxldev.device import Device, SessionRef
from cxldev.errors import (
    ConfigError,
    DataLength,
    EmptyRequest,
    GuaranteeCapacity,
    InvalidField,
    LeaseExpired,
    LogicalCapacity,
    NotAligned,
    OutOfRange,
    Overlapping,
    SessionEnded,
    StaleGeneration,
    TooMany,
    UnknownFault,
    UnknownHost,
    UnknownSession,
)
from cxldev.faults import ResetFault
from emulator_helpers import MIB, Bench, addresses, at, random_pages, small_config, snapshot

if TYPE_CHECKING:
    from collections.abc import Callable

PAGES = 64
END = PAGES * PAGE_BYTES
LAST_U64_PAGE = 2**64 - PAGE_BYTES


@pytest.fixture
def bench() -> Bench:
    """A device with one region that holds data, and TRIMs in its queue."""
    bench = Bench(small_config(trim_delay_ns=1_000))
    ref = bench.attach(pages=PAGES, guarantee=1000)
    bench.write(ref, 0, random_pages(32))
    bench.trim(ref, 30, 2)
    return bench


@pytest.fixture
def ref(bench: Bench) -> SessionRef:
    """Its session."""
    [region] = bench.device._power.regions
    return SessionRef(region.session, "g1")


def refused(
    bench: Bench, error: type[Exception], call: Callable[..., object], *args: Any, **named: Any
) -> None:
    """The call raises just this, and leaves all as it was."""
    before = snapshot(bench.device, bench.now_ns)
    with pytest.raises(error) as caught:
        call(*args, **named)
    assert type(caught.value) is error
    assert snapshot(bench.device, bench.now_ns) == before
    bench.device.audit()


WRONG_PAGES = [
    ([], EmptyRequest),
    ([0] * 1025, TooMany),
    ([1], NotAligned),
    ([0, 4095], NotAligned),
    ([END], OutOfRange),
    ([0, LAST_U64_PAGE], OutOfRange),
    ([2**63], OutOfRange),
    ([2**64 - 1], NotAligned),
    ([0, 4096, 0], Overlapping),
    ([*range(0, 40 * 4096, 4096), 4096 + 1], NotAligned),
    ([*range(0, 40 * 4096, 4096), END], OutOfRange),
    ([*range(0, 40 * 4096, 4096), LAST_U64_PAGE], OutOfRange),
    ([*range(0, 40 * 4096, 4096), 4096], Overlapping),
]
"""Both small requests and large ones, for they are checked in different ways."""


@pytest.mark.parametrize(("dpas", "error"), WRONG_PAGES)
def test_pages_of_a_read_and_of_a_write(
    bench: Bench, ref: SessionRef, dpas: list[int], error: type[Exception]
) -> None:
    """The same rules for both, and for the operator's question."""
    named, length = addresses(dpas), len(dpas) * PAGE_BYTES
    refused(bench, error, bench.device.begin_read, ref, named, bench.now_ns)
    refused(bench, error, bench.device.begin_write, ref, named, length, bench.now_ns)
    refused(bench, error, bench.device.describe, "alpha", named)


@pytest.mark.parametrize("length", [0, 1, PAGE_BYTES, 2 * PAGE_BYTES - 1, 3 * PAGE_BYTES, 64 * MIB])
def test_data_that_is_not_a_page_for_each_address(bench: Bench, ref: SessionRef, length: int) -> None:
    """Too short, too long, not whole pages."""
    refused(bench, DataLength, bench.device.begin_write, ref, at(0, 1), length, bench.now_ns)


WRONG_RANGES = [
    ([], EmptyRequest),
    ([(0, 0)], EmptyRequest),
    ([(0, 4096), (8192, 0)], EmptyRequest),
    ([(0, 4096)] * 10_000, TooMany),
    ([(n * 8192, 4096) for n in range(128)], TooMany),
    ([(1, 4096)], NotAligned),
    ([(0, 4097)], NotAligned),
    ([(0, END + 4096)], OutOfRange),
    ([(END, 4096)], OutOfRange),
    ([(LAST_U64_PAGE, 4096)], OutOfRange),
    ([(LAST_U64_PAGE, 8192)], OutOfRange),
    ([(4096, LAST_U64_PAGE)], OutOfRange),
    ([(4096, LAST_U64_PAGE - 4096)], OutOfRange),
    ([(0, 8192), (4096, 4096)], Overlapping),
    ([(8192, 4096), (0, 16384)], Overlapping),
    ([(0, 4096), (0, 4096)], Overlapping),
]


@pytest.mark.parametrize(("ranges", "error"), WRONG_RANGES)
def test_ranges_of_a_trim(
    bench: Bench, ref: SessionRef, ranges: list[tuple[int, int]], error: type[Exception]
) -> None:
    """Nothing wraps around 2^64."""
    starts = addresses(start for start, _ in ranges)
    lengths = addresses(length for _, length in ranges)
    refused(bench, error, bench.device.trim, ref, starts, lengths, bench.now_ns)


def test_starts_without_lengths(bench: Bench, ref: SessionRef) -> None:
    """The service pairs them; the device does not trust it."""
    refused(bench, InvalidField, bench.device.trim, ref, at(0, 1), at(1), bench.now_ns)


CALLS: dict[str, Callable[[Device, SessionRef, int], object]] = {
    "renew": lambda device, ref, now: device.renew(ref, now),
    "resize": lambda device, ref, now: device.resize(ref, -1, now),
    "detach": lambda device, ref, now: device.detach(ref, now),
    "telemetry": lambda device, ref, now: device.telemetry(ref, now),
    "host_of": lambda device, ref, now: device.host_of(ref, now),
    "begin_write": lambda device, ref, now: device.begin_write(ref, at(), 1, now),
    "begin_read": lambda device, ref, now: device.begin_read(ref, at(), now),
    "trim": lambda device, ref, now: device.trim(ref, at(), at(), now),
    "begin_flush": lambda device, ref, now: device.begin_flush(ref, now),
}
"""All calls of a session, with arguments that are wrong where they can be: the session is looked at first."""


@pytest.mark.parametrize("name", CALLS)
def test_sessions_that_are_none(bench: Bench, ref: SessionRef, name: str) -> None:
    """Absent, unknown, of another power-on (looked at before the session)."""
    call = CALLS[name]
    for wrong, error in (
        (SessionRef("", "g1"), InvalidField),
        (SessionRef(ref.session, ""), InvalidField),
        (SessionRef("", ""), InvalidField),
        (SessionRef("nobody", "g1"), UnknownSession),
        (SessionRef(ref.session, "g0"), StaleGeneration),
        (SessionRef("nobody", "g0"), StaleGeneration),
    ):
        refused(bench, error, call, bench.device, wrong, bench.now_ns)


@pytest.mark.parametrize("name", CALLS)
def test_sessions_that_ended(name: str) -> None:
    """Told how, by every call."""
    call = CALLS[name]
    bench = Bench()
    gone, expired = bench.attach("gone"), bench.attach("expired", lease_ns=1_000_000)
    bench.device.detach(gone, bench.now_ns)
    bench.now_ns += 1_000_000
    bench.device.advance(bench.now_ns)
    refused(bench, SessionEnded, call, bench.device, gone, bench.now_ns)
    refused(bench, LeaseExpired, call, bench.device, expired, bench.now_ns)


WRONG_ATTACH: list[tuple[dict[str, object], type[Exception]]] = [
    ({"session": ""}, InvalidField),
    ({"host": ""}, InvalidField),
    ({"host": "x" * 64}, InvalidField),
    ({"host": "a b"}, InvalidField),
    ({"host": "tab\n"}, InvalidField),
    ({"host": "ümlaut"}, InvalidField),
    ({"logical_bytes": 0}, InvalidField),
    ({"logical_bytes": -4096}, InvalidField),
    ({"logical_bytes": 4097}, NotAligned),
    ({"logical_bytes": 2**64 - 4096}, LogicalCapacity),
    ({"logical_bytes": 3 * MIB}, LogicalCapacity),
    ({"guaranteed_media_bytes": -1}, InvalidField),
    ({"guaranteed_media_bytes": MIB}, GuaranteeCapacity),
    ({"guaranteed_media_bytes": 2**64 - 1}, GuaranteeCapacity),
    ({"guaranteed_media_bytes": 2, "limit_media_bytes": 1}, InvalidField),
    ({"limit_media_bytes": MIB + 1}, InvalidField),
    ({"limit_media_bytes": -1}, InvalidField),
    ({"lease_ns": 0}, InvalidField),
    ({"lease_ns": 999_999}, InvalidField),
    ({"lease_ns": 3_600_000_000_001}, InvalidField),
    ({"lease_ns": 2**64 - 1}, InvalidField),
]


@pytest.mark.parametrize(("changes", "error"), WRONG_ATTACH, ids=repr)
def test_attach(bench: Bench, changes: dict[str, object], error: type[Exception]) -> None:
    """Field by field; also where the host would take over its own region."""
    for take_over in (False, True):
        arguments: dict[str, object] = {
            "session": "new",
            "host": "beta",
            "logical_bytes": 4096,
            "take_over": take_over,
            "now_ns": bench.now_ns,
            **changes,
        }
        refused(bench, error, bench.device.attach, **arguments)


def test_a_session_is_given_out_once(bench: Bench, ref: SessionRef) -> None:
    """Ids that are in use, or were, are refused."""
    ended = bench.attach("beta")
    bench.device.detach(ended, bench.now_ns)
    for session in (ref.session, ended.session):
        refused(
            bench,
            InvalidField,
            bench.device.attach,
            session=session,
            host="gamma",
            logical_bytes=4096,
            now_ns=bench.now_ns,
        )


@pytest.mark.parametrize(
    ("logical_bytes", "error"),
    [(0, InvalidField), (-1, InvalidField), (5, NotAligned), (2**64 - 4096, LogicalCapacity)],
)
def test_resize(bench: Bench, ref: SessionRef, logical_bytes: int, error: type[Exception]) -> None:
    """As of attach."""
    refused(bench, error, bench.device.resize, ref, logical_bytes, bench.now_ns)


def test_describe_of_nobody(bench: Bench) -> None:
    """It names those who are there."""
    refused(bench, UnknownHost, bench.device.describe, "nobody", at(0))


def test_messages_are_bounded() -> None:
    """They go into trailing metadata: names are cut, and few of many are told."""
    bench = Bench(small_config(physical_capacity_bytes=16 * MIB))
    for number in range(20):
        bench.attach(f"{number:03}" + 60 * "h", pages=1)
    with pytest.raises(UnknownHost, match="and 12 more") as unknown:
        bench.device.describe("x" * 100_000, at(0))
    with pytest.raises(UnknownFault) as fault:
        bench.device.clear("f" * 100_000, bench.now_ns)
    assert max(len(str(unknown.value)), len(str(fault.value))) < 800


def test_a_device_without_a_generation() -> None:
    """There is none."""
    with pytest.raises(InvalidField):
        Device(small_config(), generation="", now_ns=0)


def test_a_device_that_cannot_be() -> None:
    """Every rule of the settings is an error of its own words."""
    for changes in ({"physical_capacity_bytes": 4095}, {"sector_bytes": 96}, {"zratio_milli": 999}):
        with pytest.raises(ConfigError):
            small_config(**changes)


@pytest.mark.parametrize(
    "name",
    [
        "physical_capacity_bytes",
        "trim_delay_ns",
        "max_lease_ns",
        "max_pages_per_request",
        "max_ranges_per_trim",
        "max_regions",
        "event_log_entries",
    ],
)
def test_no_setting_of_a_device_is_unbounded(name: str) -> None:
    """What the system or the wire could not hold is refused in words, not by an overflow later."""
    for value in (2**31, 2**63, 10**400):
        if not (name in {"physical_capacity_bytes", "trim_delay_ns", "max_lease_ns"} and value < 2**32):
            with pytest.raises(ConfigError):
                small_config(**{name: value})


@pytest.mark.parametrize("name", [field.name for field in dataclasses.fields(LatencyConfig)])
def test_no_part_of_the_latency_is_unbounded(name: str) -> None:
    """Nor below what has a meaning."""
    for value in (2**62, 10**19, -1):
        with pytest.raises(ConfigError, match=name):
            LatencyConfig(**{name: value})


def test_the_largest_device_that_can_be() -> None:
    """Every bound at once: the sums hold, and the maps of two power-ons fit the address space."""
    longest = {field.name: config.LONGEST_LATENCY_NS for field in dataclasses.fields(LatencyConfig)}
    bench = Bench(
        small_config(
            physical_capacity_bytes=config.MOST_PHYSICAL_BYTES,
            max_pages_per_request=config.MOST_PAGES_PER_REQUEST,
            max_ranges_per_trim=config.MOST_RANGES_PER_TRIM,
            max_regions=config.MOST_REGIONS,
            event_log_entries=config.MOST_EVENT_LOG_ENTRIES,
            max_lease_ns=config.LONGEST_NS,
            trim_delay_ns=config.LONGEST_NS,
            latency=LatencyConfig(**{**longest, "block_cache_pages": 64, "engines": 1}),
        )
    )
    ref = bench.attach(pages=512, lease_ns=config.LONGEST_NS)
    outcome = bench.write(ref, 0, random_pages(512))
    hour = config.LONGEST_LATENCY_NS
    assert 512 * 2 * hour < outcome.device_ns < 512 * 66 * hour
    assert 66 * hour * config.MOST_PAGES_PER_REQUEST < 2**63
    bench.inject(ResetFault())
    bench.write(bench.attach(), 0, random_pages(4))
    bench.device.audit()
