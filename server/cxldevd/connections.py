"""The connections under the calls: how one is closed in the middle of a call, as a cable that is pulled does.

gRPC has no way to close one connection of a server. But its sockets are this process' own: they are found
by where they lead, and shut down in the kernel. gRPC then sees what it would see of a peer that went away,
and so does the host: UNAVAILABLE for every call of that connection.
"""

from __future__ import annotations

import contextlib
import ipaddress
import logging
import os
import socket
from abc import abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol, runtime_checkable
from urllib.parse import unquote

from cxldevd.log import log_event

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cxldevd.waiting import Caller

_DESCRIPTORS: Final = Path("/proc/self/fd")


@runtime_checkable
class _HangsUp(Protocol):
    """A caller that has a connection of its own."""

    @abstractmethod
    def hang_up(self, why: str) -> None:
        """Close it."""


class Connections:
    """Of the hosts' listener."""

    def __init__(self, unix_path: str) -> None:
        """`unix_path`: where the listener is, if that is a unix socket; else empty."""
        self._unix_path = unix_path

    def hang_up(self, caller: Caller, why: str) -> int:
        """Close the connection that a call came on. How many were closed.

        A lane and a TCP connection are closed alone. Of a unix socket gRPC does not tell on which
        connection a call came: all of the listener's are closed.
        """
        if isinstance(caller, _HangsUp):
            caller.hang_up(why)
            return 1
        context: Any = caller
        peer: str = context.peer()
        closed = 0
        for each in _sockets():
            if self._leads_to(each, peer):
                with contextlib.suppress(OSError):  # it went away by itself
                    each.shutdown(socket.SHUT_RDWR)
                    closed += 1
        log_event("connection_dropped", level=logging.DEBUG, peer=peer, closed=closed, why=why)
        return closed

    def _leads_to(self, each: socket.socket, peer: str) -> bool:
        try:
            if each.family == socket.AF_UNIX:
                each.getpeername()  # one that listens has no peer
                return peer.startswith("unix:") and each.getsockname() == self._unix_path != ""
            host, port, *_ = each.getpeername()
        except OSError:
            return False
        return _endpoint(host, port) == _tcp_endpoint(peer)


def _sockets() -> Iterator[socket.socket]:
    """All sockets of this process, each as a copy that cannot become another file meanwhile."""
    for entry in _DESCRIPTORS.iterdir():
        try:
            copy = os.dup(int(entry.name))
        except OSError:  # closed since
            continue
        try:
            each = socket.socket(fileno=copy)
        except OSError:  # no socket
            os.close(copy)
            continue
        with each:
            if each.type == socket.SOCK_STREAM:
                yield each


def _tcp_endpoint(peer: str) -> tuple[str, int] | None:
    """`ipv4:127.0.0.1:50508` or `ipv6:%5B::1%5D:50508`, as gRPC names a peer. None: not TCP."""
    family, _, rest = unquote(peer).partition(":")
    if family not in {"ipv4", "ipv6"}:
        return None
    host, _, port = rest.rpartition(":")
    return _endpoint(host.strip("[]"), int(port))


def _endpoint(host: str, port: int) -> tuple[str, int]:
    """The same words for the same endpoint: a listener for both families names IPv4 peers in IPv6."""
    address = ipaddress.ip_address(host)
    mapped = getattr(address, "ipv4_mapped", None)
    return str(mapped or address), port
