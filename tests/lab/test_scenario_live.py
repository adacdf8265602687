"""Scenarios with real processes: what is started, what is measured, and that nothing stays behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, TypeAlias
from xml.etree import ElementTree as ET

import pytest
from click.testing import CliRunner

from cramctl.main import main
from cramlab.scenario.library import library

Ran: TypeAlias = tuple[dict[str, Any], ET.Element, int, str]
"""(the JSON, the JUnit XML, the exit code, what was printed) of a run."""

pytestmark = pytest.mark.e2e

DEADLINE_S = 60.0

SHORT = """
question = "Does a short run do all that a scenario can?"
seed = 3
duration = "4s"
sample = "250ms"

[device]
physical = "4MiB"
lease = "1s"

[host.stays]
pages = 600
budget = 16
write-share = 0.2
rate = 500
on-bus-error = "rescue"

[host.dies]
pages = 300
rate = 200

[host.late]
pages = 300
rate = 200
start = "500ms"
stop = "3500ms"

[[timeline]]
at = "1s"
inject = "exhaustion"
share = 1.0
as = "squeeze"

[[timeline]]
at = "1500ms"
kill = "dies"

[[timeline]]
at = "2s"
clear = "squeeze"

[[timeline]]
at = "2500ms"
pause = "stays"

[[timeline]]
at = "3s"
resume = "stays"

[[expect]]
that = "the node of the host that stays closes, and opens again"
host = "stays"
after = "fault_armed kind=exhaustion"
comes = "node_closed"

[[expect]]
that = "it opens"
host = "stays"
after = "fault_cleared"
comes = "node_opened"

[[expect]]
that = "the dead host's lease runs out"
after = "host_killed"
comes = "region_detached host=dies cause=lease_expired"

[[expect]]
that = "the late host detaches"
comes = "region_detached host=late cause=requested"

[[expect]]
that = "the host that stays verifies its pages"
metric = "cram_verified_pages_total"
host = "stays"
above = 0

[[expect]]
that = "all media comes back"
metric = "cxldev_media_used_bytes"
is = 0

[[expect]]
that = "a rabbit comes out of a hat"
metric = "cram_reattaches_total"
host = "stays"
above = 100
"""


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """One short run, for all tests here."""
    folder = tmp_path_factory.mktemp("short")
    (folder / "short.toml").write_text(SHORT)
    result = CliRunner().invoke(
        main,
        [
            *("scenario", "run", str(folder / "short.toml")),
            *("--json", str(folder / "run.json"), "--junit", str(folder / "run.xml")),
        ],
    )
    assert result.exception is None or isinstance(result.exception, SystemExit), result.output
    report = json.loads((folder / "run.json").read_text())
    junit = ET.parse(folder / "run.xml").getroot()  # noqa: S314 - our own file
    return report, junit, result.exit_code, result.output


def test_every_expectation_but_the_impossible_one_holds(
    ran: Ran,
) -> None:
    """And that one makes the exit code 1."""
    report, junit, code, output = ran
    broken = [verdict["that"] for verdict in report["verdicts"] if not verdict["holds"]]
    assert broken == ["a rabbit comes out of a hat"], output
    assert report["problems"] == []
    assert code == 1
    assert junit.get("failures") == "1"
    assert "BROKEN" in output


def test_the_events_are_in_the_order_in_which_they_must_happen(
    ran: Ran,
) -> None:
    """Times of three processes and of the runner agree, to what a loaded machine allows."""
    names = [(event["who"], event["event"]) for event in ran[0]["measured"]["events"]]
    for first, then in (
        (("device", "fault_armed"), ("stays", "node_closed")),
        (("stays", "node_closed"), ("device", "fault_cleared")),
        (("dies", "host_killed"), ("stays", "host_stopped")),
        (("stays", "host_paused"), ("stays", "host_resumed")),
        (("stays", "host_resumed"), ("stays", "host_stopped")),
        (("late", "host_started"), ("late", "host_stopped")),
    ):
        assert names.index(first) < names.index(then), names


def test_counters_end_with_what_the_final_verification_counted(
    ran: Ran,
) -> None:
    """The last sample of a host is from its report, after it verified all its pages."""
    last = ran[0]["measured"]["last"]
    assert last["stays"]["cram_verified_pages_total"] >= 600
    assert last["device"]["cxldev_attached_hosts"] == 0
    assert last["device"]["cxldev_leases_expired_total"] == 1


def test_ctrl_c_ends_everything(tmp_path: Path) -> None:
    """Exit code 130, one line, and no process is left."""
    (tmp_path / "long.toml").write_text(SHORT.replace('duration = "4s"', 'duration = "300s"'))
    command = [sys.executable, "-m", "cramctl.main", "scenario", "run", str(tmp_path / "long.toml")]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if "injected exhaustion" in line:
                break
        started = children(process.pid)
        process.send_signal(signal.SIGINT)
        rest = process.stdout.read()
        assert process.wait(DEADLINE_S) == 130
    assert "interrupted; all processes were stopped" in rest
    assert len(started) >= 4, "a device and three hosts"
    for pid in started:
        gone_by(pid, time.monotonic() + DEADLINE_S)


def children(pid: int) -> list[int]:
    """Processes that this one started, and that run."""
    told = (path.read_text().split() for path in Path(f"/proc/{pid}/task").glob("*/children"))
    return [int(child) for found in told for child in found]


def gone_by(pid: int, deadline: float) -> None:
    """Fail unless the process is gone, or waits only to be reaped by somebody else, before the deadline."""
    while Path(f"/proc/{pid}").exists():
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        if state == "Z":
            return
        assert time.monotonic() < deadline, f"process {pid} is left behind"


def test_a_wrong_file_is_told_with_its_line(tmp_path: Path) -> None:
    """By `check` and by `run` alike, with exit code 2, before anything is started."""
    path = tmp_path / "wrong.toml"
    path.write_text(SHORT.replace('inject = "exhaustion"', 'inject = "exhaustian"'))
    for command in ("run", "check"):
        result = CliRunner().invoke(main, ["scenario", command, str(path)])
        assert result.exit_code == 2
        assert (
            f"{path}:30: inject: there is no fault 'exhaustian'; did you mean 'exhaustion'?" in result.output
        )


def test_the_library_is_listed_and_checked() -> None:
    """Every shipped scenario, with the question that it answers."""
    listed = json.loads(CliRunner().invoke(main, ["scenario", "list", "--json"]).output)
    files = sorted(library().glob("*.toml"))
    assert [one["file"] for one in listed] == [str(file) for file in files]
    assert all(one["question"].endswith("?") for one in listed)
    table = CliRunner().invoke(main, ["scenario", "list", "--table"])
    assert "exhaustion-while-demoting" in table.output
    checked = CliRunner().invoke(main, ["scenario", "check", "--table", *map(str, files)])
    assert checked.exit_code == 0, checked.output


def test_a_name_that_is_not_in_the_library() -> None:
    """The known ones are told."""
    result = CliRunner().invoke(main, ["scenario", "run", "no-such-scenario"])
    assert result.exit_code == 2
    assert "exhaustion-while-demoting" in result.output
