"""Addresses to listen on: `HOST:PORT`, `[IPV6]:PORT`, `unix:PATH`."""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import os
import socket
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Final

MOST_PATH_BYTES: Final = 107
"""Of a unix socket: sun_path of sockaddr_un holds 108 bytes, the last of them zero."""


@dataclass(frozen=True, slots=True)
class Address:
    """A TCP address (port 0: any free one) or a unix socket's path."""

    host: str
    """Empty for a unix socket."""
    port: int
    path: str = ""

    def __str__(self) -> str:
        """As it is written on a command line, and as gRPC takes it."""
        if self.path:
            return f"unix:{self.path}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    @property
    def local(self) -> bool:
        """Whether only this machine can reach it. A name other than localhost is not looked up."""
        if self.path or self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    def check_free(self) -> None:
        """See whether one can listen here.

        gRPC takes over a unix socket that another process serves, and tells of a taken port on
        several lines of its own; this gives the system's reason instead.

        Raises:
            OSError: somebody listens here already, or the address is not this machine's.
        """
        if self.path:
            self._check_socket_free()
            return
        try:
            family, kind, protocol, _, where = socket.getaddrinfo(
                self.host, self.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )[0]
        except UnicodeError:  # a label that is empty or too long
            raise OSError(errno.EINVAL, "no machine can have this name") from None
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            # Not to listen: clients that seek a device which was restarted would connect to this.
            probe.bind(where)

    def _check_socket_free(self) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            try:
                probe.connect(self.path)
            except (ConnectionRefusedError, FileNotFoundError):
                pass  # nobody listens; gRPC removes what an earlier process left behind
            else:
                raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
        folder = Path(self.path).parent
        if not os.access(folder, os.W_OK):
            reason = errno.EACCES if folder.is_dir() else errno.ENOENT
            raise OSError(reason, f"{os.strerror(reason)}: {folder}")

    def remove_socket(self) -> None:
        """Take the unix socket's file away; nothing to do for TCP."""
        if self.path:
            path = Path(self.path)
            with contextlib.suppress(FileNotFoundError):
                if stat.S_ISSOCK(path.stat().st_mode):
                    path.unlink()


def parse_address(text: str) -> Address:
    """`127.0.0.1:7700`, `[::1]:0`, `unix:/run/cxldevd.sock`.

    Raises:
        ValueError: not an address.
    """
    if text.startswith("unix:"):
        path = text.removeprefix("unix:").removeprefix("//")
        if not path or len(os.fsencode(path)) > MOST_PATH_BYTES:
            raise ValueError(f"{text!r}: a unix socket's path has 1 to {MOST_PATH_BYTES} bytes")
        return Address("", 0, path)
    host, colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]") if host.startswith("[") else host
    if (
        not colon
        or not host
        or not port.isdecimal()
        or int(port) > 65535
        or (":" in host and "[" not in text)
    ):
        raise ValueError(f"{text!r} is not an address: write 127.0.0.1:7700, [::1]:0, unix:/run/cxldevd.sock")
    return Address(host, int(port))
