"""Compose for real, under podman: `make deploy-test`. Not among the usual tests: it builds images."""

from __future__ import annotations

import json
import urllib.parse
import urllib.request
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from deploy_engine import AGENT_IMAGE, TRACED_IMAGE, Engine, missing
from deploy_helpers import HOSTS

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [
    pytest.mark.deploy,
    pytest.mark.timeout(1_800),
    pytest.mark.skipif(bool(missing()), reason=missing()),
]


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """Everything up, of images that are new."""
    made = Engine(tmp_path_factory.mktemp("engine"))
    made.build()
    with made:
        yield made


def asked(url: str) -> Any:
    """JSON of an address on this machine; None while nobody answers."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=10) as answer:
            return json.loads(answer.read())
    except OSError:
        return None


def values(engine: Engine, expression: str) -> list[float]:
    """What Prometheus answers."""
    where = engine.address("prometheus", 9090)
    said = asked(f"http://{where}/api/v1/query?{urllib.parse.urlencode({'query': expression})}")
    return [float(one["value"][1]) for one in said["data"]["result"]] if said else []


def alerted(engine: Engine, name: str) -> bool:
    """Whether Alertmanager has this alert now."""
    alerts = asked(f"http://{engine.address('alertmanager', 9093)}/api/v2/alerts?active=true") or []
    return name in {one["labels"]["alertname"] for one in alerts}


def test_containers_run_as_nobody_and_cannot_write(engine: Engine) -> None:
    """As the file says; the device's health check finds it healthy."""
    for service in ("device", *HOSTS):
        found = engine.inspect(service)
        assert found["Config"]["User"] == "65532:65532"
        assert found["HostConfig"]["ReadonlyRootfs"]
        assert not found["EffectiveCaps"]
    assert engine.inspect("device")["State"]["Health"]["Status"] == "healthy"


@pytest.mark.parametrize("service", ["device", *HOSTS[:1]])
def test_images_are_small_and_hold_no_shell(engine: Engine, service: str) -> None:
    """One that needs more room than this has brought something along that it does not need."""
    size, found = engine.image(service)
    assert size < 125_000_000
    programs = {path.name for path in found if path.parent.name in {"bin", "sbin"}}
    assert "python3" in programs
    assert not programs.intersection({"sh", "bash", "dash", "pip", "apt-get", "dpkg", "perl"})


def test_commands_that_start_hosts_and_devices_are_not_in_the_devices_image(engine: Engine) -> None:
    """They are not even listed; what an operator needs is there."""
    assert "demo" not in engine.cramctl("--help")
    for command in (
        ["events", "--help"],
        ["faults"],
        ["status", "--table"],
        ["region", "list"],
        ["top", "--once"],
    ):
        assert engine.cramctl(*command)


def test_an_image_made_with_the_extra_tells_of_traces(engine: Engine) -> None:
    """It gets as far as looking for its device; one made without says what it lacks."""
    words = ("run", "--device", "127.0.0.1:1", "--source", "synthetic", "--log-format", "json")
    traces = ("--otlp-endpoint", "http://127.0.0.1:1")
    without = engine.agent(AGENT_IMAGE, *words, *traces)
    assert without.returncode == 2
    assert "traces need more packages" in without.stderr
    told = engine.agent(TRACED_IMAGE, *words, *traces)
    assert "traces_not_sent" in told.stderr


def test_prometheus_scrapes_all_of_them(engine: Engine) -> None:
    """The device over mutual TLS; hosts that demoted pages over mutual TLS, too."""
    engine.until(lambda: values(engine, "up") == [1.0] * (1 + len(HOSTS)), "every target is up")
    used = "cxldev_region_media_used_bytes > 0"
    engine.until(lambda: len(values(engine, used)) == len(HOSTS), "every host keeps pages on the device")


def test_an_exhausted_device_is_told_of_by_alertmanager(engine: Engine) -> None:
    """Injected by the operator in the device's container: no media is free, and that is critical."""
    engine.cramctl("inject", "exhaustion", "--share", "1.0")
    told = partial(alerted, engine, "CxlDeviceWatermarkCritical")
    engine.until(told, "the alert is at Alertmanager")
    engine.cramctl("clear", "--all")
    engine.until(lambda: values(engine, "cxldev_watermark_level < 5") != [], "the level rises again")


def test_a_host_keeps_pages_on_two_devices(engine: Engine) -> None:
    """The second is laid over the first one's file; the host that is told of both demotes to both."""
    engine.lay_over("two-devices.yaml", "device-b", "host-a", "prometheus")
    devices = 'up{job="cxldev"}'
    engine.until(lambda: values(engine, devices) == [1.0, 1.0], "both devices are scraped")
    kept = 'cxldev_region_media_used_bytes{host="host-a"} > 0'
    engine.until(lambda: len(values(engine, kept)) == 2, "the host keeps pages on both")
    open_nodes = 'cram_node_open{instance="host-a:9464"}'
    engine.until(lambda: values(engine, open_nodes) == [1.0, 1.0], "both nodes are open")
    others = 'cxldev_region_media_used_bytes{instance="device-b:7702", host!="host-a"}'
    assert values(engine, others) == []


def test_hosts_end_well_and_every_byte_was_right(engine: Engine) -> None:
    """Stopped by compose, they verify all their pages first; exit status 0 says that no byte was wrong."""
    engine.compose("stop", "--timeout", "60", *HOSTS)
    for host in HOSTS:
        assert engine.inspect(host)["State"]["ExitCode"] == 0, engine.log(host)


def test_a_device_that_is_restarted_is_the_same(engine: Engine) -> None:
    """It was saved on its volume when it was stopped: same generation, restored."""
    before = json.loads(engine.cramctl("status", "--json"))
    engine.compose("restart", "--timeout", "60", "device")
    engine.until(lambda: engine.log("device").count("cxldevd: hosts ") == 2, "it serves again")
    after = json.loads(engine.cramctl("status", "--json"))
    assert after["generation"] == before["generation"]


def test_grafana_has_the_dashboards(engine: Engine) -> None:
    """Provisioned: found by their folder, without a login."""
    if not engine.grafana:
        pytest.skip("Grafana's image cannot be had here: nothing of it was run")
    where = f"http://{engine.address('grafana', 3000)}/api/search?type=dash-db"
    engine.until(lambda: len(asked(where) or []) >= 4, "four dashboards")
