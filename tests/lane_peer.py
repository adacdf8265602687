"""A peer at a lane's socket that may do anything: it holds the descriptors and the memory, and no manners."""

from __future__ import annotations

import contextlib
import mmap
import os
import select
import socket
from pathlib import Path
from typing import TYPE_CHECKING

from cramwire.lane import Answer, Command, Segment, parse_hello
from cramwire.v1 import lane_pb2, lane_pb2_grpc
from server_helpers import DEADLINE_S

if TYPE_CHECKING:
    from typing import Self

    from server_helpers import Bench, Host


def open_files() -> int:
    """Descriptors that this process holds."""
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def lane_socket(bench: Bench) -> str:
    """Path of the lane's socket."""
    return bench.service.address.removeprefix("unix:") + ".lane"


def token(host: Host) -> bytes:
    """A token for a lane of this host's session."""
    stub = lane_pb2_grpc.LaneServiceStub(host.bench.host_channel)
    told = stub.OpenLane(lane_pb2.OpenLaneRequest(**host.ref), timeout=DEADLINE_S)
    assert told.socket == Path(lane_socket(host.bench)).name
    return told.token


def connect(bench: Bench) -> socket.socket:
    """A connection that has said nothing yet."""
    peer = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    peer.connect(lane_socket(bench))
    peer.settimeout(DEADLINE_S)
    return peer


def turned_out(peer: socket.socket) -> bool:
    """Wait until the other end is closed."""
    with contextlib.suppress(ConnectionResetError):
        return peer.recv(64) == b""
    return True


class Peer:
    """An open lane, by hand."""

    def __init__(self, host: Host) -> None:
        self.socket = connect(host.bench)
        self.socket.send(token(host))
        hello, descriptors, _, _ = socket.recv_fds(self.socket, 256, 8)
        self.memory, self.submitted, self.completed = descriptors
        self.geometry = parse_hello(hello)
        self.mapping = mmap.mmap(self.memory, self.geometry.segment_bytes)
        self.segment = Segment(self.mapping, self.geometry)
        self._sent = self._heard = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.leave()

    def leave(self) -> None:
        """Close everything, as the end of a process does."""
        if self.memory >= 0:
            self.segment.close()
            for descriptor in (self.memory, self.submitted, self.completed):
                os.close(descriptor)
            self.memory = -1
            self.socket.close()

    def put(self, slot: int) -> None:
        """Name a slot on the ring, whatever it is."""
        self.segment.submissions[self._sent % self.geometry.slots] = slot
        self._sent += 1

    def ring(self, times: int = 1) -> None:
        """Ring for commands."""
        os.eventfd_write(self.submitted, times)

    def submit(self, slot: int, command: Command) -> None:
        """A command, properly."""
        self.segment.put_command(slot, command)
        self.put(slot)
        self.ring()

    def answer(self) -> tuple[int, Answer]:
        """Wait for the next answer: its slot, and what it says."""
        poll = select.poll()
        poll.register(self.completed, select.POLLIN)
        assert poll.poll(DEADLINE_S * 1000), "no answer"
        count = os.eventfd_read(self.completed)
        if count > 1:
            os.eventfd_write(self.completed, count - 1)
        slot = self.segment.completions[self._heard % self.geometry.slots]
        self._heard += 1
        return slot, self.segment.answer(slot)

    def ask(self, slot: int, command: Command) -> Answer:
        """Submit, and wait."""
        self.submit(slot, command)
        answered, answer = self.answer()
        assert answered == slot
        return answer
