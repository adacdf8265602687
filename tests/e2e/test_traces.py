"""Spans of real processes, sent to a real port: the agent's and the device's are of one trace."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from cramlab.processes import AgentProcess, DeviceProcess, script
from otlp_collector import collecting

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


pytestmark = pytest.mark.e2e

JSON = ("--log-format", "json")
LOAD = (
    *("--pages", "600", "--dram", "20%", "--duration", "3s", "--write-share", "0.2"),
    *("--interval", "200ms", "--frees", "0.05", *JSON),
)


def run_traced(
    folder: Path, endpoint: str = "", *, listen: str = "127.0.0.1:0", more: Sequence[str] = ()
) -> AgentProcess:
    """An agent and a device that ran to their ends, and told a collector of it."""
    traced = ("--otlp-endpoint", endpoint) if endpoint else ()
    with DeviceProcess(folder, physical="16MiB", args=("--listen", listen, *JSON, *traced)) as device:
        args = (*LOAD, *traced, *more)
        agent = AgentProcess(folder, device.address, "synthetic", args=args).start()
        assert agent.wait(60) == 0, agent.log_tail()
        assert device.terminate() == 0
    return agent


@pytest.mark.parametrize("transport", ["calls", "lane"])
def test_both_ends_tell_of_one_trace(tmp_path: Path, transport: str) -> None:
    """What the agent decides, its call, and what the device makes of it; whatever way that came."""
    listen = f"unix:{tmp_path}/s" if transport == "lane" else "127.0.0.1:0"
    more = ("--transport", "grpc" if transport == "calls" else transport)
    with collecting() as collector:
        run_traced(tmp_path, collector.endpoint, listen=listen, more=more)
    by_id = {one.span: one for one in collector.spans}
    assert {one.instance for one in collector.of("cram-agent")} == {"host-a"}
    decided = {one.name for one in collector.of("cram-agent") if not one.parent}
    assert {"attach", "demote", "promote", "trim"} <= decided
    for operation, decision in (("attach", "attach"), ("write", "demote"), ("trim", "trim")):
        answered = [one for one in collector.of("cxldevd", operation) if one.parent in by_id]
        assert answered, (operation, {one.name for one in collector.spans})
        traces = {one.trace for one in answered}
        assert traces & {one.trace for one in collector.of("cram-agent", decision)}, operation
        for one in answered:
            assert by_id[one.parent].service == "cram-agent"
            assert by_id[one.parent].trace == one.trace
            assert one.facts["cram.request"]
    (attach,) = collector.of("cxldevd", "attach")
    assert attach.facts["cram.request"] == by_id[attach.parent].facts["cram.request"]
    assert by_id[by_id[attach.parent].parent].name == "attach"


def test_the_environment_asks_for_traces_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenTelemetry's own variables, both ways."""
    with collecting() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint)
        monkeypatch.setenv("OTEL_SERVICE_NAME", "mine")
        run_traced(tmp_path / "on")
        assert {one.name for one in collector.of("mine")} >= {"attach", "demote"}
        told = len(collector.spans)
        monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
        run_traced(tmp_path / "off")
        assert len(collector.spans) == told


def test_a_refused_call_is_a_failed_span(tmp_path: Path) -> None:
    """With gRPC's code, and what was said."""
    with (
        collecting() as collector,
        DeviceProcess(tmp_path, physical="1MiB", args=("--otlp-endpoint", collector.endpoint)) as device,
    ):
        options = ("--pages", "3000", "--node", "1GiB", "--otlp-endpoint", collector.endpoint)
        agent = AgentProcess(tmp_path, device.address, "synthetic", args=options).start()
        assert agent.wait(60) == 1
        assert device.terminate() == 0
    (attach,) = collector.of("cxldevd", "attach")
    assert attach.failed
    assert attach.facts["rpc.grpc.status"] == "RESOURCE_EXHAUSTED"
    assert all(one.failed for one in collector.of("cram-agent", "attach"))


def test_a_collector_that_is_away_keeps_nobody(tmp_path: Path) -> None:
    """It is told of, in the form of all lines."""
    agent = run_traced(tmp_path, "http://127.0.0.1:1")
    lines = [json.loads(line) for line in agent.log_text().splitlines() if not line.startswith("$ ")]
    events = [line["event"] for line in lines]
    assert "traces_not_sent" in events
    assert "ended" in events


@pytest.mark.parametrize(
    "statement",
    [
        "import cxldevd.main, cxldevd.service",
        "import cramagent.main, cramagent.cli",
        "from cramwire.traces import traces_of; traces_of('a', 'b', None, {}, print)",
    ],
)
def test_nothing_of_it_is_imported_where_nobody_asks(statement: str) -> None:
    """So that it costs no start any time, and need not be installed."""
    check = "import sys; print([name for name in sys.modules if name.startswith('opentelemetry')])"
    ran = subprocess.run(
        [sys.executable, "-c", f"{statement}; {check}"], capture_output=True, text=True, check=True
    )
    assert ran.stdout.strip() == "[]"


@pytest.mark.parametrize("program", ["cxldevd", "cram-agent"])
def test_without_the_extra_an_option_is_refused(program: str, tmp_path: Path) -> None:
    """In one line that says what to install."""
    (tmp_path / "opentelemetry").mkdir()
    (tmp_path / "opentelemetry" / "__init__.py").write_text("raise ImportError('not installed')\n")
    run = ["run", "--device", "127.0.0.1:1", "--source", "synthetic"] if program == "cram-agent" else []
    ran = subprocess.run(
        [script(program), *run, "--otlp-endpoint", "http://127.0.0.1:1"],
        env={"PYTHONPATH": str(tmp_path), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert ran.returncode == 2
    (line,) = ran.stderr.splitlines()
    assert line.startswith(f"{program}: --otlp-endpoint: traces need more packages: pip install")


@pytest.mark.parametrize("program", ["cxldevd", "cram-agent"])
def test_a_bad_endpoint_is_one_clear_line(program: str) -> None:
    """As every option."""
    run = ["run", "--device", "127.0.0.1:1", "--source", "synthetic"] if program == "cram-agent" else []
    argv = [script(program), *run, "--otlp-endpoint", "localhost:4318"]
    ran = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
    assert ran.returncode == 2
    (line,) = ran.stderr.splitlines()
    assert "'localhost:4318' is no OTLP endpoint: write http://HOST:4318" in line
