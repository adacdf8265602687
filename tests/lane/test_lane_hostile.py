"""A host that breaks every rule of the lane: it harms its own pages at most, and the device goes on."""

from __future__ import annotations

import contextlib
import os
import random
import socket
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from google.rpc import code_pb2, status_pb2

from cramwire.lane import Command, Operation
from cramwire.refusal import CODES, refusal_of
from lane_peer import Peer, connect, lane_socket, open_files, token, turned_out
from server_helpers import PAGE, Bench, Host, bench_of, noise, prose, refused

if TYPE_CHECKING:
    from cramwire.lane import Answer


def reason(peer: Peer, slot: int, answer: Answer) -> str:
    """Why a command was refused."""
    assert answer.code != code_pb2.OK
    status = status_pb2.Status.FromString(peer.segment.detail(slot, answer.detail_bytes))
    assert status.code == answer.code
    return refusal_of(CODES[answer.code], status.message, status).reason


def goes_on(host: Host) -> None:
    """Another host can write, read and TRIM, and the books are right."""
    data = prose(2, 77)
    assert host.write(100, data).accepted_pages == 2
    assert host.read(100, 2) == data
    host.trim(100, 2)
    host.bench.audit()


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (Command(0, 1, 0), "INVALID_FIELD"),
        (Command(0xFFFF_FFFF, 1, 0), "INVALID_FIELD"),
        (Command(Operation.WRITE, 0xFFFF_FFFF, 0), "TOO_MANY"),
        (Command(Operation.WRITE, 1025, 1025 * PAGE), "TOO_MANY"),
        (Command(Operation.WRITE, 1, (1 << 64) - 1), "DATA_LENGTH"),
        (Command(Operation.WRITE, 1, 0), "DATA_LENGTH"),
        (Command(Operation.WRITE, 0, 0), "EMPTY_REQUEST"),
        (Command(Operation.READ, 0xFFFF_FFFF, 0), "TOO_MANY"),
        (Command(Operation.READ, 1024, 0), "OVERLAPPING"),
        (Command(Operation.TRIM, 0x8000_0000, 0), "TOO_MANY"),
        (Command(Operation.TRIM, 1, 0), "EMPTY_REQUEST"),
    ],
)
def test_impossible_numbers_are_refused(peer: Peer, host: Host, command: Command, expected: str) -> None:
    """As over gRPC, and nothing beyond the slot is read."""
    assert reason(peer, 3, peer.ask(3, command)) == expected
    goes_on(host)


def test_a_slot_that_is_not_there_ends_the_lane(peer: Peer, host: Host) -> None:
    """The device does not guess."""
    peer.put(8)
    peer.ring()
    assert turned_out(peer.socket)
    goes_on(host)


@pytest.mark.parametrize("times", [9, 1 << 32, (1 << 64) - 2])
def test_ringing_too_often_ends_the_lane(peer: Peer, host: Host, times: int) -> None:
    """There are eight slots: nobody can have more commands."""
    peer.ring(times)
    assert turned_out(peer.socket)
    goes_on(host)


def test_one_slot_named_many_times(peer: Peer, host: Host) -> None:
    """Eight times the same command in the same slot: eight answers, in whatever order."""
    peer.segment.put_command(0, Command(Operation.READ, 1, 0))
    for _ in range(8):
        peer.put(0)
    peer.ring(8)
    for _ in range(8):
        slot, answer = peer.answer()
        assert (slot, answer.code) == (0, code_pb2.OK)
    goes_on(host)


def test_a_host_that_never_rings_holds_nobody_up(peer: Peer, host: Host) -> None:
    """It has filled a slot, and says nothing."""
    peer.segment.put_command(0, Command(Operation.WRITE, 1, PAGE))
    goes_on(host)


def test_scribbling_in_mid_command_harms_only_the_scribbler(peer: Peer, host: Host) -> None:
    """Headers, addresses, pages and rings change all the time while commands are carried out."""
    host.write(0, noise(16))
    over = threading.Event()

    def scribble() -> None:
        draw = random.Random(5)
        memory = peer.mapping
        while not over.is_set():
            at = draw.randrange(peer.geometry.segment_bytes - 4096)
            memory[at : at + 64] = draw.randbytes(64)
            slot = draw.randrange(8)
            peer.segment.put_command(
                slot, Command(draw.randrange(6), draw.randrange(20), draw.randrange(20) * PAGE)
            )

    scribbler = threading.Thread(target=scribble)
    scribbler.start()
    try:
        for turn in range(300):
            slot = turn % 8
            peer.segment.addresses[slot][:8] = memoryview(bytes(range(64))).cast("Q")
            peer.segment.put_command(slot, Command(1 + turn % 3, 1 + turn % 8, (1 + turn % 8) * PAGE))
            peer.put(slot)
            try:
                peer.ring()
                peer.answer()
            except (OSError, AssertionError):
                break  # it named a slot that is not there, and is out
            except Exception:  # noqa: BLE001, S112 - it read its own scribble
                continue
    finally:
        over.set()
        scribbler.join()
    assert host.read(0, 16) == noise(16)
    goes_on(host)


def test_a_full_bell_ends_the_lane(peer: Peer, host: Host) -> None:
    """The device cannot ring where the host has filled the counter, and does not wait."""
    os.eventfd_write(peer.completed, (1 << 64) - 2)
    peer.submit(0, Command(Operation.FLUSH, 0, 0))
    assert turned_out(peer.socket)
    goes_on(host)


def test_a_thread_stuck_on_a_full_bell_is_its_hosts_alone() -> None:
    """Both ends share the bell's flags: a host can make the device wait for it, in that host's lane only."""
    with bench_of() as bench:
        host = bench.attach()
        peer = Peer(bench.attach("peer"))
        os.eventfd_write(peer.completed, (1 << 64) - 2)
        os.set_blocking(peer.completed, True)
        for slot in range(8):
            peer.submit(slot, Command(Operation.FLUSH, 0, 0))
        goes_on(host)
        bench.service.runtime.changed.ring()
        peer.leave()
    # The service has ended, threads and all: `serve` would not return else.
    assert not [thread for thread in threading.enumerate() if thread.name == "cxldevd-lane"]


def test_an_emptied_bell_stops_nobody(peer: Peer, host: Host) -> None:
    """A host that reads its own strokes back has rung for nothing; the lane can still be ended."""
    os.set_blocking(peer.submitted, True)
    for _ in range(50):
        peer.ring()
        os.set_blocking(peer.submitted, False)
        with contextlib.suppress(BlockingIOError):  # the device was faster
            os.eventfd_read(peer.submitted)
        os.set_blocking(peer.submitted, True)
    goes_on(host)


def test_memory_cannot_be_taken_away(peer: Peer) -> None:
    """Sealed: neither end can make the other touch what is not there."""
    for size in (0, peer.geometry.segment_bytes + PAGE):
        with pytest.raises(PermissionError):
            os.ftruncate(peer.memory, size)


def test_a_hole_punched_in_the_memory_reads_as_zeros(peer: Peer, host: Host) -> None:
    """What a host can do to its memory, it does to its pages."""
    peer.segment.addresses[0][0] = 0
    peer.segment.data[0][:PAGE] = prose(1)
    peer.segment.put_command(0, Command(Operation.WRITE, 1, PAGE))
    peer.mapping.madvise(9, 0, peer.geometry.segment_bytes)  # MADV_REMOVE
    assert reason(peer, 0, peer.ask(0, Command(0, 0, 0))) == "INVALID_FIELD"
    goes_on(host)


# -- at the socket ------------------------------------------------------------------------------


@pytest.mark.parametrize("shown", [b"x", b"x" * 16, b"x" * 17, b"x" * 4000])
def test_a_wrong_token_is_turned_out(bench: Bench, shown: bytes) -> None:
    """Without a word."""
    with connect(bench) as peer:
        peer.send(shown)
        assert turned_out(peer)


def test_a_token_is_good_once(bench: Bench, host: Host) -> None:
    """The second who shows it is turned out."""
    shown = token(host)
    with connect(bench) as first, connect(bench) as second:
        first.send(shown)
        assert first.recv(64)
        second.send(shown)
        assert turned_out(second)


def test_a_token_gets_old(bench: Bench, host: Host) -> None:
    """After ten seconds it is good for nothing."""
    lasting = bench.attach("lasting", lease_ns=60_000_000_000)
    shown = token(lasting)
    bench.clock.advance(10_000_000_001)
    with connect(bench) as peer:
        peer.send(shown)
        assert turned_out(peer)


def test_garbage_descriptors_are_dropped(bench: Bench, host: Host) -> None:
    """With the token, and later on the lane: the kernel closes them, and the second ends the lane."""
    before = open_files()
    with connect(bench) as peer, socket.socket() as garbage:
        socket.send_fds(peer, [token(host)], [garbage.fileno()] * 50)
        _, descriptors, _, _ = socket.recv_fds(peer, 64, 8)
        for descriptor in descriptors:
            os.close(descriptor)
        socket.send_fds(peer, [b"more"], [garbage.fileno()] * 50)
        assert turned_out(peer)
    assert bench.service.door is not None
    assert bench.service.door.wait_lanes(0)
    assert open_files() <= before
    goes_on(host)


def test_silent_peers_do_not_keep_others_out(bench: Bench, host: Host) -> None:
    """Those who connect and say nothing are turned out when more come."""
    silent = [connect(bench) for _ in range(40)]
    with Peer(bench.attach("peer")) as peer:
        assert peer.ask(0, Command(Operation.FLUSH, 0, 0)).code == code_pb2.OK
    for each in silent:
        each.close()
    goes_on(host)


def test_descriptors_and_threads_do_not_leak(bench: Bench, host: Host) -> None:
    """Fifty lanes come and go, half of them in the middle of a command."""
    door = bench.service.door
    assert door is not None
    goes_on(host)
    before = open_files()
    for turn in range(50):
        peer = Peer(bench.attach("peer", take_over=turn > 0))
        if turn % 2:
            peer.segment.put_command(0, Command(Operation.READ, 64, 0))
            peer.put(0)
            peer.ring()
        peer.leave()
        assert door.wait_lanes(1), turn  # the one of `host`
    assert open_files() < before + 10  # gRPC opens and closes some of its own
    # One lane's, and some that are on their way out.
    assert sum(thread.name == "cxldevd-lane" for thread in threading.enumerate()) < 10
    goes_on(host)


def test_the_socket_is_its_users_own(bench: Bench) -> None:
    """Nobody else may connect."""
    assert Path(lane_socket(bench)).stat().st_mode & 0o777 == 0o600


def test_no_session_no_lane(bench: Bench, host: Host) -> None:
    """The call that gives tokens refuses as all others do."""
    ended = bench.attach("ended")
    ended.detach()
    assert refused(lambda: token(ended)).reason == "SESSION_ENDED"
    unknown = Host(bench, "x", "0" * 32, host.generation)
    assert refused(lambda: token(unknown)).reason == "UNKNOWN_SESSION"
