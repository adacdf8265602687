"""deploy/certificates.sh: what it makes is what the service, the agent and Prometheus need, and no more."""

from __future__ import annotations

import ssl
import stat
import urllib.error
import urllib.request
from typing import TYPE_CHECKING

import pytest

from cramlab.processes import AgentProcess, DeviceProcess
from deploy_helpers import DEPLOY, HOSTS, certificates, checked, needs
from server_helpers import DEADLINE_S

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.e2e, needs("openssl")]


def scrape(address: str, holder: Path) -> str:
    """The device's /metrics, as the holder of this folder's certificate sees it."""
    tls = ssl.create_default_context(cafile=str(holder / "ca.crt"))
    tls.load_cert_chain(holder / "tls.crt", holder / "tls.key")
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=tls)
    )
    with opener.open(f"https://{address}/metrics", timeout=DEADLINE_S) as answer:
        return str(answer.read().decode())


def test_keys_are_their_owners_and_are_made_once(tmp_path: Path) -> None:
    """Nobody else can enter the folders; a second run, for a further host, changes none."""
    folder = certificates(tmp_path / "made")
    names = {"device", "prometheus", *HOSTS}
    assert {path.name for path in folder.iterdir()} == {"ca", *names}
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    checked("sh", DEPLOY / "certificates.sh", folder, "host-d")
    assert {path: path.read_bytes() for path in before} == before
    assert (folder / "host-d" / "tls.crt").exists()
    for path in (folder, *(folder / name for name in names)):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700


def test_they_open_what_they_should_and_nothing_else(tmp_path: Path) -> None:
    """A host attaches under a name of the headless service; Prometheus scrapes; a host does not."""
    folder = certificates(tmp_path / "made")
    own, host = folder / "device", folder / "host-a"
    given = ["--tls-cert", f"{own}/tls.crt", "--tls-key", f"{own}/tls.key"]
    given += ["--host-ca", f"{own}/hosts-ca.crt", "--metrics-ca", f"{own}/scrapers-ca.crt"]
    with DeviceProcess(tmp_path, physical="8MiB", args=given) as device:
        shown = [
            "--tls-ca",
            f"{host}/ca.crt",
            "--tls-cert",
            f"{host}/tls.crt",
            "--tls-key",
            f"{host}/tls.key",
        ]
        shown += ["--tls-name", "cxldevd-0.cxldevd.cramulator.svc"]
        work = ["--pages", "200", "--dram", "25%", "--accesses", "200"]
        with AgentProcess(
            tmp_path, device.address, "synthetic", host="host-a", args=(*shown, *work)
        ) as agent:
            assert agent.wait(DEADLINE_S) == 0
        assert "cxldev_attaches_total 1.0" in scrape(device.metrics_address, folder / "prometheus")
        with pytest.raises((urllib.error.URLError, OSError)):
            scrape(device.metrics_address, host)
