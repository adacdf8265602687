"""The metrics endpoint, and the page beside it: HTTP, or HTTPS where there are credentials.

A connection that stands still holds up nobody.
"""

from __future__ import annotations

import contextlib
import http.server
import socket
import socketserver
import threading
from collections import OrderedDict
from http import HTTPStatus
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from cxldevd.addresses import Address
from cxldevd.errors import Unauthenticated
from cxldevd.exposition import CONTENT_TYPE, as_text, compressed, takes_gzip
from cxldevd.identity.gate import bearer
from cxldevd.listener import BindError
from cxldevd.page.answers import HEADERS, Answer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from prometheus_client import CollectorRegistry

    from cxldevd.identity.tls import ServerTls
    from cxldevd.identity.tokens import TokenBook
    from cxldevd.page.answers import DevicePage

_MOST_CONNECTIONS: Final = 16
"""At one time. One more turns out the one that came first: a scrape takes milliseconds."""
_TIMEOUT_S: Final = 10.0
_METRICS: Final = "/metrics"
_WHAT_IS_HERE: Final = (
    "not here; what is: / (a page for people), /metrics, /status.json, /history.json?after=N"
)
_POLL_S: Final = 0.05
"""How long the end may take."""


class MetricsServer(socketserver.ThreadingMixIn, http.server.HTTPServer):
    """Serves one registry at `/metrics`, and the page.

    Args:
        address: where.
        registry: what.
        page: the page beside it.
        tls: speak TLS, and ask for a certificate if it has a CA.
        tokens: serve only who shows one of these.

    Raises:
        BindError: the address cannot be had.
    """

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128
    """Connections that nobody has taken up yet: beyond it the system lets peers try again, seconds later."""

    def __init__(
        self,
        address: Address,
        registry: CollectorRegistry,
        page: DevicePage,
        tls: ServerTls | None = None,
        tokens: TokenBook | None = None,
    ) -> None:
        self._tls = tls
        self._open: OrderedDict[socket.socket, None] = OrderedDict()
        self._open_lock = threading.Lock()
        try:
            address.check_free()
            where = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)[0]
            self.address_family = where[0]
            super().__init__((str(where[4][0]), address.port), _handler(registry, page, tokens))
        except OSError as error:
            raise BindError(f"metrics: cannot listen on {address}: {error.strerror or error}") from None
        self.address = str(Address(address.host, self.server_port))
        self._thread = threading.Thread(
            target=self.serve_forever, args=(_POLL_S,), name="cxldevd-metrics", daemon=True
        )

    def start(self) -> None:
        """Answer."""
        self._thread.start()

    def stop(self) -> None:
        """Answer no more."""
        self.shutdown()
        self._thread.join()
        self.server_close()

    # -- as socketserver calls it -------------------------------------------------------------------

    def process_request(self, request: Any, client_address: Any) -> None:
        """Make room for a new connection, and give it a thread."""
        with self._open_lock:
            if len(self._open) >= _MOST_CONNECTIONS:
                oldest, _ = self._open.popitem(last=False)
                with contextlib.suppress(OSError):  # it went away by itself
                    oldest.shutdown(socket.SHUT_RDWR)
            self._open[request] = None
        super().process_request(request, client_address)

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Handshake, if there is to be one, and answer: on the connection's own thread."""
        request.settimeout(_TIMEOUT_S)
        if self._tls is None:
            super().finish_request(request, client_address)
            return
        # Another socket object over a copy of the descriptor: the one that is known stays good for its end.
        with self._tls.context().wrap_socket(request.dup(), server_side=True) as secured:
            super().finish_request(secured, client_address)

    def shutdown_request(self, request: Any) -> None:
        """A connection's end."""
        with self._open_lock:
            self._open.pop(request, None)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A peer that hangs up, says nothing, or fails the handshake is no event."""


def _handler(
    registry: CollectorRegistry, page: DevicePage, tokens: TokenBook | None
) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        """Metrics and the page's figures, behind the question who asks; and the page."""

        timeout = _TIMEOUT_S

        def do_GET(self) -> None:
            """Answer, or ask for a token. The page's files say nothing of the device: they need none."""
            file = page.file(self.path)
            if file is not None:
                self._send(HTTPStatus.OK, file)
                return
            if tokens is not None:
                try:
                    bearer(tokens, [*self.headers.get_all("authorization", [])])
                except Unauthenticated as error:
                    self._say(HTTPStatus.UNAUTHORIZED, str(error))
                    return
            if urlsplit(self.path).path == _METRICS:
                self._send_metrics()
                return
            document = page.document(self.path)
            if document is not None:
                self._send(HTTPStatus.OK, document)
            else:
                self._say(HTTPStatus.NOT_FOUND, _WHAT_IS_HERE)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - http.server's name
            """Scrapes are no events."""

        def _send_metrics(self) -> None:
            text = as_text(registry.collect())
            headers = {"Vary": "Accept-Encoding"}
            if takes_gzip(self.headers.get("accept-encoding", "")):
                text = compressed(text)
                headers["Content-Encoding"] = "gzip"
            self._send(HTTPStatus.OK, Answer(CONTENT_TYPE, text), headers)

        def _say(self, status: HTTPStatus, line: str) -> None:
            self._send(status, Answer("text/plain; charset=utf-8", f"{line}\n".encode()))

        def _send(
            self, status: HTTPStatus, answer: Answer, headers: Mapping[str, str] = MappingProxyType({})
        ) -> None:
            self.send_response(status)
            if status is HTTPStatus.UNAUTHORIZED:
                self.send_header("WWW-Authenticate", "Bearer")
            for name, value in (*HEADERS.items(), *headers.items()):
                self.send_header(name, value)
            self.send_header("Content-Type", answer.content_type)
            self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            self.wfile.write(answer.body)

    return Handler
