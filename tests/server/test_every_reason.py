"""Every reason of the wire can be met, has one row in the table, and moves one counter."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import pytest
from prometheus_client import generate_latest

from cramwire.refusal import REASONS
from cramwire.v1 import device_pb2, memory_pb2
from cxldev import errors
from cxldev.config import DeviceConfig
from cxldevd.errors import POISONED_NAMED, TABLE, DeviceBusy, NotAllowed, Unauthenticated, status_of
from server_helpers import PAGE, SECOND, Bench, bench_of, dpas, noise, prose, refused

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.usefixtures("each_transport")


def _write(bench: Bench, addresses: list[int], data: bytes, **change: str) -> Any:
    host = bench.attach(pages=64, limit_media_bytes=20 * (PAGE + 16))
    request = memory_pb2.WriteRequest(dpas=addresses, data=data, **{**host.ref, **change})
    return bench.memory.Write(request)


def _attach(bench: Bench, **fields: Any) -> Any:
    request = device_pb2.AttachRequest(**{"host": "h", "logical_bytes": 64 * PAGE, **fields})
    return bench.device.Attach(request)


def _stale(bench: Bench) -> Any:
    host = bench.attach()
    bench.reset()
    return host.read(0, 1)


def _expired(bench: Bench) -> Any:
    host = bench.attach()
    bench.clock.advance(11 * SECOND)
    return host.read(0, 1)


def _ended(bench: Bench) -> Any:
    host = bench.attach()
    host.detach()
    return host.read(0, 1)


def _twice(bench: Bench) -> Any:
    bench.attach()
    return bench.attach()


def _in_use(bench: Bench) -> Any:
    host = bench.attach()
    host.write(8, prose(1))
    return bench.device.Resize(device_pb2.ResizeRequest(logical_bytes=8 * PAGE, **host.ref))


def _full(bench: Bench) -> Any:
    return bench.attach(pages=512).write(0, noise(512))


def _poisoned(bench: Bench) -> Any:
    host = bench.attach()
    host.write(0, prose(1))
    bench.inject(poison={"host": "host-a", "dpas": [0]})
    return host.read(0, 1)


def _command_refused(bench: Bench) -> Any:
    host = bench.attach()
    bench.inject(refused_command={})
    return host.read(0, 1)


def _read_only(bench: Bench) -> Any:
    host = bench.attach()
    bench.inject(read_only_media={})
    return host.write(0, prose(1))


def _busy(bench: Bench) -> Any:
    host = bench.attach()
    streams = []
    for _ in range(3):
        streams.append(host.watch())  # kept: a stream that nobody holds is closed
        next(streams[-1])
    return streams


MEETINGS: dict[str, Callable[[Bench], Any]] = {
    "INVALID_FIELD": lambda bench: _attach(bench, host=""),
    "EMPTY_REQUEST": lambda bench: _write(bench, [], b""),
    "NOT_ALIGNED": lambda bench: _write(bench, [1], bytes(PAGE)),
    "DATA_LENGTH": lambda bench: _write(bench, [0], b"short"),
    "TOO_MANY": lambda bench: _write(bench, dpas(0, 1025), b""),
    "OVERLAPPING": lambda bench: _write(bench, [0, 0], bytes(2 * PAGE)),
    "OUT_OF_RANGE": lambda bench: _write(bench, [64 * PAGE], bytes(PAGE)),
    "UNKNOWN_SESSION": lambda bench: _write(bench, [0], bytes(PAGE), session="nobody"),
    "STALE_GENERATION": _stale,
    "LEASE_EXPIRED": _expired,
    "SESSION_ENDED": _ended,
    "ALREADY_ATTACHED": _twice,
    "LOGICAL_CAPACITY": lambda bench: _attach(bench, logical_bytes=1 << 40),
    "GUARANTEE_CAPACITY": lambda bench: (
        _attach(bench, guaranteed_media_bytes=900_000),
        _attach(bench, host="i", guaranteed_media_bytes=900_000),
    ),
    "REGION_IN_USE": _in_use,
    "NO_MORE_WRITES": _full,
    "REGION_LIMIT": lambda bench: _write(bench, dpas(0, 21), noise(21)),
    "POISONED": _poisoned,
    "DEVICE_BUSY": _busy,
    "UNKNOWN_FAULT": lambda bench: bench.clear("none-1"),
    "COMMAND_REFUSED": _command_refused,
    "MEDIA_READ_ONLY": _read_only,
    "UNKNOWN_HOST": lambda bench: bench.inject(poison={"host": "nobody", "random_pages": 1}),
}


def counters(bench: Bench) -> dict[str, float]:
    """The reject counters as Prometheus sees them."""
    text = generate_latest(bench.service.registry).decode()
    lines = [line.split(" ") for line in text.splitlines() if line.startswith("cxldev_reject_")]
    return {name: float(value) for name, value in lines if "_pages_total" not in name}


def test_every_reason_is_met_below() -> None:
    """A new reason needs a new row."""
    # Who is not known, or not allowed: tests/identity/test_who_may_do_what.py.
    assert set(MEETINGS) == REASONS - {"UNAUTHENTICATED", "NOT_ALLOWED"}


@pytest.mark.parametrize("reason", sorted(MEETINGS))
def test_reason(reason: str) -> None:
    """It comes with its code, and its counter moves, alone."""
    with bench_of(settings={"max_watchers": 2}) as bench:
        before = counters(bench)
        refusal = refused(lambda: MEETINGS[reason](bench))
        assert refusal.reason == reason
        (row,) = (row for row in TABLE.values() if row.name == reason)
        assert refusal.code.value[0] == row.code
        moved = {name for name, value in counters(bench).items() if value != before[name]}
        assert moved == {f"cxldev_reject_{reason.lower()}_total"}


# -- the table alone ------------------------------------------------------------------------------


def test_every_reason_has_one_row() -> None:
    """And no row is for a reason that the wire does not know."""
    assert sorted(row.name for row in TABLE.values()) == sorted(REASONS)


def test_every_error_of_the_device_has_a_row() -> None:
    """Bases that nobody raises aside, and those that are bugs or never cross the wire."""
    bases = {errors.DeviceError, errors.InvalidRequest, errors.SessionError, errors.WriteRefused}
    not_refusals = {errors.ConfigError, errors.CapacityIdentityBroken}
    unheard = {errors.CommandLost, errors.Unanswered, errors.ConnectionDropped}
    defined = {
        error
        for _, error in inspect.getmembers(errors, inspect.isclass)
        if issubclass(error, errors.DeviceError)
    }
    assert defined - bases - not_refusals - unheard == set(TABLE) - {DeviceBusy, Unauthenticated, NotAllowed}


def test_poison_names_no_more_pages_than_fit() -> None:
    """The rest is counted."""
    error = errors.Poisoned("lost", dpas=tuple(range(0, 1024 * PAGE, PAGE)))
    status = status_of(error, DeviceConfig(physical_capacity_bytes=PAGE))
    assert status.ByteSize() < 6 * 1024
    assert POISONED_NAMED == 512


def test_an_error_without_a_row_is_a_bug() -> None:
    """It must not look like a refusal."""
    with pytest.raises(KeyError):
        status_of(errors.CapacityIdentityBroken("1 + 1 = 3"), DeviceConfig(physical_capacity_bytes=PAGE))


def test_a_broken_identity_is_internal(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A bug of the device is logged with its traceback and answered INTERNAL; the service goes on."""
    host = bench.attach()

    def broken(*_: Any, **__: Any) -> Any:
        raise errors.CapacityIdentityBroken("1 + 1 = 3")

    with bench.service.runtime.device() as (device, _):
        kind = type(device)
    with monkeypatch.context() as patch:
        patch.setattr(kind, "trim", broken)
        refusal = refused(lambda: host.trim(0, 1))
    assert (refusal.code.name, refusal.reason) == ("INTERNAL", "")
    (record,) = (record for record in caplog.records if record.getMessage() == "call_failed")
    assert record.exc_info is not None
    assert host.trim(0, 1).trimmed_pages == 0
