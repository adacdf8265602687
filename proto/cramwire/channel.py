"""How a client reaches a listener: plain, by TLS, with its certificate or its token.

Secrets come from files or from the environment; nothing here takes one from a command line.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import grpc

from cramwire.transport import CHANNEL_OPTIONS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    _UnaryUnary = grpc.UnaryUnaryClientInterceptor[Any, Any]
    _UnaryStream = grpc.UnaryStreamClientInterceptor[Any, Any]
    _StreamStream = grpc.StreamStreamClientInterceptor[Any, Any]
else:
    # Generic in their stubs only.
    _UnaryUnary, _UnaryStream = grpc.UnaryUnaryClientInterceptor, grpc.UnaryStreamClientInterceptor
    _StreamStream = grpc.StreamStreamClientInterceptor

_AUTHORIZATION: Final = "authorization"
_LOCAL: Final = ("unix:", "127.", "localhost:", "[::1]:")


class CredentialsProblem(Exception):
    """Credentials that cannot be used. One line for people; never a secret in it."""


@dataclass(frozen=True, slots=True)
class ClientCredentials:
    """What a client was given to show, and to check the device by. Nothing: plain, and open."""

    ca: Path | None = None
    """The CA of the device's certificate. Given, TLS is spoken."""
    cert: Path | None = None
    """Our certificate chain, for mutual TLS, PEM; with `key`."""
    key: Path | None = None
    server_name: str | None = None
    """The name in the device's certificate, where it is not the one of the address."""
    token_file: Path | None = None
    """Read again when it changes, so a token can be replaced under a client that runs."""
    token: str | None = field(default=None, repr=False)
    """The token itself, from the environment."""

    def check(self, address: str) -> None:
        """See whether they fit together and the address.

        Raises:
            CredentialsProblem: they do not.
        """
        if (self.cert is None) != (self.key is None):
            raise CredentialsProblem("--tls-cert and --tls-key go together")
        if self.ca is None and (self.cert is not None or self.server_name is not None):
            raise CredentialsProblem(
                "--tls-cert and --tls-name need --tls-ca: the CA of the device's certificate"
            )
        if self.ca is not None and address.startswith("unix:"):
            raise CredentialsProblem(f"{address} is a unix socket, which has no TLS: leave --tls-ca out")
        shows_token = self.token_file is not None or self.token is not None
        if shows_token and self.ca is None and not address.startswith(_LOCAL):
            raise CredentialsProblem(f"a token would go to {address} in the clear: give --tls-ca")


OPEN: Final = ClientCredentials()


def open_channel(address: str, credentials: ClientCredentials = OPEN) -> grpc.Channel:
    """A channel; nothing is sent yet.

    Raises:
        CredentialsProblem: a file cannot be read, or the credentials do not fit together.
    """
    credentials.check(address)
    if credentials.ca is None:
        channel = grpc.insecure_channel(address, options=CHANNEL_OPTIONS)
    else:
        options: list[tuple[str, Any]] = list(CHANNEL_OPTIONS)
        if credentials.server_name is not None:
            options.append(("grpc.ssl_target_name_override", credentials.server_name))
        shown = grpc.ssl_channel_credentials(
            _bytes(credentials.ca),
            None if credentials.key is None else _bytes(credentials.key),
            None if credentials.cert is None else _bytes(credentials.cert),
        )
        channel = grpc.secure_channel(address, shown, options=options)
    token = _token_of(credentials)
    return channel if token is None else grpc.intercept_channel(channel, _ShowToken(token))


def _token_of(credentials: ClientCredentials) -> Callable[[], str] | None:
    if credentials.token_file is not None:
        return _TokenFile(credentials.token_file).current
    if credentials.token is None:
        return None
    token = _checked(credentials.token, "the environment")
    return lambda: token


class _TokenFile:
    """A token in a file. While that cannot be read, the token that it had holds."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._token = _checked(_bytes(path).decode(errors="replace"), str(path))
        self._stamp = self._look()

    def current(self) -> str:
        """The token as it stands there now."""
        try:
            stamp = self._look()
            if stamp != self._stamp:
                self._token = _checked(self._path.read_text(errors="replace"), str(self._path))
                self._stamp = stamp
        except (OSError, CredentialsProblem):
            pass
        return self._token

    def _look(self) -> tuple[int, int]:
        stat = self._path.stat()
        return stat.st_ino, stat.st_mtime_ns


def _checked(text: str, where: str) -> str:
    token = text.strip()
    if not token or not token.isascii() or not token.isprintable() or len(token.split()) != 1:
        raise CredentialsProblem(f"{where} holds no token: one word of ASCII characters")
    return token


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CredentialsProblem(f"{path}: {error.strerror}") from None


class _Details(NamedTuple):
    """A call's, as gRPC wants them of an interceptor."""

    method: str
    timeout: float | None
    metadata: list[tuple[str, str | bytes]]
    credentials: grpc.CallCredentials | None
    wait_for_ready: bool | None
    compression: grpc.Compression | None


class _ShowToken(_UnaryUnary, _UnaryStream, _StreamStream):
    """Adds the token to every call."""

    def __init__(self, token: Callable[[], str]) -> None:
        self._token = token

    def intercept_unary_unary(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        """A call with one answer."""
        return continuation(self._with_token(client_call_details), request)

    def intercept_unary_stream(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        """A call that is answered by a stream."""
        return continuation(self._with_token(client_call_details), request)

    def intercept_stream_stream(
        self, continuation: Any, client_call_details: Any, request_iterator: Any
    ) -> Any:
        """A call of streams both ways."""
        return continuation(self._with_token(client_call_details), request_iterator)

    def _with_token(self, of: Any) -> Any:
        metadata = [*(of.metadata or ()), (_AUTHORIZATION, f"Bearer {self._token()}")]
        return _Details(of.method, of.timeout, metadata, of.credentials, of.wait_for_ready, of.compression)
