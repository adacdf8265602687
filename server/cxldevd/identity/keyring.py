"""All credentials of a service, read at its start, and what each listener makes of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc

from cxldevd.identity.files import CredentialsError
from cxldevd.identity.gate import ByCertificate, ByToken, HostGate, OperatorGate
from cxldevd.identity.tls import ServerTls
from cxldevd.identity.tokens import TokenBook

if TYPE_CHECKING:
    from cxldevd.addresses import Address
    from cxldevd.configuration import Settings
    from cxldevd.identity.credentials import Credentials
    from cxldevd.identity.gate import Callers
    from cxldevd.identity.tls import Material
    from cxldevd.session_hosts import SessionHosts


class Keyring:
    """The three listeners' credentials.

    Raises:
        CredentialsError: a file cannot be used, or hosts' credentials would open the operators' side.
    """

    def __init__(self, settings: Settings) -> None:
        identity = self._identity = settings.identity
        self._books = {
            side: TokenBook(given.tokens)
            for side, given in (
                ("host", identity.hosts),
                ("operator", identity.operators),
                ("metrics", identity.scrapers),
            )
            if given.tokens is not None
        }
        self.host_tls = self._tls(settings.listen, identity.hosts)
        self.operator_tls = self._tls(settings.operator, identity.operators)
        self.metrics_tls = self._tls(settings.metrics, identity.scrapers)
        self._check_apart()

    @property
    def metrics_tokens(self) -> TokenBook | None:
        """Those of Prometheus; None: nobody is asked for one."""
        return self._books.get("metrics")

    def host_gate(self, hosts: SessionHosts) -> HostGate | None:
        """What hosts' calls pass; None: all of them do."""
        callers = self._callers("host", self._identity.hosts)
        return None if callers is None else HostGate(callers, hosts)

    def operator_gate(self) -> OperatorGate | None:
        """What operators' calls pass; None: all of them do."""
        callers = self._callers("operator", self._identity.operators)
        return None if callers is None else OperatorGate(callers, frozenset(self._identity.operator_names))

    def _callers(self, side: str, credentials: Credentials) -> Callers | None:
        if credentials.ca is not None:
            return ByCertificate()
        book = self._books.get(side)
        return None if book is None else ByToken(book)

    def _tls(self, address: Address | None, credentials: Credentials) -> ServerTls | None:
        identity = self._identity
        if address is None or not identity.encrypts(address, credentials):
            return None
        assert identity.cert is not None
        assert identity.key is not None, "they go together"
        return ServerTls(identity.cert, identity.key, credentials.ca)

    def _check_apart(self) -> None:
        """What a host shows must be worth nothing at the operators' listener.

        Raises:
            CredentialsError: it is worth something.
        """
        identity = self._identity
        if identity.operators.ca is not None and self.host_tls is not None and self.operator_tls is not None:
            same = self.host_tls.current().ca == self.operator_tls.current().ca
            if same and not identity.operator_names:
                raise CredentialsError(
                    f"{identity.operators.ca}: is the hosts' CA, too, and hosts must not operate: give the "
                    "operators another, or name them with --operator-names"
                )
        for one, other in (("host", "operator"), ("host", "metrics"), ("metrics", "operator")):
            if one in self._books and other in self._books:
                book = self._books[one]
                if book.shares_a_token_with(self._books[other]):
                    raise CredentialsError(
                        f"{book.path}: has a token that is among --{other}-tokens, too; make another"
                    )


def server_credentials(tls: ServerTls) -> grpc.ServerCredentials:
    """For gRPC, which asks at every new connection whether there is something newer."""
    last = tls.current()

    def newer() -> grpc.ServerCertificateConfiguration | None:
        nonlocal last
        now = tls.current()
        if now is last:
            return None
        last = now
        return _configuration(now)

    return grpc.dynamic_ssl_server_credentials(
        _configuration(last),
        newer,  # type: ignore[arg-type]  # None is right where nothing is newer; the stubs do not know
        require_client_authentication=last.ca is not None,
    )


def _configuration(material: Material) -> grpc.ServerCertificateConfiguration:
    return grpc.ssl_server_certificate_configuration([(material.key, material.chain)], material.ca)
