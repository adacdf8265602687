"""Where a device is, and a gRPC channel to it."""

from __future__ import annotations

import grpc

from cramwire.transport import CHANNEL_OPTIONS


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


def open_channel(address: str) -> grpc.Channel:
    """A channel to a device; nothing is sent yet.

    Raises:
        ValueError: not an address.
    """
    return grpc.insecure_channel(device_target(address), options=CHANNEL_OPTIONS)
