"""The service's end of TLS: certificate, key and the callers' CA, read again for new connections."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cxldevd.identity.files import CredentialsError, Reread

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True, eq=False)
class Material:
    """PEM, as it goes to a TLS library. Another one after every change of the files."""

    chain: bytes
    key: bytes
    ca: bytes | None
    """Whoever connects shows a certificate of this CA; None: nobody is asked."""


class ServerTls:
    """The files of one listener.

    Raises:
        CredentialsError: they cannot be used.
    """

    def __init__(self, cert: Path, key: Path, ca: Path | None) -> None:
        self._cert, self._key, self._ca = cert, key, ca
        files = [cert, key] if ca is None else [cert, key, ca]
        self._material = Reread(files, self._read)

    def current(self) -> Material:
        """What new connections are to use."""
        return self._material.current()

    def context(self) -> ssl.SSLContext:
        """The same for Python's own TLS.

        Raises:
            CredentialsError: the files cannot be used.
            OSError: they cannot be read.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        try:
            context.load_cert_chain(self._cert, self._key, password=_no_password)
        except ssl.SSLError as error:
            raise CredentialsError(f"{self._cert}, {self._key}: {_said(error)}") from None
        if self._ca is not None:
            try:
                context.load_verify_locations(self._ca)
            except ssl.SSLError as error:
                raise CredentialsError(f"{self._ca}: {_said(error)}") from None
            context.verify_mode = ssl.CERT_REQUIRED
        return context

    def _read(self) -> Material:
        # It says what is wrong with a file, and that a key is not the certificate's; gRPC says nothing.
        self.context()
        ca = None if self._ca is None else self._ca.read_bytes()
        return Material(self._cert.read_bytes(), self._key.read_bytes(), ca)


def _no_password() -> str:
    """A service has nobody to ask: a key that is encrypted is an error, not a prompt."""
    raise CredentialsError("the private key is encrypted: give one that is not")


def _said(error: ssl.SSLError) -> str:
    if error.reason == "KEY_VALUES_MISMATCH":
        return "the key is not that of the certificate"
    return f"is not in PEM, or broken ({error.reason or error})"
