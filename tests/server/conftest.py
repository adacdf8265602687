"""Fixtures of the service's tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from server_helpers import Bench, Host, bench_of, transport

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(params=["grpc", "transfer", "lane"])
def each_transport(request: pytest.FixtureRequest) -> Iterator[str]:
    """The test runs over gRPC, each command a call or all on calls that stay open, and over a lane."""
    with transport(request.param):
        yield request.param


@pytest.fixture
def bench() -> Iterator[Bench]:
    """A service with 1 MiB of media, sold as 3 MiB."""
    with bench_of() as made:
        yield made


@pytest.fixture
def host(bench: Bench) -> Host:
    """A host with a region of 256 pages."""
    return bench.attach()
