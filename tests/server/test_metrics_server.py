"""The metrics endpoint with and without credentials, and with peers that stand still."""

from __future__ import annotations

import socket
import ssl
import urllib.error
import urllib.request
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import pytest
from prometheus_client import CollectorRegistry, Gauge

from cxldev.config import DeviceConfig
from cxldevd.clock import ManualClock
from cxldevd.identity.tls import ServerTls
from cxldevd.identity.tokens import TokenBook
from cxldevd.ids import Ids
from cxldevd.listener import BindError
from cxldevd.metrics_server import MetricsServer
from cxldevd.page.answers import DevicePage
from cxldevd.page.recorder import Recorder
from cxldevd.runtime import Runtime
from identity_helpers import TOKENS, Party, Pki, token_file
from server_helpers import ANY_PORT, DEADLINE_S

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def page() -> DevicePage:
    """The page of a device that nobody uses."""
    config = DeviceConfig(physical_capacity_bytes=1 << 20)
    return DevicePage(Recorder(Runtime(config, ManualClock(), Ids(0))))


@contextmanager
def serving(tls: ServerTls | None = None, tokens: TokenBook | None = None) -> Iterator[MetricsServer]:
    """A server with one gauge."""
    registry = CollectorRegistry()
    Gauge("answer", "To everything.", registry=registry).set(42)
    server = MetricsServer(ANY_PORT, registry, page(), tls, tokens)
    server.start()
    try:
        yield server
    finally:
        server.stop()


def get(url: str, context: ssl.SSLContext | None = None, *, authorization: str = "") -> str:
    """What it answers."""
    headers = {"Authorization": authorization} if authorization else {}
    request = urllib.request.Request(url, headers=headers)  # noqa: S310 - our own address
    with urllib.request.urlopen(request, timeout=DEADLINE_S, context=context) as answer:  # noqa: S310
        text: str = answer.read().decode()
    return text


def client(ca: Path, party: Party | None = None) -> ssl.SSLContext:
    """TLS as Prometheus would be set up."""
    context = ssl.create_default_context(cafile=str(ca))
    if party is not None:
        context.load_cert_chain(party.cert, party.key)
    return context


def test_without_credentials_everybody_is_answered() -> None:
    """As on loopback."""
    with serving() as server:
        assert "answer 42.0" in get(f"http://{server.address}/metrics")


def test_a_token_is_asked_for(tmp_path: Path) -> None:
    """401 says what is missing."""
    with serving(tokens=TokenBook(token_file(tmp_path, "tokens", "prometheus"))) as server:
        url = f"http://{server.address}/metrics"
        assert "answer" in get(url, authorization=f"Bearer {TOKENS['prometheus']}")
        for wrong in ("", f"Bearer {TOKENS['host-a']}", "Basic abc"):
            with pytest.raises(urllib.error.HTTPError, match="401") as refused:
                get(url, authorization=wrong)
            assert "answer" not in refused.value.read().decode()
            refused.value.close()


def test_the_pages_files_need_no_token_and_its_figures_do(tmp_path: Path) -> None:
    """A browser can ask for the token only if it gets the page that asks."""
    with serving(tokens=TokenBook(token_file(tmp_path, "tokens", "prometheus"))) as server:
        url = f"http://{server.address}"
        for open_to_all in ("/", "/page/page.js", "/page/page.css"):
            assert get(url + open_to_all)
        for asked in ("/status.json", "/history.json", "/nonesuch"):
            with pytest.raises(urllib.error.HTTPError, match="401") as refused:
                get(url + asked)
            refused.value.close()
        assert "generation" in get(f"{url}/status.json", authorization=f"Bearer {TOKENS['prometheus']}")


def test_what_is_not_here_is_told() -> None:
    """404, and what there is; no path leads out of the page's folder."""
    with serving() as server:
        for path in ("/nonesuch", "/page/", "/page/index.html", "/page/../answers.py"):
            with pytest.raises(urllib.error.HTTPError, match="404") as refused:
                get(f"http://{server.address}{path}")
            assert "/status.json" in refused.value.read().decode()
            refused.value.close()


def test_mutual_tls_and_renewed_certificates(tmp_path: Path) -> None:
    """A scraper without a certificate of the CA gets no word; another CA's server certificate is taken up."""
    pki, other = Pki(tmp_path, "old"), Pki(tmp_path, "new")
    own = pki.issue("127.0.0.1")
    prometheus = pki.issue("prometheus")
    with serving(ServerTls(own.cert, own.key, pki.ca)) as server:
        url = f"https://{server.address}/metrics"
        assert "answer" in get(url, client(pki.ca, prometheus))
        with pytest.raises((urllib.error.URLError, OSError)):
            get(url, client(pki.ca))
        with pytest.raises(urllib.error.URLError):
            get(url, client(other.ca, prometheus))
        other.issue("127.0.0.1", into=own)
        assert "answer" in get(url, client(other.ca, prometheus))


def test_peers_that_say_nothing_hold_up_nobody(tmp_path: Path) -> None:
    """Neither before the handshake nor after: as many as there is room for, and more."""
    own = Pki(tmp_path, "pki").issue("127.0.0.1")
    for tls in (None, ServerTls(own.cert, own.key, None)):
        with serving(tls) as server, ExitStack() as stack:
            host, _, port = server.address.rpartition(":")
            for _ in range(40):
                stack.enter_context(socket.create_connection((host, int(port)))).sendall(b"GET /")
            if tls is None:
                assert "answer" in get(f"http://{server.address}/metrics")
            else:
                assert "answer" in get(f"https://{server.address}/metrics", client(tmp_path / "pki-ca.pem"))


def test_a_taken_address_is_told() -> None:
    """In one line."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        wanted = type(ANY_PORT)("127.0.0.1", port)
        with pytest.raises(BindError, match=f"metrics: cannot listen on 127.0.0.1:{port}: Address already"):
            MetricsServer(wanted, CollectorRegistry(), page())
