"""A device that stands still in the middle of a write: nobody waits longer than asked, nothing comes late."""

from __future__ import annotations

import os
import signal
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from agent_helpers import NS_PER_S, PAGE, noise, prose
from cramagent.node_client import NodeClient, Region
from cramagent.policy.effects import NodeStatus
from cramagent.refusals import NodeSilent
from cramlab.processes import DeviceProcess

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from cramagent.node_client import Session
    from cramagent.roads import Transport

pytestmark = pytest.mark.e2e

TIMEOUT_S = 0.3
HUNG_S = 15.0
"""A call that lasts so long waits for the device."""
LOTS = 1024
"""Pages that fill any socket."""
BEHIND = 256
ROUNDS = 3
WAYS: list[tuple[Transport, str]] = [("lane", "unix"), ("grpc", "unix"), ("grpc", "tcp")]


def answered(call: Callable[[], NodeStatus]) -> None:
    """Ask a device that is awake until it answers: a busy machine may miss a timeout as short as ours."""
    until = time.monotonic() + 2 * HUNG_S
    while (status := call()) is NodeStatus.UNAVAILABLE and time.monotonic() < until:
        pass
    assert status is NodeStatus.OK


class Frozen:
    """A client of a device that can be stopped."""

    def __init__(self, device: DeviceProcess, transport: Transport) -> None:
        self.device = device
        self.client = NodeClient(device.address, int(TIMEOUT_S * NS_PER_S), transport)
        self.client.identify(wait_s=30)
        self.session: Session
        self.session, _ = self.client.attach(Region("host-a", 2 * LOTS * PAGE), take_over=False, wait_s=30)
        assert self.client.transport == transport

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """The device stands still; it goes on by itself before a hung test would hang for ever."""
        self.device.signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self.device.pid, os.WSTOPPED)
        failsafe = threading.Timer(HUNG_S, self.device.signal, [signal.SIGCONT])
        failsafe.start()
        try:
            yield
        finally:
            failsafe.cancel()
            self.device.signal(signal.SIGCONT)

    def write(self, pages: int, data: bytes) -> NodeStatus:
        """Write the first pages of the region."""
        return self.client.write(self.session, [page * PAGE for page in range(pages)], data).status

    def read(self, page: int) -> bytes:
        """One page."""
        got: list[bytes] = []

        def take(_positions: Sequence[int], data: bytes | memoryview) -> None:
            got.append(bytes(data))

        answered(lambda: self.client.read(self.session, [page * PAGE], take).status)
        return got[-1]

    def settle(self) -> None:
        """Wait until whatever the device had begun is over: as much work again takes as long."""
        behind = [page * PAGE for page in range(LOTS, LOTS + BEHIND)]
        answered(lambda: self.client.write(self.session, behind, noise(1) * BEHIND).status)
        answered(lambda: self.client.trim(self.session, [(LOTS * PAGE, BEHIND * PAGE)]).status)


@pytest.fixture(params=WAYS, ids=["-".join(way) for way in WAYS])
def frozen(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Frozen]:
    """For each way to a device."""
    transport, kind = request.param
    listen = ("--listen", f"unix:{tmp_path / 'd.sock'}") if kind == "unix" else ()
    with DeviceProcess(tmp_path, physical="32MiB", args=listen) as device:
        made = Frozen(device, transport)
        try:
            yield made
        finally:
            made.client.close()


def test_calls_keep_their_timeout(frozen: Frozen) -> None:
    """However much is to be sent, and also those that come behind it; closing waits for nobody."""
    with frozen.stopped():
        for pages in (LOTS, 64, 1):
            began = time.monotonic()
            assert frozen.write(pages, noise(0) * pages) is NodeStatus.UNAVAILABLE
            assert time.monotonic() - began < HUNG_S / 3
        with pytest.raises(NodeSilent):
            frozen.client.renew(frozen.session, wait_s=TIMEOUT_S)
        began = time.monotonic()
        frozen.client.close()
        assert time.monotonic() - began < HUNG_S / 3


@pytest.mark.parametrize("pages", [1, 16, 256])
def test_what_was_given_up_does_not_come_late(frozen: Frozen, pages: int) -> None:
    """Its addresses were trimmed and one written anew: that one has the new bytes, the others none."""
    client, session, last = frozen.client, frozen.session, pages - 1
    for number in range(ROUNDS):
        with frozen.stopped():
            assert frozen.write(pages, noise(number) * pages) is NodeStatus.UNAVAILABLE
        answered(lambda: client.trim(session, [(0, pages * PAGE)]).status)
        answered(lambda: client.write(session, [last * PAGE], prose(number)).status)  # noqa: B023 -- called at once
        frozen.settle()
        assert frozen.read(last) == prose(number)
        assert client.telemetry(session).region.stored_pages == 1
