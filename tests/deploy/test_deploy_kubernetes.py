"""deploy/kubernetes: as kustomize puts it together, right by the schemas and in itself."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest
import yaml

from cramagent.addresses import find_devices
from deploy_helpers import DEPLOY, HOSTS, agent_options, certificates, checked, device_settings, needs

if TYPE_CHECKING:
    from collections.abc import Sequence

pytestmark = [needs("kubectl"), needs("openssl")]

MONITORS = {"ServiceMonitor", "PodMonitor"}
"""Of the Prometheus operator: no schema of Kubernetes itself."""


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All of it in one file, with certificates made for it."""
    folder = tmp_path_factory.mktemp("kubernetes")
    shutil.copytree(DEPLOY / "kubernetes", folder, dirs_exist_ok=True)
    made = folder / "manifest.yaml"
    made.write_text(checked("kubectl", "kustomize", certificates(folder)))
    return made


@pytest.fixture(scope="module")
def resources(manifest: Path) -> list[dict[str, Any]]:
    """Its resources."""
    return list(yaml.safe_load_all(manifest.read_text()))


def of_kind(resources: list[dict[str, Any]], *kinds: str) -> list[dict[str, Any]]:
    """Those of these kinds."""
    return [each for each in resources if each["kind"] in kinds]


def pods(resources: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Templates of pods: the devices' and the hosts'."""
    return [each["spec"]["template"] for each in of_kind(resources, "StatefulSet", "Deployment")]


def environment(pod: dict[str, Any]) -> dict[str, str]:
    """What its container is told."""
    return {each["name"]: each["value"] for each in pod["spec"]["containers"][0]["env"]}


def test_it_is_right_by_the_schemas_strictly(manifest: Path) -> None:
    """No unknown field anywhere; only the operator's own kinds have no schema here."""
    said = checked("kubernetes-validate", "--strict", manifest)
    without = [line for line in said.splitlines() if "Couldn't find schema" in line]
    assert len(without) == len(MONITORS), said


def test_every_pod_is_shut_in(resources: list[dict[str, Any]]) -> None:
    """As the namespace's `restricted` standard asks, and read-only."""
    assert len(pods(resources)) == 1 + len(HOSTS)
    for pod in pods(resources):
        spec = pod["spec"]
        assert spec["securityContext"]["runAsNonRoot"]
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert spec["automountServiceAccountToken"] is False
        (container,) = spec["containers"]
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert ":" in container["image"]
        assert {"memory", "ephemeral-storage"} <= set(container["resources"]["limits"])


def test_the_devices_take_their_settings_and_are_probed_where_they_answer(
    resources: list[dict[str, Any]],
) -> None:
    """Mutual TLS for hosts and Prometheus, loopback for operators, gRPC probes at --health."""
    (devices,) = of_kind(resources, "StatefulSet")
    (service,) = of_kind(resources, "Service")
    assert service["spec"]["clusterIP"] == "None"
    assert devices["spec"]["serviceName"] == service["metadata"]["name"]
    pod = devices["spec"]["template"]
    settings = device_settings(environment(pod))
    assert settings.operator.local
    assert settings.health is not None
    (container,) = pod["spec"]["containers"]
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert container[probe]["grpc"]["port"] == settings.health.port
    assert settings.metrics is not None
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert ports == {
        "hosts": settings.listen.port,
        "metrics": settings.metrics.port,
        "health": settings.health.port,
    }


def test_every_host_takes_its_settings_and_has_a_secret_of_its_own(
    resources: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One name, one certificate, one pod; the files that it is told of are in its secret."""
    secrets = {each["metadata"]["name"]: each["data"] for each in of_kind(resources, "Secret")}
    used = set()
    for deployment in of_kind(resources, "Deployment"):
        assert deployment["spec"]["replicas"] == 1
        assert deployment["spec"]["strategy"] == {"type": "Recreate"}
        pod = deployment["spec"]["template"]
        told = environment(pod)
        swap = told.pop("CRAM_AGENT_SWAP_DIR")
        assert swap in {mount["mountPath"] for mount in pod["spec"]["containers"][0]["volumeMounts"]}
        options = agent_options(told, monkeypatch)
        assert deployment["metadata"]["name"] == f"cram-agent-{options['host']}"
        (name,) = (each["secret"]["secretName"] for each in pod["spec"]["volumes"] if "secret" in each)
        used.add(name)
        for option in ("tls_ca", "tls_cert", "tls_key"):
            assert Path(str(options[option])).name in secrets[name]
    assert len(used) == len(HOSTS)


def test_every_host_has_a_node_on_every_device(
    resources: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the names that the headless service gives to the pods of the set, which its certificate has."""
    (devices,) = of_kind(resources, "StatefulSet")
    where, name = devices["metadata"]["namespace"], devices["metadata"]["name"]
    port = device_settings(environment(devices["spec"]["template"])).listen.port
    names = [
        f"{name}-{number}.{devices['spec']['serviceName']}.{where}.svc:{port}"
        for number in range(devices["spec"]["replicas"])
    ]
    assert len(names) > 1
    for deployment in of_kind(resources, "Deployment"):
        told = environment(deployment["spec"]["template"])
        del told["CRAM_AGENT_SWAP_DIR"]
        options = agent_options(told, monkeypatch)
        found = find_devices(cast("Sequence[str]", options["device"]))
        assert [device.address for device in found] == names
        assert options["placement"] == "most-free"


def test_who_may_call_is_said_and_all_else_is_shut(resources: list[dict[str, Any]]) -> None:
    """By names of ports that the pods have; a policy for all pods that allows nothing."""
    policies = {each["metadata"]["name"]: each["spec"] for each in of_kind(resources, "NetworkPolicy")}
    assert policies.pop("nobody") == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    named = {
        pod["metadata"]["labels"]["app.kubernetes.io/name"]: {
            port["name"] for port in pod["spec"]["containers"][0]["ports"]
        }
        for pod in pods(resources)
    }
    for policy in policies.values():
        own = named[policy["podSelector"]["matchLabels"]["app.kubernetes.io/name"]]
        allowed = {port["port"] for rule in policy["ingress"] for port in rule["ports"]}
        assert allowed <= own
        assert "health" not in allowed


def test_monitors_and_budget_find_the_pods(resources: list[dict[str, Any]]) -> None:
    """By their labels, at ports they have, with a secret that is there."""
    (budget,) = of_kind(resources, "PodDisruptionBudget")
    labels = [pod["metadata"]["labels"] for pod in pods(resources)]
    secrets = {each["metadata"]["name"] for each in of_kind(resources, "Secret")}
    monitors = of_kind(resources, *MONITORS)
    assert {each["kind"] for each in monitors} == MONITORS
    for each in (budget, *monitors):
        wanted = each["spec"]["selector"]["matchLabels"].items()
        assert any(wanted <= found.items() for found in labels)
    (scraped,) = (each for each in monitors if each["kind"] == "ServiceMonitor")
    (endpoint,) = scraped["spec"]["endpoints"]
    assert endpoint["tlsConfig"]["keySecret"]["name"] in secrets
    assert endpoint["tlsConfig"]["ca"]["secret"]["name"] in secrets
    jobs = {
        relabelling["replacement"]
        for each in monitors
        for where in (*each["spec"].get("endpoints", ()), *each["spec"].get("podMetricsEndpoints", ()))
        for relabelling in where["relabelings"]
        if relabelling["targetLabel"] == "job"
    }
    assert jobs == {"cxldev", "cram"}, "the jobs that the rules know"
