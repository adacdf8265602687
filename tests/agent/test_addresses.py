"""Which devices `--device` names."""

from __future__ import annotations

import socket

import pytest

from cramagent.addresses import DeviceAddress, find_devices, look_up
from cramagent.policy.settings import SettingError


def test_addresses_are_repeated_or_comma_separated() -> None:
    """In the order in which they were named."""
    given = ("127.0.0.1:1", "unix:/run/b.sock, device-c:3")
    assert [device.address for device in find_devices(given)] == [
        "127.0.0.1:1",
        "unix:/run/b.sock",
        "device-c:3",
    ]


@pytest.mark.parametrize("text", ["dns:///devices:7700", "dns:devices:7700"])
def test_a_name_stands_for_all_its_addresses(text: str) -> None:
    """Each once, in their own order; the certificate is checked for the name."""
    found = find_devices([text, "10.0.0.1:7700"], _three)
    assert found == [
        DeviceAddress("10.0.0.2:7700", "devices"),
        DeviceAddress("10.0.0.10:7700", "devices"),
        DeviceAddress("10.0.0.1:7700"),
    ]


def _three(name: str, port: int) -> list[str]:
    assert (name, port) == ("devices", 7700)
    return ["10.0.0.10", "10.0.0.2", "10.0.0.10"]


def test_addresses_of_the_sixth_version_are_bracketed() -> None:
    """As gRPC takes them."""
    (device,) = find_devices(["dns:///devices:7700"], lambda _name, _port: ["fd00::1"])
    assert device.address == "[fd00::1]:7700"


def _nobody(_name: str, _port: int) -> list[str]:
    raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")


@pytest.mark.parametrize(
    ("given", "why"),
    [
        (["nowhere"], "--device: 'nowhere' is not an address: write HOST:PORT or unix:"),
        (["unix:/" + "a" * 107], "a unix socket's path has 1 to 107 bytes"),
        (["127.0.0.1:1,"], "--device: '' is not an address"),
        (["127.0.0.1:1", "127.0.0.1:1"], "--device: 127.0.0.1:1 is there twice: one node for each device"),
        (
            ["dns:///gone:7700"],
            "--device: dns:///gone:7700: the name has no address: Name or service not known",
        ),
        (["dns:///devices"], "'dns:///devices' is not a name: write dns:///NAME:PORT"),
        (["dns://server/devices:7700"], "is not a name"),
        (["dns:///devices:70000"], "is not a name"),
        ([f"127.0.0.1:{port}" for port in range(1, 66)], "--device: 65 devices; a host has 64 at most"),
    ],
)
def test_what_cannot_be_is_one_line(given: list[str], why: str) -> None:
    """It names the address or the name."""
    with pytest.raises(SettingError) as refused:
        find_devices(given, _nobody)
    assert why in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_name_of_nothing_is_one_line() -> None:
    """A headless service whose devices are all away."""
    with pytest.raises(SettingError, match="the name has no address"):
        find_devices(["dns:///devices:7700"], lambda _name, _port: [])


def test_an_address_that_a_name_has_too_is_there_twice() -> None:
    """However it was named."""
    with pytest.raises(SettingError, match=r"10\.0\.0\.2:7700 is there twice"):
        find_devices(["dns:///devices:7700", "10.0.0.2:7700"], _three)


def test_the_systems_resolver_answers_in_one_family() -> None:
    """A device that listens in two would be two."""
    found = look_up("localhost", 7700)
    assert found
    assert len({":" in address for address in found}) == 1
