"""deploy/systemd: units that systemd takes, with programs and settings that there are."""

from __future__ import annotations

import os
import re
import shutil
import sysconfig
from typing import TYPE_CHECKING

import pytest

from deploy_helpers import DEPLOY, agent_options, checked, device_settings, needs

if TYPE_CHECKING:
    from pathlib import Path

FOLDER = DEPLOY / "systemd"
DEVICE, AGENT = FOLDER / "cxldevd.service", FOLDER / "cram-agent@.service"


def variables(*units: Path) -> dict[str, str]:
    """`Environment=` of a unit and its drop-ins, as systemd gives it to the instance host-a."""
    found: dict[str, str] = {}
    for unit in units:
        for name, value in re.findall(r"^Environment=(\w+)=(.*)$", unit.read_text(), re.MULTILINE):
            found[name] = value.replace("%i", "host-a").replace("%d", "/run/credentials/cxldevd.service")
    return found


@needs("systemd-analyze")
def test_systemd_takes_the_units(tmp_path: Path) -> None:
    """With the drop-in for other machines, and for an instance of the host's template."""
    ours = sysconfig.get_path("scripts")
    for unit, name in ((DEVICE, DEVICE.name), (AGENT, AGENT.name), (AGENT, "cram-agent@host-a.service")):
        (tmp_path / name).write_text(unit.read_text().replace("/usr/local/bin", ours))
    drop_ins = tmp_path / "cxldevd.service.d"
    drop_ins.mkdir()
    shutil.copy(FOLDER / "cxldevd-network.conf", drop_ins / "network.conf")
    where = {**os.environ, "SYSTEMD_UNIT_PATH": f"{tmp_path}:"}
    units = (tmp_path / DEVICE.name, tmp_path / "cram-agent@host-a.service")
    said = checked("systemd-analyze", "verify", "--man=no", *units, env=where)
    assert not said


@needs("systemd-analyze")
@pytest.mark.parametrize(("unit", "most"), [(DEVICE, "20"), (AGENT, "30")], ids=["device", "host"])
def test_the_units_are_shut_in(unit: Path, most: str) -> None:
    """By systemd's own measure, 0 to 100; the host may read other programs' memory."""
    checked("systemd-analyze", "security", "--offline=true", f"--threshold={most}", unit)


def test_the_programs_take_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """The device alone and with the drop-in, and the host."""
    assert device_settings(variables(DEVICE)).lanes
    outside = device_settings(variables(DEVICE, FOLDER / "cxldevd-network.conf"))
    assert outside.identity.hosts.given
    assert outside.operator.local
    told = variables(AGENT)
    assert told.pop("CRAM_AGENT_SWAP_DIR") == "%S/cram-agent/host-a"
    options = agent_options(told, monkeypatch)
    assert (options["host"], options["device"]) == ("host-a", (variables(DEVICE)["CXLDEVD_LISTEN"],))


def test_credentials_are_those_that_the_script_makes() -> None:
    """Each file that the drop-in loads is one that it names."""
    text = (FOLDER / "cxldevd-network.conf").read_text()
    loaded = set(re.findall(r"^LoadCredential=(\S+):", text, re.MULTILINE))
    assert loaded == set(re.findall(r"=%d/(\S+)$", text, re.MULTILINE))
