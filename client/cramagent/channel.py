"""Where a device is, and a gRPC channel to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cramwire import channel
from cramwire.channel import OPEN, ClientCredentials

if TYPE_CHECKING:
    import grpc


def device_target(address: str) -> str:
    """`HOST:PORT` or `unix:PATH` as gRPC wants it.

    Raises:
        ValueError: neither.
    """
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
