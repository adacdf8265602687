"""Which credentials the operator of the service gave: files by path. Nothing is read here."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from cxldevd.addresses import Address


@dataclass(frozen=True, slots=True)
class Credentials:
    """How the callers of one listener are known: by certificate, by token, or (neither) not at all."""

    ca: Path | None = None
    tokens: Path | None = None

    @property
    def given(self) -> bool:
        """Whether callers must show who they are."""
        return self.ca is not None or self.tokens is not None


@dataclass(frozen=True, slots=True)
class Identity:
    """The service's own certificate, and how the callers of its three listeners are known."""

    cert: Path | None = None
    key: Path | None = None
    hosts: Credentials = field(default_factory=Credentials)
    operators: Credentials = field(default_factory=Credentials)
    scrapers: Credentials = field(default_factory=Credentials)
    operator_names: tuple[str, ...] = ()
    """Operators by name; empty: whoever shows one of the operators' credentials."""

    def encrypts(self, address: Address, credentials: Credentials) -> bool:
        """Whether a listener speaks TLS.

        Where callers have credentials, and where other machines can reach it. A loopback listener
        without credentials stays plain and open, so that local tools need nothing.
        """
        return self.cert is not None and not address.path and (credentials.given or not address.local)

    def contradiction(
        self, listen: Address, operator: Address, metrics: Address | None, *, insecure: bool
    ) -> str:
        """What is wrong with all of this together, in one line; empty: nothing."""
        if (self.cert is None) != (self.key is None):
            return "--tls-cert and --tls-key go together: the certificate, and the private key to it"
        if self.operator_names and self.operators.ca is None:
            return "--operator-names are those of certificates: give --operator-ca"
        listeners = (
            ("host", listen, self.hosts),
            ("operator", operator, self.operators),
            ("metrics", metrics, self.scrapers),
        )
        for side, address, credentials in listeners:
            wrong = "" if address is None else self._wrong(side, address, credentials, insecure=insecure)
            if wrong:
                return wrong
        return ""

    def _wrong(self, side: str, address: Address, credentials: Credentials, *, insecure: bool) -> str:
        if credentials.ca is not None and credentials.tokens is not None:
            return f"--{side}-ca and --{side}-tokens: callers show one or the other, so give one of them"
        if credentials.ca is not None and address.path:
            return f"--{side}-ca: {address} is a unix socket, without certificates: give --{side}-tokens"
        if credentials.ca is not None and self.cert is None:
            return f"--{side}-ca asks for TLS: give --tls-cert and --tls-key"
        if address.local or insecure or (self.cert is not None and credentials.given):
            return ""
        return (
            f"{address} can be reached from other machines: give --tls-cert, --tls-key and --{side}-ca "
            f"(mutual TLS) or --{side}-tokens, or let everybody in with --insecure"
        )
