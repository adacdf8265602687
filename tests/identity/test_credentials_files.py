"""Files of tokens and certificates: what is wrong with them and how it is told, and what renewal does."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from cramwire.channel import ClientCredentials, CredentialsProblem, open_channel
from cxldevd.addresses import Address
from cxldevd.configuration import Settings
from cxldevd.errors import Unauthenticated
from cxldevd.identity.credentials import Credentials, Identity
from cxldevd.identity.files import CredentialsError
from cxldevd.identity.gate import ByCertificate, ByToken
from cxldevd.identity.keyring import Keyring
from cxldevd.identity.tls import ServerTls
from cxldevd.identity.tokens import TokenBook
from cxldevd.settings import SettingsError
from identity_helpers import (
    HOST_SIDE,
    TOKENS,
    Party,
    Pki,
    by_certificates,
    by_tokens,
    channel_of,
    methods,
    outcome,
    rewritten,
    token_file,
)
from server_helpers import ANY_PORT, DEADLINE_S, bench_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ANYWHERE = Address("0.0.0.0", 0)  # noqa: S104 - nothing listens there
IDENTIFY = next(one for one in methods(HOST_SIDE) if one.name == "Identify")


def asked(address: str, **caller: Any) -> str:
    """What becomes of one Identify over a connection of its own."""
    with contextmanager(channel_of)(address, **caller) as channel:
        return outcome(channel, IDENTIFY, {})


# -- tokens -----------------------------------------------------------------------------------------


def test_tokens_are_read_and_read_again(tmp_path: Path) -> None:
    """Two for one name while one is replaced by the other; a broken file changes nothing."""
    path = token_file(tmp_path, "tokens", "host-a")
    book = TokenBook(path)
    assert book.name_of(TOKENS["host-a"]) == "host-a"
    assert book.name_of(TOKENS["host-b"]) is None
    rewritten(path, f"host-a {TOKENS['host-a']}  # until Friday\n\nhost-a {TOKENS['host-b']}\n")
    assert [book.name_of(TOKENS[one]) for one in ("host-a", "host-b")] == ["host-a", "host-a"]
    rewritten(path, "host-a\n")
    assert book.name_of(TOKENS["host-b"]) == "host-a"
    path.unlink()
    assert book.name_of(TOKENS["host-b"]) == "host-a"
    rewritten(path, f"host-b {TOKENS['host-b']}\n")
    assert [book.name_of(TOKENS[one]) for one in ("host-a", "host-b")] == [None, "host-b"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "has no token"),
        ("# nobody yet\n", "has no token"),
        ("host-a\n", ":1: is not NAME TOKEN"),
        (f"\nhost-a {TOKENS['host-a']} more\n", ":2: is not NAME TOKEN"),
        ("host-a short\n", ":1: a token has 16 or more ASCII characters"),
        (f"host-a {TOKENS['host-a']}\nhost-b {TOKENS['host-a']}\n", ":2: host-b has the token of host-a"),
    ],
)
def test_what_is_wrong_with_a_token_file(text: str, told: str, tmp_path: Path) -> None:
    """The line is told, the token is not."""
    path = tmp_path / "tokens"
    path.write_text(text)
    with pytest.raises(CredentialsError) as caught:
        TokenBook(path)
    assert told in str(caught.value)
    assert "0123456789" not in str(caught.value)


@pytest.mark.parametrize(
    ("metadata", "told"),
    [
        ([], "no token was shown"),
        ([("authorization", "Basic abc")], "not one `Bearer TOKEN`"),
        ([("authorization", f"Bearer {TOKENS['host-a']}")] * 2, "not one `Bearer TOKEN`"),
        ([("authorization", "Bearer ")], "nobody has the token"),
        ([("authorization", f"Bearer {TOKENS['stranger']}")], "nobody has the token"),
    ],
)
def test_what_is_no_token(metadata: list[tuple[str, str]], told: str, tmp_path: Path) -> None:
    """Each is told what it is."""
    callers = ByToken(TokenBook(token_file(tmp_path, "tokens", "host-a")))
    with pytest.raises(Unauthenticated, match=told):
        callers.check_early(metadata)


def test_a_certificate_without_a_name_is_nobodys() -> None:
    """Its subject is not asked: a SAN is what CAs check."""

    class Context:
        def auth_context(self) -> dict[str, list[bytes]]:
            return {"x509_common_name": [b"host-a"]}

    context: Any = Context()
    with pytest.raises(Unauthenticated, match="no subject alternative name"):
        ByCertificate().names(context)


# -- certificates -----------------------------------------------------------------------------------


def test_certificates_are_renewed_without_a_restart(tmp_path: Path) -> None:
    """Old connections live on; new ones get the new certificate, and are judged by the new CA."""
    old, new, operators = Pki(tmp_path, "old"), Pki(tmp_path, "new"), Pki(tmp_path, "operators")
    identity = by_certificates(old, operators)
    before, after = old.issue("host-a"), new.issue("host-a")
    assert identity.cert is not None
    assert identity.key is not None
    with bench_of(settings={"identity": identity}) as bench:
        address = bench.service.address
        with contextmanager(channel_of)(address, ca=old.ca, party=before) as lasting:
            assert outcome(lasting, IDENTIFY, {}) == "passed"
            new.issue("localhost", "127.0.0.1", into=Party(identity.cert, identity.key))
            rewritten(old.ca, new.ca.read_text())
            assert outcome(lasting, IDENTIFY, {}) == "passed"
        assert asked(address, ca=new.ca, party=after) == "passed"
        assert asked(address, ca=new.ca, party=before) == "UNAVAILABLE"


def test_half_of_a_renewed_pair_changes_nothing(tmp_path: Path) -> None:
    """The certificate is there, its key is not yet."""
    pki = Pki(tmp_path, "pki")
    own, other = pki.issue("localhost"), pki.issue("other")
    tls = ServerTls(own.cert, own.key, None)
    before = tls.current()
    key = own.key.read_text()
    rewritten(own.cert, other.cert.read_text())
    assert tls.current() is before
    rewritten(own.key, other.key.read_text())
    renewed = tls.current()
    assert renewed.chain == other.cert.read_bytes()
    rewritten(own.key, key)
    assert tls.current() is renewed


def test_what_is_wrong_with_certificates(tmp_path: Path) -> None:
    """The file, and what it is."""
    pki = Pki(tmp_path, "pki")
    one, other = pki.issue("localhost"), pki.issue("other")
    garbage = tmp_path / "garbage.pem"
    garbage.write_text("not a certificate")
    wrong: list[tuple[Callable[[], Any], str]] = [
        (lambda: ServerTls(one.cert, other.key, None), "the key is not that of the certificate"),
        (lambda: ServerTls(garbage, one.key, None), r"garbage.pem, .*: is not in PEM, or broken"),
        (lambda: ServerTls(one.cert, one.key, garbage), r"garbage.pem: is not in PEM, or broken"),
        (lambda: ServerTls(tmp_path / "none.pem", one.key, None), r"none.pem: No such file or directory"),
        (lambda: ServerTls(one.cert, one.key, tmp_path / "none"), r"none: No such file or directory"),
    ]
    for make, told in wrong:
        with pytest.raises(CredentialsError, match=told):
            make()


# -- all of it together -----------------------------------------------------------------------------


def test_what_contradicts_itself_is_refused(tmp_path: Path) -> None:
    """Each with what to give instead."""
    cert, key, ca, tokens = (tmp_path / name for name in ("cert", "key", "ca", "tokens"))
    unix = Address("", 0, "/run/x")
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"identity": Identity(cert)}, "--tls-cert and --tls-key go together"),
        ({"identity": Identity(hosts=Credentials(ca))}, "--host-ca asks for TLS"),
        ({"identity": Identity(cert, key, Credentials(ca, tokens))}, "give one of them"),
        ({"identity": Identity(cert, key, Credentials(ca)), "listen": unix}, "is a unix socket"),
        ({"identity": Identity(operator_names=("ops",))}, "give --operator-ca"),
        ({"identity": Identity(cert, key), "listen": ANYWHERE}, "--host-ca .mutual TLS. or --host-tokens"),
        ({"identity": Identity(hosts=Credentials(tokens=tokens)), "listen": ANYWHERE}, "give --tls-cert"),
        ({"operator": ANYWHERE}, "--operator-ca .mutual TLS. or --operator-tokens, or .* --insecure"),
        ({"metrics": ANYWHERE}, "--metrics-ca .mutual TLS. or --metrics-tokens, or .* --insecure"),
    ]
    for settings, told in wrong:
        with pytest.raises(SettingsError, match=told):
            Settings(**settings)
    Settings(identity=Identity(cert, key, Credentials(ca)), listen=ANYWHERE)
    Settings(identity=Identity(cert, key, Credentials(tokens=tokens)), listen=ANYWHERE)


def test_hosts_credentials_must_not_operate(tmp_path: Path) -> None:
    """One CA for both sides, or one token in two files, would let hosts arm faults."""
    pki = Pki(tmp_path, "all")
    with pytest.raises(CredentialsError, match=r"is the hosts' CA, too.*--operator-names"):
        Keyring(_settings(by_certificates(pki, pki)))
    Keyring(_settings(by_certificates(pki, pki, ("ops",))))
    identity = by_tokens(tmp_path, pki)
    token_file(tmp_path, "operators", "ops", "host-b")
    with pytest.raises(CredentialsError, match="has a token that is among --operator-tokens"):
        Keyring(_settings(identity))


def test_loopback_without_credentials_stays_plain(tmp_path: Path) -> None:
    """A certificate for hosts alone: the operator's local tools need nothing."""
    pki = Pki(tmp_path, "pki")
    own = pki.issue("127.0.0.1")
    with bench_of(settings={"identity": Identity(own.cert, own.key, Credentials(pki.ca))}) as bench:
        assert bench.status().identity.model
        assert asked(bench.service.address) == "UNAVAILABLE"
        assert asked(bench.service.address, ca=pki.ca, party=pki.issue("x")) == "passed"


def test_what_a_client_cannot_show(tmp_path: Path) -> None:
    """Told before anything is sent; a token does not leave this machine in the clear."""
    pki = Pki(tmp_path, "pki")
    party, tokens = pki.issue("host-a"), tmp_path / "token"
    tokens.write_text("two words\n")
    wrong = [
        (ClientCredentials(pki.ca, cert=party.cert), "127.0.0.1:1", "go together"),
        (ClientCredentials(cert=party.cert, key=party.key), "127.0.0.1:1", "need --tls-ca"),
        (ClientCredentials(pki.ca), "unix:/run/x", "has no TLS"),
        (ClientCredentials(token="x" * 20), "10.0.0.1:7700", "in the clear"),
        (ClientCredentials(token_file=tokens), "127.0.0.1:1", "holds no token"),
        (ClientCredentials(token=""), "127.0.0.1:1", "the environment holds no token"),
        (ClientCredentials(tmp_path / "none"), "127.0.0.1:1", "none: No such file"),
    ]
    for shown, address, told in wrong:
        with pytest.raises(CredentialsProblem, match=told):
            open_channel(address, shown)
    assert "x" * 20 not in repr(ClientCredentials(token="x" * 20))


def test_a_client_takes_up_a_new_token(tmp_path: Path) -> None:
    """From its file, at the next call; a file that is gone for a moment changes nothing."""
    pki, mine = Pki(tmp_path, "pki"), tmp_path / "token"
    mine.write_text(TOKENS["host-a"] + "\n")
    with (
        bench_of(settings={"identity": by_tokens(tmp_path, pki)}) as bench,
        open_channel(bench.service.address, ClientCredentials(pki.ca, token_file=mine)) as channel,
    ):
        assert outcome(channel, IDENTIFY, {}) == "passed"
        rewritten(tmp_path / "hosts", f"host-a {'n' * 20}\n")
        assert outcome(channel, IDENTIFY, {}) == "UNAUTHENTICATED"
        mine.unlink()
        assert outcome(channel, IDENTIFY, {}) == "UNAUTHENTICATED"
        rewritten(mine, "n" * 20)
        assert outcome(channel, IDENTIFY, {}) == "passed"


def test_a_caller_without_a_token_takes_no_thread(tmp_path: Path) -> None:
    """It is turned away before its request is waited for, and counted."""
    pki = Pki(tmp_path, "pki")
    with bench_of(settings={"identity": by_tokens(tmp_path, pki)}) as bench:
        path = "/cramwire.v1.MemoryService/Write"
        with contextmanager(channel_of)(bench.service.address, ca=pki.ca) as channel:
            sent = threading.Event()
            never = (b"" for _ in (1,) if sent.wait(DEADLINE_S))
            as_it_is: Any = bytes
            call: Any = channel.stream_unary(path, as_it_is, as_it_is).future(never, timeout=DEADLINE_S)
            assert call.code() is grpc.StatusCode.UNAUTHENTICATED
            sent.set()
        assert bench.service._requests.refused_by_error()[Unauthenticated] == 1


def _settings(identity: Identity) -> Settings:
    return Settings(identity=identity, listen=ANY_PORT, operator=ANY_PORT, metrics=None)
