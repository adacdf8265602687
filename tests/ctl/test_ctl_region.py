"""`cramctl region`: against a device in this process."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ctl_helpers import Ctl
from server_helpers import MIB, PAGE, SECOND, Bench, bench_of

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def bench() -> Iterator[Bench]:
    """A device with 1 MiB of media; `host-a` has 64 pages of DPA space."""
    with bench_of() as made:
        with made.service.runtime.device() as (device, now_ns):
            device.attach(session="s", host="host-a", logical_bytes=64 * PAGE, now_ns=now_ns)
        yield made


@pytest.fixture
def ctl(bench: Bench) -> Ctl:
    """Told where it is."""
    return Ctl(bench.service.operator_address)


def test_a_region_grows_and_is_asked_back(ctl: Ctl, monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer is the region as it is then, for programs and for people."""
    monkeypatch.delenv("COLUMNS", raising=False)
    assert ctl.json("region", "add", "host-a", "16KiB", "--json")["size"] == 68 * PAGE
    asked = ctl.json("region", "release", "host-a", "32KiB", "--force-after", "5s", "--json")
    assert (asked["asked_back_to_size"], asked["forced_in_ns"]) == (60 * PAGE, 5 * SECOND)
    (listed,) = ctl.json("region", "list")
    assert listed["asked_back_to_size"] == 60 * PAGE
    table = ctl("region", "list", "--table")
    assert "asked back" in table.output
    told = ctl("region", "release", "host-a", "4KiB")
    assert "asked to shrink to 268.0 KiB" in told.output
    assert "by force" not in told.output


def test_shares_are_changed_live(ctl: Ctl) -> None:
    """One at a time; what cannot be is one line and exit status 1."""
    assert ctl.json("region", "guarantee", "host-a", "256KiB", "--json")["guaranteed_size"] == MIB // 4
    assert ctl.json("region", "limit", "host-a", "512KiB", "--json")["limit_size"] == MIB // 2
    refused = ctl("region", "guarantee", "host-a", "2MiB")
    assert refused.exit_code == 1
    assert "is above limit_media_bytes" in refused.stderr
    unknown = ctl("region", "add", "nobody", "4KiB")
    assert unknown.exit_code == 1
    assert "host-a" in unknown.stderr
