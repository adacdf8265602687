"""Certificates, tokens, and calls of every method, as callers of all kinds make them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import grpc
import trustme
from google.protobuf import message_factory
from google.rpc import status_pb2

from cramwire.channel import ClientCredentials, open_channel
from cramwire.refusal import CODES, Refused, read_refusal, refusal_of
from cramwire.transfer_messages import take_answer
from cramwire.v1 import device_pb2, lane_pb2, memory_pb2, operator_pb2
from cxldevd.identity.credentials import Credentials, Identity
from server_helpers import DEADLINE_S, PAGE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from google.protobuf.descriptor import MethodDescriptor
    from google.protobuf.message import Message

HOST_SIDE = (device_pb2, memory_pb2, lane_pb2)
OPERATOR_SIDE = (operator_pb2,)
TOKENS = {name: f"{name}-0123456789abcdef" for name in ("host-a", "host-b", "ops", "prometheus", "stranger")}


def methods(modules: tuple[Any, ...]) -> list[MethodDescriptor]:
    """Every method of the services of these files: one that is new cannot be forgotten."""
    services = [one for module in modules for one in module.DESCRIPTOR.services_by_name.values()]
    return [method for service in services for method in service.methods]


def outcome(channel: grpc.Channel, method: MethodDescriptor, fields: dict[str, Any]) -> str:
    """How a call ends, of what is set in `fields` as far as its request has that: `passed`, or why not.

    What the device itself refuses (a fault without a kind, say) has passed the gate.
    """
    request: Message = message_factory.GetMessageClass(method.input_type)()
    # Of a stream, whose messages hold one of several commands: the first kind.
    filled = getattr(request, method.input_type.fields[0].name) if method.client_streaming else request
    for name, value in fields.items():
        if name in filled.DESCRIPTOR.fields_by_name:
            setattr(filled, name, value)
    path = f"/{method.containing_service.full_name}/{method.name}"
    make: Any = channel.unary_stream if method.server_streaming else channel.unary_unary
    if method.client_streaming:
        make = channel.stream_stream
    call: Any = make(path, lambda message: message.SerializeToString(), lambda answer: answer)
    try:
        answer = call(iter((request,)) if method.client_streaming else request, timeout=DEADLINE_S)
        if method.server_streaming:
            first = next(answer)
            answer.cancel()
            if method.client_streaming and isinstance(said := take_answer(first), status_pb2.Status):
                raise Refused(refusal_of(CODES[said.code], said.message, said))
    except grpc.RpcError as error:
        refusal = read_refusal(error)
        stopped = {"UNAUTHENTICATED", "PERMISSION_DENIED", "UNIMPLEMENTED", "UNAVAILABLE", "INTERNAL"}
        return (refusal.reason or refusal.code.name) if refusal.code.name in stopped else "passed"
    return "passed"


def attached(channel: grpc.Channel, host: str) -> dict[str, Any]:
    """A session of this host, as fields of a request; an earlier one is taken over."""
    path = "/cramwire.v1.DeviceService/Attach"
    serialize, parse = device_pb2.AttachRequest.SerializeToString, device_pb2.AttachResponse.FromString
    request = device_pb2.AttachRequest(host=host, logical_bytes=16 * PAGE, take_over=True)
    said: Any = channel.unary_unary(path, serialize, parse)(request, timeout=DEADLINE_S)
    return {"session": said.session, "generation": said.generation}


@dataclass(frozen=True)
class Party:
    """Files of one holder of a certificate."""

    cert: Path
    key: Path


class Pki:
    """A CA and its certificates, as files."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self._name = name
        self._ca = trustme.CA()
        self.ca = folder / f"{name}-ca.pem"
        self._ca.cert_pem.write_to_path(self.ca)

    def issue(self, *names: str, expired: bool = False, into: Party | None = None) -> Party:
        """A certificate with these names; `into`: in place of another one, as renewal tools do it."""
        ends = datetime(2001, 1, 1, tzinfo=UTC) if expired else None
        made = self._ca.issue_cert(*names, not_after=ends)
        stem = f"{self._name}-{names[0]}{'-expired' if expired else ''}"
        party = into or Party(self._folder / f"{stem}.pem", self._folder / f"{stem}.key")
        for path, blobs in ((party.cert, made.cert_chain_pems), (party.key, [made.private_key_pem])):
            rewritten(path, b"".join(blob.bytes() for blob in blobs).decode())
        return party


def token_file(folder: Path, name: str, *holders: str) -> Path:
    """A file of tokens for these names."""
    path = folder / name
    path.write_text("# who  what\n" + "".join(f"{holder} {TOKENS[holder]}\n" for holder in holders))
    return path


def by_certificates(hosts: Pki, operators: Pki, names: tuple[str, ...] = ()) -> Identity:
    """Mutual TLS on both sides."""
    own = hosts.issue("localhost", "127.0.0.1")
    return Identity(own.cert, own.key, Credentials(hosts.ca), Credentials(operators.ca), operator_names=names)


def by_tokens(folder: Path, pki: Pki) -> Identity:
    """TLS, and tokens on both sides."""
    own = pki.issue("localhost", "127.0.0.1")
    hosts = token_file(folder, "hosts", "host-a", "host-b")
    return Identity(
        own.cert,
        own.key,
        Credentials(tokens=hosts),
        Credentials(tokens=token_file(folder, "operators", "ops")),
    )


def channel_of(
    address: str, ca: Path | None = None, party: Party | None = None, token: str | None = None
) -> Iterator[grpc.Channel]:
    """A channel as the tools open it, closed at the end of the generator."""
    cert, key = (None, None) if party is None else (party.cert, party.key)
    shown = ClientCredentials(ca, cert, key, token=token)
    with open_channel(address, shown) as channel:
        yield channel


def rewritten(path: Path, text: str) -> None:
    """Put other text into a file, as tools do it: a new file in place of the old one."""
    fresh = path.with_suffix(".new")
    fresh.write_text(text)
    fresh.replace(path)
