"""deploy/compose: right by its schema, and by the programs whose settings it gives."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from deploy_helpers import DEPLOY, HOSTS, agent_options, checked, device_settings, needs

FOLDER = DEPLOY / "compose"
FILE = FOLDER / "compose.yaml"
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load(FILE.read_text())["services"]
SECRETS: dict[str, dict[str, str]] = yaml.safe_load(FILE.read_text())["secrets"]


def secrets_of(name: str) -> dict[str, str]:
    """Where in its container a service finds which file of the certificates' folder."""
    return {
        f"/run/secrets/{each['target']}": SECRETS[each["source"]]["file"]
        for each in SERVICES[name].get("secrets", ())
    }


def test_it_is_a_compose_file() -> None:
    """By the schema of compose itself."""
    checked("check-jsonschema", "--builtin-schema", "vendor.compose-spec", FILE)


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_is_shut_in(name: str) -> None:
    """No right it does not need, no file to write to, and an image of a certain version."""
    service = SERVICES[name]
    assert service["read_only"]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert re.search(r":v?\d+\.\d+\.\d+\}$", service["image"])
    for port in service.get("ports", ()):
        assert port.startswith("127.0.0.1:")


def test_the_device_takes_its_settings() -> None:
    """And asks hosts and Prometheus for certificates; operators it serves on loopback only."""
    settings = device_settings(
        {
            name: re.sub(r"\$\{\w+:-(.*)\}", r"\1", value)
            for name, value in SERVICES["device"]["environment"].items()
        }
    )
    assert settings.operator.local
    given = secrets_of("device")
    identity = settings.identity
    assert given[str(identity.cert)] == "certificates/device/tls.crt"
    assert given[str(identity.key)] == "certificates/device/tls.key"
    assert given[str(identity.hosts.ca)] == "certificates/device/hosts-ca.crt"
    assert given[str(identity.scrapers.ca)] == "certificates/device/scrapers-ca.crt"


@pytest.mark.parametrize("host", HOSTS)
def test_each_host_has_its_own_certificate_and_takes_its_settings(
    host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The key of no other host is within its reach."""
    options = agent_options(SERVICES[host]["environment"], monkeypatch)
    assert options["host"] == host
    given = secrets_of(host)
    assert given[str(options["tls_cert"])] == f"certificates/{host}/tls.crt"
    assert given[str(options["tls_key"])] == f"certificates/{host}/tls.key"
    assert given[str(options["tls_ca"])].endswith("/ca.crt")
    assert len(given) == 3


def test_prometheus_scrapes_every_one_of_them_under_the_jobs_that_the_rules_know() -> None:
    """Its targets are the services of the file; its files are mounted where it looks."""
    configuration = yaml.safe_load((FOLDER / "prometheus.yml").read_text())
    jobs = {job["job_name"]: job for job in configuration["scrape_configs"]}
    assert jobs["cram"]["static_configs"] == [{"targets": [f"{host}:9464" for host in HOSTS]}]
    assert jobs["cxldev"]["file_sd_configs"] == [{"files": ["devices.yml"]}]
    assert yaml.safe_load((FOLDER / "devices.yml").read_text()) == [{"targets": ["device:7702"]}]
    assert "./devices.yml:/etc/prometheus/devices.yml:ro" in SERVICES["prometheus"]["volumes"]
    assert set(jobs["cxldev"]["tls_config"].values()) == set(secrets_of("prometheus"))
    for name in ("prometheus", "alertmanager", "grafana"):
        for volume in SERVICES[name]["volumes"]:
            source = volume.split(":")[0]
            assert not source.startswith(".") or (FOLDER / source).exists(), volume


def test_a_second_device_is_laid_over_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """One host has a node on each of the two; Prometheus scrapes both, where it looked for the one."""
    checked("check-jsonschema", "--builtin-schema", "vendor.compose-spec", FOLDER / "two-devices.yaml")
    over = yaml.safe_load((FOLDER / "two-devices.yaml").read_text())["services"]
    assert over["device-b"]["extends"] == {"file": "compose.yaml", "service": "device"}
    options = agent_options(SERVICES["host-a"]["environment"] | over["host-a"]["environment"], monkeypatch)
    assert options["device"] == ("device:7700,device-b:7700",)
    (mounted,) = over["prometheus"]["volumes"]
    source, place, _ = mounted.split(":")
    assert place == "/etc/prometheus/devices.yml"
    (targets,) = yaml.safe_load((FOLDER / source).read_text())
    assert targets == {"targets": ["device:7702", "device-b:7702"]}


@needs("promtool")
def test_promtool_takes_the_configuration() -> None:
    """Its syntax; the files it names are in the container."""
    checked("promtool", "check", "config", "--syntax-only", FOLDER / "prometheus.yml")
