"""The deployment's files, and the tools that check them."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from cramagent.cli import run
from cramlab.processes import script
from cxldevd.sources import resolve

if TYPE_CHECKING:
    from collections.abc import Mapping

    import click

    from cxldevd.settings import Settings

ROOT: Final = Path(__file__).parents[1]
DEPLOY: Final = ROOT / "deploy"
HOSTS: Final = ("host-a", "host-b", "host-c")


def needs(tool: str) -> pytest.MarkDecorator:
    """Skips a test where this program is not installed."""
    return pytest.mark.skipif(shutil.which(tool) is None, reason=f"{tool} is not installed")


def checked(*command: str | Path, env: Mapping[str, str] | None = None) -> str:
    """What a program of the machine or of `.venv` printed; it must end well."""
    first, *rest = map(str, command)
    found = shutil.which(first) or script(first)
    done = subprocess.run([found, *rest], capture_output=True, text=True, timeout=100, check=False, env=env)
    assert done.returncode == 0, f"{first}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout + done.stderr


def certificates(folder: Path) -> Path:
    """A folder of certificates, as deploy/certificates.sh makes them."""
    checked("sh", DEPLOY / "certificates.sh", folder, *HOSTS)
    return folder


def device_settings(environment: Mapping[str, str]) -> Settings:
    """What cxldevd makes of these variables; it must take them."""
    return resolve({}, environment, None)


def agent_options(environment: Mapping[str, str], monkeypatch: pytest.MonkeyPatch) -> Mapping[str, object]:
    """What `cram-agent run` makes of these variables: all of them must be its options."""
    known = {parameter.envvar for parameter in run.params}
    assert not [name for name in environment if name.startswith("CRAM_AGENT_") and name not in known]
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    context: click.Context = run.make_context("run", [])
    return context.params
