"""A fake device on a real port, for every test of `cramctl`."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import grpc
import pytest

from cramwire.v1 import operator_pb2_grpc
from ctl_helpers import Ctl, FakeDevice

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def device() -> Iterator[FakeDevice]:
    """A fake device that listens on a port that the system chose."""
    fake = FakeDevice()
    server = grpc.server(ThreadPoolExecutor(4))
    operator_pb2_grpc.add_OracleServiceServicer_to_server(fake, server)
    operator_pb2_grpc.add_FaultServiceServicer_to_server(fake, server)
    fake.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    yield fake
    server.stop(None).wait()


@pytest.fixture
def ctl(device: FakeDevice) -> Ctl:
    """`cramctl` for the fake device."""
    return Ctl(device.address)
