"""The table of who may do what: every call of every service, from outside, by every kind of caller."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from cxldevd.addresses import Address
from cxldevd.identity.credentials import Credentials, Identity
from identity_helpers import (
    HOST_SIDE,
    OPERATOR_SIDE,
    TOKENS,
    Pki,
    attached,
    by_certificates,
    by_tokens,
    channel_of,
    methods,
    outcome,
    token_file,
)
from server_helpers import bench_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import grpc

    from server_helpers import Bench

PASSED = "passed"
NO_LANES = "UNIMPLEMENTED"
"""LaneService is served on unix sockets only."""
OPEN_TO_ALL_KNOWN = {"Identify"}
"""What is nobody's: calls that name neither a host nor a session."""


class World:
    """A service with identities, and a channel for each kind of caller, to each listener."""

    def __init__(self, bench: Bench, callers: dict[str, dict[str, Any]], stack: ExitStack) -> None:
        self.bench = bench
        self._callers = callers
        self._stack = stack

    def channel(self, caller: str, address: str) -> grpc.Channel:
        """To one of the listeners."""
        opened = contextmanager(channel_of)(address, **self._callers[caller])
        return self._stack.enter_context(opened)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Mutual TLS, with a CA for hosts and another one for operators."""
    folder = tmp_path_factory.mktemp("pki")
    hosts, operators, foreign = Pki(folder, "hosts"), Pki(folder, "operators"), Pki(folder, "foreign")
    callers: dict[str, dict[str, Any]] = {
        "host-a": {"ca": hosts.ca, "party": hosts.issue("host-a")},
        "host-b": {"ca": hosts.ca, "party": hosts.issue("host-b", "host-c")},
        "ops": {"ca": hosts.ca, "party": operators.issue("ops")},
        "nobody": {"ca": hosts.ca},
        "stranger": {"ca": hosts.ca, "party": foreign.issue("host-a")},
        "expired": {"ca": hosts.ca, "party": hosts.issue("host-a", expired=True)},
    }
    with (
        bench_of(settings={"identity": by_certificates(hosts, operators)}) as bench,
        ExitStack() as stack,
    ):
        yield World(bench, callers, stack)


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """TLS, and a token for each."""
    folder = tmp_path_factory.mktemp("tokens")
    pki = Pki(folder, "device")
    callers: dict[str, dict[str, Any]] = {
        name: {"ca": pki.ca, "token": TOKENS[name]} for name in ("host-a", "host-b", "ops", "stranger")
    }
    callers["nobody"] = {"ca": pki.ca}
    with bench_of(settings={"identity": by_tokens(folder, pki)}) as bench, ExitStack() as stack:
        yield World(bench, callers, stack)


def host_side(world: World, caller: str) -> dict[str, str]:
    """What becomes of each call of the host side, about host-a and with its session, by this caller."""
    address = world.bench.service.address
    owner, channel = world.channel("host-a", address), world.channel(caller, address)
    found = {}
    for method in methods(HOST_SIDE):
        fields = {
            "host": "host-a",
            "logical_bytes": 16 * 4096,
            "take_over": True,
            **attached(owner, "host-a"),
        }
        found[method.name] = outcome(channel, method, fields)
    return found


def operator_side(world: World, caller: str) -> dict[str, str]:
    """What becomes of each call of the operator's side."""
    channel = world.channel(caller, world.bench.service.operator_address)
    return {method.name: outcome(channel, method, {"host": "host-a"}) for method in methods(OPERATOR_SIDE)}


def expected(side: tuple[Any, ...], told: str, known: str = "") -> dict[str, str]:
    """One row of the table: the same for every call, except those that are nobody's."""
    row = {}
    for method in methods(side):
        row[method.name] = known if known and method.name in OPEN_TO_ALL_KNOWN else told
        if method.containing_service.name == "LaneService" and row[method.name] != "UNAVAILABLE":
            row[method.name] = NO_LANES
    return row


#  caller     | host side: about host-a   | nobody's calls | operator's side
BY_CERTIFICATE = [
    ("host-a", PASSED, PASSED, "UNAVAILABLE"),
    ("host-b", "NOT_ALLOWED", PASSED, "UNAVAILABLE"),
    ("ops", "UNAVAILABLE", "UNAVAILABLE", PASSED),
    ("nobody", "UNAVAILABLE", "UNAVAILABLE", "UNAVAILABLE"),
    ("stranger", "UNAVAILABLE", "UNAVAILABLE", "UNAVAILABLE"),
    ("expired", "UNAVAILABLE", "UNAVAILABLE", "UNAVAILABLE"),
]
"""UNAVAILABLE: TLS itself hangs up, there is no connection to refuse a call on."""
BY_TOKEN = [
    ("host-a", PASSED, PASSED, "UNAUTHENTICATED"),
    ("host-b", "NOT_ALLOWED", PASSED, "UNAUTHENTICATED"),
    ("ops", "UNAUTHENTICATED", "UNAUTHENTICATED", PASSED),
    ("nobody", "UNAUTHENTICATED", "UNAUTHENTICATED", "UNAUTHENTICATED"),
    ("stranger", "UNAUTHENTICATED", "UNAUTHENTICATED", "UNAUTHENTICATED"),
]


@pytest.mark.parametrize(("caller", "own", "open_calls", "operating"), BY_CERTIFICATE)
def test_by_certificate(certificates: World, caller: str, own: str, open_calls: str, operating: str) -> None:
    """Every call of both sides."""
    assert host_side(certificates, caller) == expected(HOST_SIDE, own, open_calls)
    assert operator_side(certificates, caller) == expected(OPERATOR_SIDE, operating)


@pytest.mark.parametrize(("caller", "own", "open_calls", "operating"), BY_TOKEN)
def test_by_token(tokens: World, caller: str, own: str, open_calls: str, operating: str) -> None:
    """Every call of both sides."""
    assert host_side(tokens, caller) == expected(HOST_SIDE, own, open_calls)
    assert operator_side(tokens, caller) == expected(OPERATOR_SIDE, operating)


def test_neither_side_serves_the_others_calls(certificates: World) -> None:
    """Whoever calls: there is no such service at this address."""
    service = certificates.bench.service
    to_hosts = certificates.channel("host-a", service.address)
    assert {outcome(to_hosts, one, {}) for one in methods(OPERATOR_SIDE)} == {"UNIMPLEMENTED"}
    to_operators = certificates.channel("ops", service.operator_address)
    assert {outcome(to_operators, one, {}) for one in methods(HOST_SIDE)} == {"UNIMPLEMENTED"}


def test_a_certificate_of_two_names_is_two_hosts(certificates: World) -> None:
    """Each SAN may attach, and uses the sessions of both."""
    channel = certificates.channel("host-b", certificates.bench.service.address)
    renew = next(one for one in methods(HOST_SIDE) if one.name == "Renew")
    for name in ("host-b", "host-c"):
        assert outcome(channel, renew, attached(channel, name)) == PASSED


def test_one_ca_for_all_needs_the_operators_names(tmp_path: Path) -> None:
    """Then a host's certificate is known there, and refused; the operator's is a host of its own name."""
    pki = Pki(tmp_path, "all")
    callers = {name: {"ca": pki.ca, "party": pki.issue(name)} for name in ("host-a", "ops")}
    identity = by_certificates(pki, pki, ("ops", "admin"))
    with bench_of(settings={"identity": identity}) as bench, ExitStack() as stack:
        world = World(bench, callers, stack)
        assert operator_side(world, "ops") == expected(OPERATOR_SIDE, PASSED)
        assert operator_side(world, "host-a") == expected(OPERATOR_SIDE, "NOT_ALLOWED")
        assert host_side(world, "ops") == expected(HOST_SIDE, "NOT_ALLOWED", PASSED)


def test_on_a_unix_socket_tokens_guard_the_lane_too(tmp_path: Path) -> None:
    """A lane is one session's, and OpenLane passes the same gate."""
    identity = Identity(hosts=Credentials(tokens=token_file(tmp_path, "hosts", "host-a", "host-b")))
    listen = Address("", 0, str(tmp_path / "s"))
    with bench_of(settings={"identity": identity, "listen": listen}) as bench, ExitStack() as stack:
        world = World(bench, {name: {"token": TOKENS[name]} for name in TOKENS}, stack)
        (open_lane,) = [one for one in methods(HOST_SIDE) if one.name == "OpenLane"]
        owner = world.channel("host-a", bench.service.address)
        fields = attached(owner, "host-a")
        told = {
            name: outcome(world.channel(name, bench.service.address), open_lane, fields) for name in TOKENS
        }
    assert told == {
        "host-a": PASSED,
        "host-b": "NOT_ALLOWED",
        "ops": "UNAUTHENTICATED",
        "prometheus": "UNAUTHENTICATED",
        "stranger": "UNAUTHENTICATED",
    }
