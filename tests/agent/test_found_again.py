"""A device that was away and is slow to speak when it is back: it must be found all the same."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from agent_helpers import DEADLINE_S
from cramlab.processes import AgentProcess, DeviceProcess

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import Self

pytestmark = pytest.mark.e2e


class Door:
    """A TCP way to a service that can be shut, and opened again with a service that speaks late."""

    def __init__(self, inside: str) -> None:
        host, _, port = inside.rpartition(":")
        self._inside = (host, int(port))
        self._late = threading.Event()
        self._late.set()
        self._open: list[socket.socket] = []
        self.knocks = 0
        """Connections since it was opened last."""
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._serve()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._late.set()
        self.shut()

    def shut(self) -> None:
        """Cut all connections, and refuse new ones."""
        for one in (self._listener, *self._open):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
        self._open.clear()

    def open_late(self) -> None:
        """As `open`; what the service says is held back until `speak`."""
        self._late.clear()
        self.open()

    def open(self) -> None:
        """Take connections again on the same port."""
        self.knocks = 0
        self._listener = socket.create_server(("127.0.0.1", int(self.address.rpartition(":")[2])))
        self._serve()

    def speak(self) -> None:
        """Hold nothing back any more."""
        self._late.set()

    def _serve(self) -> None:
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                outer, _ = listener.accept()
                inner = socket.create_connection(self._inside)
                self._open += [outer, inner]
                self.knocks += 1
                threading.Thread(target=self._pump, args=(outer, inner, None), daemon=True).start()
                threading.Thread(target=self._pump, args=(inner, outer, self._late), daemon=True).start()

    @staticmethod
    def _pump(source: socket.socket, sink: socket.socket, gate: threading.Event | None) -> None:
        with suppress(OSError):
            while data := source.recv(65_536):
                if gate is not None:
                    gate.wait()
                sink.sendall(data)


def until(condition: Callable[[], bool], what: str) -> None:
    """Ask until it holds."""
    end = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < end, f"not within {DEADLINE_S:g} s: {what}"
        threading.Event().wait(0.05)


def test_a_device_that_speaks_late_is_found_again(tmp_path: Path) -> None:
    """Calls that come and go make no connection, if nobody waits for what the device says first.

    The agent is a process: gRPC polls there as `tune_grpc` says, and no server beside it helps.
    """
    options = ("--pages", "300", "--dram", "25%", "--lease", "300s", "--device-timeout", "300ms")
    with DeviceProcess(tmp_path) as device, Door(device.address) as door:
        with AgentProcess(tmp_path, door.address, "synthetic", args=options) as agent:
            until(lambda: "the accesses begin" in agent.log_text(), "the pages are stored")
            door.shut()
            until(lambda: "does not answer" in agent.log_text(), "the agent misses the device")
            door.open_late()
            until(lambda: door.knocks > 0, "the agent knocks")
            threading.Event().wait(0.5)
            door.speak()
            until(lambda: "the device answers again" in agent.log_text(), "the agent hears the device")
            assert door.knocks == 1, "it was heard on the connection that was there, not on a later one"
        assert agent.report()["pages_mismatched"] == agent.report()["pages_unread"] == 0


@pytest.mark.parametrize("missed", [False, True], ids=["unnoticed", "noticed"])
def test_a_host_that_ends_while_its_device_is_away_reads_everything_when_it_is_back(
    tmp_path: Path, *, missed: bool
) -> None:
    """Stopped before it knows that the device is away, or after: its session goes on, and it waits for it.

    The device stays away for longer than a call is repeated. What could not be read is looked at again.
    """
    options = ("--pages", "300", "--dram", "25%", "--lease", "300s", "--device-timeout", "300ms")
    with DeviceProcess(tmp_path) as device, Door(device.address) as door:
        with AgentProcess(tmp_path, door.address, "synthetic", args=options) as agent:
            until(lambda: "the accesses begin" in agent.log_text(), "the pages are stored")
            door.shut()
            if missed:
                until(lambda: "does not answer" in agent.log_text(), "the agent misses the device")
            agent.ask_to_end()
            until(lambda: "verifying 3" in agent.log_text(), "the agent has heard that it is to end")
            until(lambda: "does not answer" in agent.log_text(), "the agent misses the device")
            threading.Event().wait(1.0)
            door.open()
            assert agent.wait(DEADLINE_S) == 0, agent.log_text()
        report = agent.report()
    assert report["pages_mismatched"] == report["pages_lost"] == report["pages_unread"] == 0
    assert report["detached"]
