"""Where lanes begin: a unix socket beside the gRPC one, tokens that open it once, and an end for every lane.

The door's one thread never waits for a peer: whoever connects and says nothing, or says something
else than a token, is turned out when others come.
"""

from __future__ import annotations

import os
import secrets
import selectors
import socket
import threading
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cramwire.lane import SOCKET_SUFFIX, TOKEN_BYTES, Geometry
from cramwire.request_id import lane_name
from cxldev.errors import DeviceError
from cxldevd.addresses import Address
from cxldevd.errors import DeviceBusy
from cxldevd.lanes.lane import Lane
from cxldevd.listener import BindError
from cxldevd.log import log_event
from cxldevd.waiting import CallerGone

if TYPE_CHECKING:
    from cxldev.outcomes import SessionRef
    from cxldevd.lanes.commands import LaneCommands
    from cxldevd.runtime import Runtime
    from cxldevd.waiting import Caller

SLOTS: Final = 8
"""Commands under way on one lane."""
_TOKEN_NS: Final = 10_000_000_000
_MOST_TOKENS: Final = 64
_MOST_GREETING: Final = 16
"""Peers that are connected and have not shown a token. One more turns out the one that came first."""
_BACKLOG: Final = 128
_END_S: Final = 5.0
_UNSTICK_S: Final = 0.1
_RETRY_S: Final = 0.1
"""How long nobody is let in where there are no descriptors."""


@dataclass(frozen=True, slots=True)
class _Ticket:
    """What a token is good for."""

    ref: SessionRef
    until_ns: int


class Door:
    """All lanes of a service. `open_lane` may be called by any thread."""

    def __init__(self, runtime: Runtime, commands: LaneCommands, beside: Address, most_lanes: int) -> None:
        """`beside`: the unix address that gRPC listens on."""
        self._runtime = runtime
        self._commands = commands
        self._address = Address("", 0, beside.path + SOCKET_SUFFIX)
        self._most_lanes = most_lanes
        config = runtime.config
        self._geometry = Geometry(SLOTS, config.max_pages_per_request, config.max_ranges_per_trim)
        self._lock = threading.Lock()
        self._fewer = threading.Condition(self._lock)
        self._tokens: OrderedDict[bytes, _Ticket] = OrderedDict()
        self._lanes: set[Lane] = set()
        self._greeting: OrderedDict[socket.socket, None] = OrderedDict()
        self._ending = threading.Event()
        self._waiting = threading.Thread(target=self._receive, name="cxldevd-lane-door", daemon=True)
        self._watching = threading.Thread(target=self._watch_sessions, name="cxldevd-lane-watch", daemon=True)

    @property
    def socket_name(self) -> str:
        """File name of the lane's socket."""
        return Path(self._address.path).name

    @property
    def lanes(self) -> int:
        """Lanes that are open, or not quite closed."""
        return len(self._lanes)

    def wait_lanes(self, count: int, timeout_s: float = 30.0) -> bool:
        """Wait until there are so few lanes. Returns whether there are."""
        with self._fewer:
            return self._fewer.wait_for(lambda: len(self._lanes) <= count, timeout_s)

    # -- life -----------------------------------------------------------------------------------

    def bind(self) -> None:
        """Take the address; only this user may connect.

        Raises:
            BindError: it cannot be had.
        """
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            self._address.check_free()
            self._address.remove_socket()
            # Linux gives the file the mode of the socket: there is no moment in which others may connect.
            os.fchmod(listening.fileno(), 0o600)
            listening.bind(self._address.path)
            listening.listen(_BACKLOG)
            listening.setblocking(False)
        except OSError as error:
            listening.close()
            raise BindError(f"cannot listen on {self._address}: {error.strerror or error}") from None
        self._listening = listening
        self._wake_up, self._wake = socket.socketpair()

    def start(self) -> None:
        """Let hosts in."""
        self._waiting.start()
        self._watching.start()

    def stop(self) -> None:
        """Close all lanes and the socket. Calls under way are let go."""
        if self._ending.is_set() or not self._waiting.ident:
            return
        self._ending.set()
        self._wake.send(b"x")
        self._runtime.changed.ring()
        self._waiting.join()
        self._watching.join()
        for lane in self._known():
            lane.close("the service ends")
        for lane in self._known():
            left = int(_END_S / _UNSTICK_S)
            while not lane.wait_ended(_UNSTICK_S) and left:
                lane.unstick()
                left -= 1
        for each in (self._listening, self._wake_up, self._wake, *self._greeting):
            each.close()
        self._address.remove_socket()

    # -- opening --------------------------------------------------------------------------------

    def open_lane(self, ref: SessionRef, caller: Caller) -> bytes:
        """A token for one lane of a session, whose earlier lane and tokens are void from now on.

        When this returns, no command of the earlier lane changes anything any more.

        Raises:
            DeviceError: there is no such session.
            DeviceBusy: there are as many lanes as there may be.
            CallerGone: nobody waits for the token: a later one may be in use already.
        """
        self._runtime.refuse_if_draining()
        with self._runtime.device() as (device, now_ns):
            device.host_of(ref, now_ns)
        token = secrets.token_bytes(TOKEN_BYTES)
        with self._lock:
            if not self._has_room(ref):
                raise DeviceBusy(f"all {self._most_lanes} lanes are taken; use gRPC or try again later")
            if not caller.is_active():
                raise CallerGone
            for void in [one for one, ticket in self._tokens.items() if ticket.ref == ref]:
                del self._tokens[void]
            before = [lane for lane in self._lanes if lane.ref == ref]
        for lane in before:
            lane.close("its session asked for another lane")
        if before:
            # A command looks whether its lane is closed, and changes what it changes, in one go under this
            # lock. Those that found it open have done so; the others will find it closed.
            with self._runtime.device():
                pass
        with self._lock:
            self._tokens[token] = _Ticket(ref, now_ns + _TOKEN_NS)
            if len(self._tokens) > _MOST_TOKENS:
                self._tokens.popitem(last=False)
        return token

    def _has_room(self, ref: SessionRef) -> bool:
        """Whether this session may have a lane: a new one takes the place of its old one. Needs the lock."""
        return len(self._lanes) < self._most_lanes or any(lane.ref == ref for lane in self._lanes)

    def _receive(self) -> None:
        with selectors.DefaultSelector() as selector:
            for each in (self._listening, self._wake_up):
                selector.register(each, selectors.EVENT_READ)
            while not self._ending.is_set():
                for key, _ in selector.select():
                    peer = key.fileobj
                    assert isinstance(peer, socket.socket)
                    if peer is self._listening:
                        self._let_in(selector)
                    elif peer in self._greeting:
                        selector.unregister(peer)
                        del self._greeting[peer]
                        self._greet(peer)

    def _let_in(self, selector: selectors.BaseSelector) -> None:
        try:
            peer, _ = self._listening.accept()
        except BlockingIOError:  # it went away again
            return
        except OSError:  # no descriptors are left
            self._turn_out_oldest(selector)
            self._ending.wait(_RETRY_S)
            return
        if len(self._greeting) >= _MOST_GREETING:
            self._turn_out_oldest(selector)
        self._greeting[peer] = None
        selector.register(peer, selectors.EVENT_READ)

    def _turn_out_oldest(self, selector: selectors.BaseSelector) -> None:
        if self._greeting:
            oldest, _ = self._greeting.popitem(last=False)
            selector.unregister(oldest)
            oldest.close()

    def _greet(self, peer: socket.socket) -> None:
        """Take the token and hand over the lane. Descriptors that a peer sends are dropped by the kernel."""
        try:
            shown = peer.recv(2 * TOKEN_BYTES, socket.MSG_DONTWAIT)
        except OSError:
            shown = b""
        made: Lane | None = None
        failed: OSError | None = None
        # In one go: its host may ask for the next lane, and others for theirs, as soon as it has this one.
        with self._lock:
            ticket = self._tokens.pop(shown, None)
            before = [lane for lane in self._lanes if ticket is not None and lane.ref == ticket.ref]
            due = ticket is not None and ticket.until_ns >= self._runtime.clock.now_ns()
            if ticket is not None and due and self._has_room(ticket.ref):
                try:
                    made = self._made(ticket.ref, peer, shown)
                except OSError as error:
                    failed = error
        if failed is not None:
            log_event("lane_failed", reason=failed.strerror or str(failed))
            return
        if made is None:
            peer.close()
            return
        for lane in before:
            lane.close("its session has another lane")
        made.start()
        log_event("lane_opened", lane=made.name, lanes=self.lanes, generation=made.ref.generation)
        # The session may have ended since its token was given, and nobody would tell.
        self._check(made)

    def _made(self, ref: SessionRef, peer: socket.socket, token: bytes) -> Lane:
        """A lane, handed to the peer, not started. Needs the lock. Raises OSError: the socket is closed."""
        made = Lane(ref, peer, self._geometry, self._commands, self._forget, name=lane_name(token))
        self._lanes.add(made)
        return made

    # -- ending ---------------------------------------------------------------------------------

    def _watch_sessions(self) -> None:
        """Close the lanes of sessions that have ended. What ends a session is an event, and rings."""
        changed = self._runtime.changed
        while not self._ending.is_set():
            seen = changed.strokes
            for lane in self._known():
                self._check(lane)
            changed.wait(seen)

    def _check(self, lane: Lane) -> None:
        try:
            with self._runtime.device() as (device, now_ns):
                device.host_of(lane.ref, now_ns)
        except DeviceError:
            lane.close("its session is over")
        if lane.closed:
            lane.unstick()

    def _known(self) -> list[Lane]:
        with self._lock:
            return list(self._lanes)

    def _forget(self, lane: Lane) -> None:
        with self._fewer:
            self._lanes.discard(lane)
            self._fewer.notify_all()
