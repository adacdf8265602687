"""Where a device is, and a gRPC channel to it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from cramwire import channel
from cramwire.channel import OPEN, ClientCredentials

if TYPE_CHECKING:
    import grpc

_LONGEST_PATH: Final = 107
"""Bytes of a unix socket's path, without the zero behind it: Linux has no room for more."""


def device_target(address: str) -> str:
    """`HOST:PORT` or `unix:PATH` as gRPC wants it.

    Raises:
        ValueError: neither.
    """
    if len(os.fsencode(address.removeprefix("unix:"))) > _LONGEST_PATH and address.startswith("unix:"):
        raise ValueError(f"{address!r}: a unix socket's path has 1 to {_LONGEST_PATH} bytes")
    if address.startswith("unix:") and len(address) > len("unix:"):
        return address
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65_536:
        raise ValueError(f"{address!r} is not an address: write HOST:PORT or unix:/path/to/socket")
    return address


def open_channel(address: str, credentials: ClientCredentials = OPEN) -> grpc.Channel:
    """A channel to a device; nothing is sent yet.

    Raises:
        ValueError: not an address.
        CredentialsProblem: credentials that cannot be used.
    """
    return channel.open_channel(device_target(address), credentials)
