"""Compose under podman, as tests/deploy_tools.sh prepared it: images, one project, its end."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cramlab.processes import ManagedProcess
from deploy_helpers import DEPLOY, ROOT, certificates

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self

TOOLS: Final = ROOT / ".venv" / "deploy"
DEADLINE_S: Final = 180.0
"""For containers to start and end on a busy machine."""
_POLL_S: Final = 1.0
AGENT_IMAGE: Final = "localhost/cramulator/cram-agent:0.1.0"
TRACED_IMAGE: Final = "localhost/cramulator/cram-agent-traced:0.1.0"
_PROJECT: Final = "cramulator-test"


def missing() -> str:
    """What a run would need and `make deploy-test` could not have; empty: nothing."""
    if shutil.which("podman") is None or not (TOOLS / "docker-compose").exists():
        return "no podman or no docker-compose: make deploy-test says why"
    had = prepared()
    wanted = ("PYTHON_IMAGE", "PROMETHEUS_IMAGE", "ALERTMANAGER_IMAGE")
    without = [name for name in wanted if name not in had]
    return f"not to be had: {', '.join(without)}" if without else ""


def prepared() -> dict[str, str]:
    """The images that there are, by compose's variables."""
    lines = (TOOLS / "images.env").read_text().split() if (TOOLS / "images.env").exists() else []
    return dict(line.split("=", 1) for line in lines)


class Engine:
    """One project of deploy/compose, up while this is entered.

    Podman's containers look after their health by systemd; where there is none, this asks them.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._deploy = folder / "deploy"
        self._ending = threading.Event()
        self._watched = ["device"]
        self._end = ExitStack()
        self._files = [self._deploy / "compose" / "compose.yaml"]
        images = prepared()
        self.grafana = "GRAFANA_IMAGE" in images
        self._environment = {
            **os.environ,
            **images,
            "CONTAINERS_CONF": str(TOOLS / "containers.conf"),
            "DISABLE_HC_SYSTEMD": "true",
            "DOCKER_HOST": f"unix://{folder}/podman.sock",
            "COMPOSE_PROJECT_NAME": _PROJECT,
            "LOG_DRIVER": "k8s-file",
            "DEVICE_IMAGE": "localhost/cramulator/cxldevd:0.1.0",
            "AGENT_IMAGE": AGENT_IMAGE,
            # Any that is free.
            "PROMETHEUS_PORT": "0",
            "ALERTMANAGER_PORT": "0",
            "GRAFANA_PORT": "0",
        }

    def build(self) -> None:
        """All images, of wheels that this machine fetched: a container may not reach an index."""
        wheels = TOOLS / "wheels"
        self._run(
            sys.executable, "-m", "pip", "wheel", "-q", "-w", str(wheels),
            "-c", str(ROOT / "constraints.txt"), "hatchling", f"{ROOT}[otel]",
        )  # fmt: skip
        base = self._environment["PYTHON_IMAGE"]
        for target, image, extras in (
            ("device", self._environment["DEVICE_IMAGE"], ""),
            ("agent", self._environment["AGENT_IMAGE"], ""),
            ("agent", TRACED_IMAGE, "otel"),
        ):
            self._run(
                "podman", "build", "-q", "--format", "docker", "--target", target,
                "-f", str(DEPLOY / "images" / "Dockerfile"), "-t", image, "--build-arg", f"EXTRAS={extras}",
                "--build-arg", f"PYTHON_IMAGE={base}", "--build-arg", "PIP_NO_INDEX=1",
                "--build-arg", "PIP_FIND_LINKS=/wheels", "-v", f"{wheels}:/wheels:ro", str(ROOT),
            )  # fmt: skip

    def __enter__(self) -> Self:
        shutil.copytree(DEPLOY, self._deploy)
        certificates(self._deploy / "compose" / "certificates")
        self._end.__enter__()
        try:
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _start(self) -> None:
        argv = [
            "env",
            *(f"{name}={self._environment[name]}" for name in ("CONTAINERS_CONF", "DISABLE_HC_SYSTEMD")),
        ]
        argv += ["podman", "system", "service", "--time=0", self._environment["DOCKER_HOST"]]
        self._end.enter_context(ManagedProcess(self._folder, "podman", argv, ready_file=False))
        self.until((self._folder / "podman.sock").exists, "podman serves")
        health = threading.Thread(target=self._look_after_health, name="health")
        health.start()
        self._end.callback(health.join)
        self._end.callback(self._ending.set)
        self._end.callback(self.compose, "down", "--volumes", "--timeout", "30")
        services = ["device", "host-a", "host-b", "host-c", "prometheus", "alertmanager"]
        self.compose("up", "--detach", "--no-build", *services, *(["grafana"] if self.grafana else []))

    def __exit__(self, *_: object) -> None:
        self._end.close()

    def compose(self, *words: str) -> str:
        """`docker-compose WORDS`; what it printed."""
        files = [word for path in self._files for word in ("-f", str(path))]
        return self._run(str(TOOLS / "docker-compose"), *files, *words)

    def lay_over(self, file: str, *services: str) -> None:
        """Another file of the folder over the first, for good; and what it says of these services, now."""
        self._files.append(self._deploy / "compose" / file)
        self._watched += [service for service in services if service.startswith("device")]
        self.compose("up", "--detach", "--no-build", *services)

    def agent(self, image: str, *words: str) -> subprocess.CompletedProcess[str]:
        """`cram-agent WORDS` in a container of its own that reaches nobody, with what it said."""
        return subprocess.run(
            ["podman", "run", "--rm", "--network", "none", "--read-only", image, *words],
            env=self._environment, capture_output=True, text=True, timeout=DEADLINE_S, check=False,
        )  # fmt: skip

    def cramctl(self, *words: str) -> str:
        """The operator's command, where its listener is: in the device's container."""
        return self.compose("exec", "-T", "device", "cramctl", *words)

    def inspect(self, service: str) -> dict[str, Any]:
        """What podman knows of a service's container."""
        (found,) = json.loads(self._run("podman", "inspect", f"{_PROJECT}-{service}-1"))
        known: dict[str, Any] = found
        return known

    def image(self, service: str) -> tuple[int, list[Path]]:
        """Bytes of a service's image, and the paths of all that is in it."""
        name = self.inspect(service)["ImageName"]
        (about,) = json.loads(self._run("podman", "image", "inspect", name))
        mounted = self._run("podman", "image", "mount", name).strip()
        try:
            return about["Size"], [*Path(mounted).rglob("*")]
        finally:
            self._run("podman", "image", "unmount", name)

    def log(self, service: str) -> str:
        """What it printed so far."""
        return self._run("podman", "logs", f"{_PROJECT}-{service}-1")

    def address(self, service: str, port: int) -> str:
        """Where a published port is to be reached."""
        return self.compose("port", service, str(port)).strip()

    def until(self, what: Callable[[], bool], said: str) -> None:
        """Look again and again until it is so."""
        end = time.monotonic() + DEADLINE_S
        while not what():
            assert time.monotonic() < end, f"{said}: not within {DEADLINE_S:g} s"
            self._ending.wait(_POLL_S)

    def _look_after_health(self) -> None:
        while not self._ending.wait(_POLL_S):
            for service in self._watched:
                subprocess.run(
                    ["podman", "healthcheck", "run", f"{_PROJECT}-{service}-1"],
                    env=self._environment,
                    capture_output=True,
                    check=False,
                    timeout=DEADLINE_S,
                )

    def _run(self, *command: str) -> str:
        done = subprocess.run(
            command, env=self._environment, capture_output=True, text=True, timeout=600, check=False
        )
        assert done.returncode == 0, f"{' '.join(command)}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        # Some write what they have to say to the one, some to the other.
        return done.stdout or done.stderr
