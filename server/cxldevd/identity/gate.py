"""The gate that every call of a listener passes: who calls, and whether the request is the caller's to make.

One choke point, before any behaviour runs: a host's request either names the host that it is for
(Attach), or shows a session, which is one host's. Calls without either tell nothing that is anybody's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol, cast

from cramwire.v1 import device_pb2
from cxldevd import from_wire
from cxldevd.errors import NotAllowed, Unauthenticated

if TYPE_CHECKING:
    from collections.abc import Iterable

    import grpc

    from cxldevd.identity.tokens import TokenBook
    from cxldevd.session_hosts import SessionHosts

Names = frozenset[str]
"""All names that a caller may go by: the SANs of a certificate, or the one of a token."""

_KEY: Final = "authorization"
_SCHEME: Final = "bearer "
_SAN: Final = "x509_subject_alternative_name"
_TOLD_NAMES: Final = 4


class Callers(Protocol):
    """How the callers of one listener are known."""

    def names(self, context: grpc.ServicerContext) -> Names:
        """Who calls.

        Raises:
            Unauthenticated: nobody that is known.
        """
        ...

    def check_early(self, metadata: Iterable[tuple[str, str | bytes]]) -> None:
        """See, before the call takes a thread, whether it can be told already that nobody known calls.

        Raises:
            Unauthenticated: it can.
        """
        ...


class ByCertificate:
    """By the subject alternative names of the certificate. TLS itself turned away those without one."""

    def names(self, context: grpc.ServicerContext) -> Names:
        """See `Callers`."""
        # The stubs have the type wrong: each name has a list of bytes.
        shown = cast("dict[str, list[bytes]]", context.auth_context()).get(_SAN, ())
        if not shown:
            raise Unauthenticated(
                "the certificate has no subject alternative name: issue one whose SAN is the caller's name"
            )
        return frozenset(name.decode(errors="replace") for name in shown)

    def check_early(self, metadata: Iterable[tuple[str, str | bytes]]) -> None:
        """Nothing: the connection would not be there."""


class ByToken:
    """By the bearer token of each call."""

    def __init__(self, book: TokenBook) -> None:
        self._book = book

    def names(self, context: grpc.ServicerContext) -> Names:
        """See `Callers`."""
        return self._of(context.invocation_metadata())

    def check_early(self, metadata: Iterable[tuple[str, str | bytes]]) -> None:
        """See `Callers`."""
        self._of(metadata)

    def _of(self, metadata: Iterable[tuple[str, str | bytes]]) -> Names:
        return frozenset((bearer(self._book, [value for key, value in metadata if key == _KEY]),))


def bearer(book: TokenBook, authorizations: list[str | bytes]) -> str:
    """Whose token the `authorization` of a request holds.

    Raises:
        Unauthenticated: nobody's.
    """
    if not authorizations:
        raise Unauthenticated("no token was shown: send the metadata `authorization: Bearer TOKEN`")
    value = authorizations[0]
    if len(authorizations) > 1 or not isinstance(value, str) or not value.lower().startswith(_SCHEME):
        raise Unauthenticated("the authorization is not one `Bearer TOKEN`")
    name = book.name_of(value[len(_SCHEME) :].strip())
    if name is None:
        raise Unauthenticated("nobody has the token that was shown")
    return name


class Gate(Protocol):
    """What a listener's calls pass, in this order."""

    @property
    def callers(self) -> Callers:
        """How they are known."""
        ...

    def check(self, request: Any, context: grpc.ServicerContext) -> None:
        """Let a call pass, or not.

        Raises:
            Unauthenticated: nobody known calls.
            NotAllowed: somebody known, who may not do this.
            DeviceError: the session that it shows is none.
        """
        ...


class HostGate:
    """A host attaches as itself, and uses its own sessions."""

    def __init__(self, callers: Callers, hosts: SessionHosts) -> None:
        self.callers = callers
        self._hosts = hosts

    def check(self, request: Any, context: grpc.ServicerContext) -> None:
        """See `Gate`."""
        names = self.callers.names(context)
        if isinstance(request, device_pb2.AttachRequest):
            if request.host not in names:
                raise NotAllowed(
                    f"{_told(names)} may attach under its own name, not as {request.host[:80]!r}"
                )
        elif hasattr(request, "session"):
            host = self._hosts.name(from_wire.session(request))
            if host not in names:
                raise NotAllowed(f"the session is {host}'s, not {_told(names)}'s: attach to get one")


class OperatorGate:
    """Operators may do all that their listener offers."""

    def __init__(self, callers: Callers, allowed: Names) -> None:
        """`allowed`: by name; empty: everybody who is known."""
        self.callers = callers
        self._allowed = allowed

    def check(self, request: Any, context: grpc.ServicerContext) -> None:  # noqa: ARG002 - all may be asked
        """See `Gate`."""
        names = self.callers.names(context)
        if self._allowed and names.isdisjoint(self._allowed):
            raise NotAllowed(f"{_told(names)} is no operator of this device: --operator-names has others")


def _told(names: Names) -> str:
    """Some names, for a message: those travel in trailing metadata, which gRPC bounds."""
    shown = sorted(names)[:_TOLD_NAMES]
    return " or ".join(name[:80] for name in shown)
