"""Every command in the documentation is run: the `sh` blocks of each page, in order, in an empty folder.

The pages use the default addresses. Environment variables move those to free ports, so that the
tests can run beside a real device.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sysconfig
from contextlib import ExitStack
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", *ROOT.glob("docs/*.md")])
BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
CALLED_BY_CI = ("make demo", "make test")

pytestmark = pytest.mark.e2e


def commands(page: Path) -> str:
    """The page's shell blocks as one script, less what CI itself runs."""
    lines = "\n".join(BLOCK.findall(page.read_text())).splitlines()
    return "\n".join(line for line in lines if not line.startswith(CALLED_BY_CI))


def free_addresses(count: int) -> list[str]:
    """Loopback addresses that nobody serves right now."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [f"127.0.0.1:{one.getsockname()[1]}" for one in sockets]


@pytest.mark.parametrize(
    "page", [page for page in PAGES if commands(page).strip()], ids=lambda page: page.name
)
def test_the_commands_of_the_page_work_as_they_stand(page: Path, tmp_path: Path) -> None:
    """Each block in turn; the first command that fails fails the page."""
    listen, operator, metrics, agent_metrics = free_addresses(4)
    environment = {
        **os.environ,
        "PATH": os.pathsep.join([sysconfig.get_path("scripts"), os.environ["PATH"]]),
        "CXLDEVD_LISTEN": listen,
        "CXLDEVD_OPERATOR": operator,
        "CXLDEVD_METRICS": metrics,
        "CRAMCTL_OPERATOR": operator,
        "CRAM_AGENT_DEVICE": listen,
        "CRAM_AGENT_METRICS": agent_metrics,
    }
    script = f"set -euo pipefail\ntrap 'kill $(jobs -p) 2>/dev/null || true' EXIT\n{commands(page)}"
    script = script.replace("127.0.0.1:7702", metrics).replace("127.0.0.1:7701", operator)
    script = script.replace("127.0.0.1:7700", listen).replace("127.0.0.1:7710", agent_metrics)
    shutil.copytree(ROOT / "proto", tmp_path / "proto", ignore=shutil.ignore_patterns("*.py*", "__pycache__"))
    run = subprocess.run(
        ["bash", "-c", script],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert run.returncode == 0, f"{script}\n--- stdout\n{run.stdout}\n--- stderr\n{run.stderr}"


def test_every_page_has_commands_or_is_known_to_have_none() -> None:
    """A page whose blocks lost their `sh` would no longer be tested."""
    silent = {page.name for page in PAGES if not commands(page).strip()}
    known = {"words.md", "metrics.md", "runbook.md", "grafana.md", "deployment.md", "reliability.md"}
    assert silent <= known, silent
