"""A client for NBD, as small as one can be: it is to cost nbdkit's figures as little as possible.

Newstyle handshake, simple replies, any number of requests outstanding, all of one size; requests that
can leave together leave in one system call. https://github.com/NetworkBlockDevice/nbd/blob/master/doc/proto.md
"""

from __future__ import annotations

import socket
import struct
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from typing import Self

_MAGIC: Final = b"NBDMAGIC"
_OPTION_MAGIC: Final = b"IHAVEOPT"
_FIXED_NEWSTYLE, _NO_ZEROES = 1, 2
_EXPORT_NAME: Final = 1
_REQUEST: Final = struct.Struct(">IHHQQI")
_REPLY: Final = struct.Struct(">IIQ")
_REQUEST_MAGIC, _REPLY_MAGIC = 0x25609513, 0x67446698
_READ, _WRITE, _DISCONNECT = 0, 1, 2
_TIMEOUT_S: Final = 60


class NbdError(Exception):
    """The server said no, or does not speak the protocol."""


class NbdClient:
    """One connection to the default export of a server on a unix socket.

    Raises:
        NbdError: it is no such server, or a request failed.
        OSError: nobody serves there.
    """

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        # Not settimeout: that costs a poll before every call.
        timeout = struct.pack("@ll", _TIMEOUT_S, 0)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, timeout)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, timeout)
        try:
            self._socket.connect(str(path))
            self._shake_hands()
        except BaseException:
            self._socket.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._socket.sendall(_REQUEST.pack(_REQUEST_MAGIC, 0, _DISCONNECT, 0, 0, 0))
        finally:
            self._socket.close()

    def write(self, offsets: Sequence[int], data: memoryview, size: int, outstanding: int) -> None:
        """Write piece i of `data`, `size` bytes each, to `offsets[i]`; at most so many at one time."""
        reply = memoryview(bytearray(_REPLY.size * outstanding))
        held = sent = done = 0
        while done < len(offsets):
            parts: list[bytes | memoryview] = []
            while sent < len(offsets) and sent - done < outstanding:
                parts.append(_REQUEST.pack(_REQUEST_MAGIC, 0, _WRITE, sent, offsets[sent], size))
                parts.append(data[sent * size : (sent + 1) * size])
                sent += 1
            if parts:
                self._send(parts)
            held += self._receive(reply[held:])
            whole = held // _REPLY.size
            for index in range(whole):
                self._check(reply[index * _REPLY.size : (index + 1) * _REPLY.size])
            done += whole
            rest = held - whole * _REPLY.size
            reply[:rest] = reply[whole * _REPLY.size : held]
            held = rest

    def read(self, offsets: Sequence[int], into: memoryview, size: int, outstanding: int) -> None:
        """Read `size` bytes from each of `offsets` into piece i of `into`; at most so many at one time."""
        header = memoryview(bytearray(_REPLY.size))
        sent = done = 0
        while done < len(offsets):
            parts: list[bytes | memoryview] = []
            while sent < len(offsets) and sent - done < outstanding:
                parts.append(_REQUEST.pack(_REQUEST_MAGIC, 0, _READ, sent, offsets[sent], size))
                sent += 1
            if parts:
                self._send(parts)
            self._receive_all(header)
            piece = self._check(header)
            self._receive_all(into[piece * size : (piece + 1) * size])
            done += 1

    def _check(self, reply: memoryview) -> int:
        """The number of the request that this answers."""
        magic, error, number = _REPLY.unpack(reply)
        if magic != _REPLY_MAGIC:
            raise NbdError("the answer is not one of NBD's")
        if error:
            raise NbdError(f"the server answered error {error}")
        return int(number)

    def _send(self, parts: list[bytes | memoryview]) -> None:
        """All of it, in as few system calls as the socket's buffer allows."""
        left = sum(len(part) for part in parts)
        sent = self._socket.sendmsg(parts)
        if sent < left:
            self._socket.sendall(b"".join(parts)[sent:])

    def _receive(self, into: memoryview) -> int:
        count = self._socket.recv_into(into)
        if not count:
            raise NbdError("the server closed the connection")
        return count

    def _receive_all(self, into: memoryview) -> None:
        at = 0
        while at < len(into):
            at += self._receive(into[at:])

    def _shake_hands(self) -> None:
        greeting = memoryview(bytearray(18))
        self._receive_all(greeting)
        if bytes(greeting[:16]) != _MAGIC + _OPTION_MAGIC:
            raise NbdError("this is not an NBD server of the newstyle kind")
        flags = int.from_bytes(greeting[16:], "big") & (_FIXED_NEWSTYLE | _NO_ZEROES)
        self._socket.sendall(flags.to_bytes(4, "big") + _OPTION_MAGIC + struct.pack(">II", _EXPORT_NAME, 0))
        # Size and flags of the export; 124 zeros behind them where nobody declined those.
        self._receive_all(memoryview(bytearray(10 if flags & _NO_ZEROES else 134)))
