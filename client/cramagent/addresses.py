"""Which devices `--device` names: addresses, and names that stand for many.

`HOST:PORT` and `unix:PATH` are one device each: gRPC looks the name of a HOST up whenever it connects. Of
`dns:///NAME:PORT` every address that the name has is a device: it is looked up once, when the run begins.
"""

from __future__ import annotations

import ipaddress
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

from cramagent.channel import device_target
from cramagent.policy.settings import MOST_NODES, SettingError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    IpAddress: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
    LookUp: TypeAlias = Callable[[str, int], Sequence[str]]
    """(name, port) -> IP addresses, of one family. Raises OSError."""

_MANY: Final = "dns:"


@dataclass(frozen=True, slots=True)
class DeviceAddress:
    """One device."""

    address: str
    """`HOST:PORT` or `unix:PATH`."""
    name: str | None = None
    """The name that it was found by: what its certificate is checked for, if nothing else is asked for."""


def look_up(name: str, port: int) -> list[str]:
    """All IP addresses of a name, as the system's resolver has them: of the family that it puts first.

    A device behind two families would be two devices.

    Raises:
        OSError: it has none.
    """
    found = socket.getaddrinfo(name, port, type=socket.SOCK_STREAM)
    family = found[0][0]
    return [str(place[0]) for each, _, _, _, place in found if each is family]


def find_devices(given: Sequence[str], look_up: LookUp = look_up) -> list[DeviceAddress]:
    """The devices in the order in which they were named; those of one name by their addresses.

    Raises:
        SettingError: no address, one that is there twice, a name that has none, or too many.
    """
    texts = [text.strip() for each in given for text in each.split(",")]
    devices: list[DeviceAddress] = []
    for text in texts:
        devices += _many(text, look_up) if text.startswith(_MANY) else [_one(text)]
    seen: set[str] = set()
    for device in devices:
        if device.address in seen:
            raise SettingError(f"--device: {device.address} is there twice: one node for each device")
        seen.add(device.address)
    if len(devices) > MOST_NODES:
        raise SettingError(f"--device: {len(devices)} devices; a host has {MOST_NODES} at most")
    return devices


def _one(text: str) -> DeviceAddress:
    try:
        return DeviceAddress(device_target(text))
    except ValueError as error:
        raise SettingError(f"--device: {error}; dns:///NAME:PORT: all devices behind a name") from error


def _many(text: str, look_up: LookUp) -> Iterator[DeviceAddress]:
    name, _, port = text.removeprefix(_MANY).removeprefix("///").rpartition(":")
    if not name or "/" in name or not port.isdecimal() or not 0 < int(port) < 65_536:
        raise SettingError(f"--device: {text!r} is not a name: write dns:///NAME:PORT")
    try:
        found = sorted({ipaddress.ip_address(each) for each in look_up(name, int(port))}, key=int)
    except (OSError, ValueError, UnicodeError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise SettingError(f"--device: {text}: the name has no address: {why}") from error
    if not found:
        raise SettingError(f"--device: {text}: the name has no address")
    for each in found:
        host = f"[{each}]" if each.version == 6 else str(each)
        yield DeviceAddress(f"{host}:{port}", name)
