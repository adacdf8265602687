"""Real processes over mutual TLS and with tokens: a device, an agent, `cramctl`; and what they are told."""

from __future__ import annotations

import json
import os
import subprocess
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from cramlab.processes import AgentProcess, DeviceProcess, ProcessError, script
from identity_helpers import TOKENS, Pki, token_file
from server_helpers import DEADLINE_S

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.e2e

SOURCE = ("--pages", "300", "--dram", "25%", "--accesses", "300")


def cramctl(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """One command, with these variables."""
    return subprocess.run(
        [script("cramctl"), *words],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=2 * DEADLINE_S,
        check=False,
    )


def tls(ca: Path, cert: Path, key: Path) -> tuple[str, ...]:
    """The options of either tool."""
    return ("--tls-ca", str(ca), "--tls-cert", str(cert), "--tls-key", str(key))


def test_mutual_tls_from_end_to_end(tmp_path: Path) -> None:
    """A host with its certificate lives its life; one that calls itself by another name is told."""
    hosts, operators = Pki(tmp_path, "hosts"), Pki(tmp_path, "operators")
    own, mine, ops = hosts.issue("127.0.0.1"), hosts.issue("host-a"), operators.issue("ops")
    given = ["--tls-cert", str(own.cert), "--tls-key", str(own.key)]
    given += ["--host-ca", str(hosts.ca), "--operator-ca", str(operators.ca)]
    with DeviceProcess(tmp_path, physical="8MiB", args=given) as device:
        shown = tls(hosts.ca, mine.cert, mine.key)
        with AgentProcess(tmp_path, device.address, "synthetic", args=(*shown, *SOURCE)) as agent:
            assert agent.wait(DEADLINE_S) == 0
        assert agent.report()["pages_mismatched"] == 0
        with pytest.raises(
            ProcessError,
            match=r"NOT_ALLOWED: host-a may .* not as 'host-z' \(request .*\); give --host",
        ):
            AgentProcess(
                tmp_path, device.address, "synthetic", host="host-z", args=(*shown, *SOURCE)
            ).__enter__()
        at = ("--operator", device.operator_address)
        seen = cramctl("status", "--json", *at, *tls(hosts.ca, ops.cert, ops.key))
        assert json.loads(seen.stdout)["counters"]["written_pages"] > 0
        refused = cramctl("status", *at)
        assert refused.returncode == 1
        assert "If it speaks TLS, give --tls-ca" in refused.stderr
        refused = cramctl("inject", "reset", *at, *tls(hosts.ca, mine.cert, mine.key))
        assert refused.returncode == 1
        assert "take our --tls-cert?" in refused.stderr
        device.terminate()
    assert "Handshake failed" not in device.log_text()


def test_several_devices_over_mutual_tls(tmp_path: Path) -> None:
    """Each is known by its own certificate: by its address, or by the name that its address was found by."""
    hosts, operators = Pki(tmp_path, "hosts"), Pki(tmp_path, "operators")
    mine = hosts.issue("host-a")
    shown = tls(hosts.ca, mine.cert, mine.key)
    with ExitStack() as stack:
        places: list[str] = []
        for name, place in (("127.0.0.1", "{}"), ("localhost", "dns:///localhost:{}")):
            (tmp_path / name).mkdir()
            own = hosts.issue(name)
            given = ["--tls-cert", str(own.cert), "--tls-key", str(own.key)]
            given += ["--host-ca", str(hosts.ca), "--operator-ca", str(operators.ca)]
            device = stack.enter_context(DeviceProcess(tmp_path / name, physical="8MiB", args=given))
            port = device.address.rpartition(":")[2]
            places.append(place.format(device.address if place == "{}" else port))
        options = (*shown, *SOURCE, "--placement", "round-robin", "--demote-batch", "16")
        with AgentProcess(tmp_path, ",".join(places), "synthetic", args=options) as agent:
            assert agent.wait(DEADLINE_S) == 0, agent.log_text()
        report = agent.report()
    assert report["pages_mismatched"] == 0
    assert all(node["counters"]["demotions"] > 0 for node in report["nodes"])


def test_tokens_from_end_to_end(tmp_path: Path) -> None:
    """From a file and from the environment, never from a command line."""
    mine = tmp_path / "mine"
    mine.write_text(TOKENS["ops"])
    operators = token_file(tmp_path, "operators", "ops")
    with DeviceProcess(tmp_path, physical="8MiB", args=("--operator-tokens", str(operators))) as device:
        at = ("--operator", device.operator_address)
        assert cramctl("status", *at, "--token-file", str(mine)).returncode == 0
        assert cramctl("status", *at, CRAMCTL_TOKEN=TOKENS["ops"]).returncode == 0
        refused = cramctl("clear", "--all", *at, CRAMCTL_TOKEN=TOKENS["host-a"])
        assert refused.returncode == 1
        assert "UNAUTHENTICATED: nobody has the token that was shown (give --token-file" in refused.stderr
    assert TOKENS["ops"] not in device.log_text()


def test_a_service_that_others_can_reach_needs_credentials(tmp_path: Path) -> None:
    """It does not start, and one line says what to give."""
    missing = DeviceProcess(tmp_path, args=("--listen", "0.0.0.0:0"), name="missing")
    with pytest.raises(ProcessError, match=r"ended with 2 (.*\n)*.*give --tls-cert, --tls-key and --host-ca"):
        missing.__enter__()
    unread = DeviceProcess(tmp_path, args=("--host-tokens", str(tmp_path / "none")), name="unread")
    with pytest.raises(ProcessError, match=r"ended with 1 (.*\n)*.*cxldevd: .*none: No such file"):
        unread.__enter__()
