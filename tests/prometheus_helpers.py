"""Real Prometheus and Alertmanager (Debian's), with the rules as shipped, or the same in less time."""

from __future__ import annotations

import json
import re
import shutil
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest
import yaml

from cramlab.processes import ManagedProcess

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Self

ROOT: Final = Path(__file__).parents[1]
RULES: Final = sorted((ROOT / "deploy" / "prometheus" / "rules").glob("*.yml"))
ALERTMANAGER: Final = ROOT / "deploy" / "alertmanager" / "alertmanager.yml"
DEADLINE_S: Final = 60.0
SCRAPE: Final = "1s"
"""A busy machine answers within this, else `up` would be 0."""

_SECONDS: Final = {"s": 1, "m": 60, "h": 3600}
_POLL_S: Final = 0.1
_TIMES: Final = re.compile(r"(?P<before>\[|for: )(?P<number>\d+)(?P<unit>[smh])(?P<after>\]|$)", re.MULTILINE)
_HORIZON: Final = re.compile(r"(predict_linear\([^,]+, )(\d+)\)")

needs_prometheus = pytest.mark.skipif(
    shutil.which("prometheus") is None, reason="prometheus is not installed: make tools"
)
needs_alertmanager = pytest.mark.skipif(
    shutil.which("prometheus-alertmanager") is None,
    reason="prometheus-alertmanager is not installed: make tools",
)


def faster(rules: str, times: int) -> str:
    """The same rules with every window, `for` and horizon so many times shorter."""

    def shorter(found: re.Match[str]) -> str:
        milliseconds = int(found["number"]) * _SECONDS[found["unit"]] * 1000 // times
        return f"{found['before']}{milliseconds}ms{found['after']}"

    return _HORIZON.sub(lambda found: f"{found[1]}{int(found[2]) / times:g})", _TIMES.sub(shorter, rules))


def _get(url: str) -> Any:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=10) as answer:
        body: bytes = answer.read()
    return json.loads(body) if body[:1] in b"{[" else body


def until(what: Callable[[], bool], process: ManagedProcess, said: str) -> None:
    """Look again and again until it is so."""
    end = time.monotonic() + DEADLINE_S
    waiting = threading.Event()
    while not what():
        assert process.running, f"{process.name} ended{process.log_tail()}"
        assert time.monotonic() < end, f"{said}: not within {DEADLINE_S:g} s{process.log_tail()}"
        waiting.wait(_POLL_S)


class _Daemon(ManagedProcess):
    """Serves HTTP at a port that it takes from the system, and tells in its log."""

    _said: Final = re.compile(r"(?:Listening on|Listening).*?address=(127\.0\.0\.1:\d+)")

    def __init__(self, folder: Path, name: str) -> None:
        super().__init__(folder, name, (), ready_file=False)
        self._options: tuple[str, ...] = ()

    @property
    def address(self) -> str:
        """HOST:PORT."""
        found = self._said.search(self.log_text())
        assert found is not None
        return found[1]

    def _command(self) -> Sequence[str]:
        return (self.name, *self._options)

    def __enter__(self) -> Self:
        super().__enter__()
        until(lambda: self._said.search(self.log_text()) is not None, self, "it listens")
        until(self._ready, self, "it is ready")
        return self

    def _ready(self) -> bool:
        try:
            _get(f"http://{self.address}/-/ready")
        except OSError:
            return False
        return True


@dataclass(frozen=True, slots=True)
class Notice:
    """One alert of one notification, as Alertmanager sent it."""

    name: str
    status: str
    labels: dict[str, str]
    starts_at: str


class Webhook:
    """Where Alertmanager sends: keeps every alert that it is told of, in order."""

    def __init__(self) -> None:
        self.notices: list[Notice] = []
        notices = self.notices

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                for one in body["alerts"]:
                    labels = one["labels"]
                    notices.append(Notice(labels["alertname"], one["status"], labels, one["startsAt"]))
                self.send_response(200)
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 -- the base class' name
                del format, args

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._server.server_port}/"

    def said(self, name: str, status: str) -> Notice | None:
        """The first notice of this alert with this status."""
        return next((one for one in self.notices if (one.name, one.status) == (name, status)), None)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class AlertmanagerServer(_Daemon):
    """The configuration as shipped, but sending to a webhook, and without patience."""

    def __init__(self, folder: Path, webhook: str) -> None:
        super().__init__(folder, "prometheus-alertmanager")
        shipped = yaml.safe_load(ALERTMANAGER.read_text())
        shipped["route"] |= {"group_wait": "0s", "group_interval": "200ms"}
        for receiver in shipped["receivers"]:
            receiver["webhook_configs"] = [{"url": webhook, "send_resolved": True}]
        path = folder / "alertmanager.yml"
        path.write_text(yaml.safe_dump(shipped))
        self._options = (
            f"--config.file={path}",
            f"--storage.path={folder / 'alertmanager'}",
            "--web.listen-address=127.0.0.1:0",
            "--cluster.listen-address=",
        )


class PrometheusServer(_Daemon):
    """Scrapes these targets once a second.

    Args:
        folder: for its data and files.
        jobs: addresses by job.
        faster_by: with the rules as shipped, so many times faster; 0: without rules.
        alertmanager: its address, if there is one.
    """

    def __init__(
        self, folder: Path, jobs: Mapping[str, Sequence[str]], *, faster_by: int = 0, alertmanager: str = ""
    ) -> None:
        super().__init__(folder, "prometheus")
        rules = folder / "rules"
        rules.mkdir()
        for path in RULES if faster_by else ():
            (rules / path.name).write_text(faster(path.read_text(), faster_by))
        configuration: dict[str, Any] = {
            "global": {"scrape_interval": SCRAPE, "scrape_timeout": SCRAPE, "evaluation_interval": "500ms"},
            "rule_files": [f"{rules}/*.yml"],
            "scrape_configs": [
                {"job_name": job, "static_configs": [{"targets": list(targets)}]}
                for job, targets in jobs.items()
            ],
        }
        if alertmanager:
            configuration["alerting"] = {"alertmanagers": [{"static_configs": [{"targets": [alertmanager]}]}]}
        path = folder / "prometheus.yml"
        path.write_text(yaml.safe_dump(configuration))
        self._options = (
            f"--config.file={path}",
            f"--storage.tsdb.path={folder / 'tsdb'}",
            "--web.listen-address=127.0.0.1:0",
            "--rules.alert.resend-delay=200ms",
        )

    def query(self, expression: str) -> list[dict[str, Any]]:
        """An instant query's samples: `metric` (labels) and `value` ([time, text])."""
        return self._ask("query", query=expression)

    def query_range(self, expression: str, since: float) -> list[dict[str, Any]]:
        """Its series from that time (as of the epoch) until now, a value a second: `metric` and `values`."""
        return self._ask("query_range", query=expression, start=since, end=time.time(), step=1)

    def _ask(self, what: str, **asked: float | str) -> list[dict[str, Any]]:
        try:
            answer = _get(f"http://{self.address}/api/v1/{what}?{urllib.parse.urlencode(asked)}")
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{asked['query']}: {error.read().decode()}") from error
        result: list[dict[str, Any]] = answer["data"]["result"]
        return result

    def firing(self) -> set[str]:
        """Names of the alerts that fire."""
        alerts = _get(f"http://{self.address}/api/v1/alerts")["data"]["alerts"]
        return {one["labels"]["alertname"] for one in alerts if one["state"] == "firing"}
