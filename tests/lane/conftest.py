"""Fixtures of the lane's tests: a device on a unix socket, and hosts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from lane_peer import Peer
from server_helpers import Bench, Host, bench_of, transport

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def over_lanes() -> Iterator[None]:
    """All benches of these tests listen on a unix socket, and `bench.memory` takes the lane."""
    with transport("lane"):
        yield


@pytest.fixture
def bench() -> Iterator[Bench]:
    """A device with 1 MiB of media."""
    with bench_of() as made:
        yield made


@pytest.fixture
def host(bench: Bench) -> Host:
    """A host that behaves."""
    return bench.attach()


@pytest.fixture
def peer(bench: Bench) -> Iterator[Peer]:
    """A host that need not behave."""
    with Peer(bench.attach("peer")) as made:
        yield made
