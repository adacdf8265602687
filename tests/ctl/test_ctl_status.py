"""`cramctl status` and `cramctl faults`: JSON for programs, tables for people, one line for failures."""

from __future__ import annotations

import importlib.util
import io
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner
from rich.console import Console

from cramctl.describe import describe_status, watermark
from cramctl.main import main
from cramctl.tables import ratio, status_view
from cramwire.v1 import operator_pb2, types_pb2
from ctl_helpers import Ctl

if TYPE_CHECKING:
    from ctl_helpers import FakeDevice


def test_status_is_json_where_no_terminal_listens(ctl: Ctl) -> None:
    """The native form, with sizes in bytes and names as `cxl list` has them."""
    status = ctl.json("status")
    assert status["memdev"] == "cramulator"
    assert status["physical_size"] == 64 << 20
    assert status["media"]["free_size"] == 48 << 20
    assert status["watermark"] == "above_high"
    assert status["exhaustion_mode"] == "refuse"
    assert status["regions"][0]["region"] == "host-a"
    assert status["counters"]["capacity_identity_checks"] == 4711
    assert status["faults"] == [
        {
            "fault": "f1",
            "kind": "exhaustion",
            "share_milli": 500,
            "scope": {"host": "host-a", "operations": ["write"], "count": 5},
            "armed_at": "2023-11-14T22:13:20.000Z",
            "fired": 3,
            "left": 2,
            "ends_at": None,
        }
    ]


def test_status_as_a_table(ctl: Ctl) -> None:
    """What a person looks for is there: sizes with units, the ratio, the hosts."""
    result = ctl("status", "--table")
    assert result.exit_code == 0, result.output
    for expected in ("64.0 MiB of media", "192.0 MiB", "2.95:1", "above high", "host-a", "share=0.5"):
        assert expected in result.stdout


def test_no_more_writes_stands_out() -> None:
    """A table of a device that is full says so in capitals."""
    answer = operator_pb2.GetStatusResponse(telemetry=types_pb2.Telemetry(no_more_writes=True))
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(status_view(describe_status(answer)))
    text = console.export_text()
    assert "NO MORE WRITES" in text
    assert "no host is attached" in text


def test_faults_in_both_forms(ctl: Ctl) -> None:
    """A list as JSON, lines as a table."""
    assert ctl.json("faults", "--json")[0]["fault"] == "f1"
    table = ctl("faults", "--table").stdout
    for expected in ("f1", "share=0.5", "only host=host-a, operations=write", "22:13:20", "2 more"):
        assert expected in table


def test_faults_are_shown_as_they_are_written() -> None:
    """With the names of `cramctl inject`'s options, and a switch by its name alone."""
    answer = operator_pb2.GetStatusResponse()
    answer.faults.add(fault_id="latency-1").fault.latency.wall_tail_ns = 5_000_000
    answer.faults.add(fault_id="unanswered-2").fault.unanswered_command.carried_out = True
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(status_view(describe_status(answer)))
    lines = console.export_text().splitlines()
    assert any("latency-1" in line and "wall-tail=5.0 ms" in line for line in lines)
    assert any("unanswered-2" in line and "  carried-out  " in line for line in lines)


def test_a_device_that_is_not_there_is_one_line(unused_address: str) -> None:
    """Exit code 1, the address, the cause, and what to look at; no traceback."""
    result = Ctl(unused_address)("status")
    assert result.exit_code == 1
    assert result.stderr.count("\n") == 1
    assert f"cannot reach {unused_address}: Connection refused" in result.stderr


@pytest.fixture
def unused_address() -> str:
    """A port that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{free.getsockname()[1]}"


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonesuch"],
        ["status", "--nonesuch"],
        ["clear"],
        ["clear", "f1", "--all"],
        ["events", "--after", "-1"],
        ["inject", "exhaustion"],
        ["inject", "exhaustion", "--bytes", "1MiB", "--share", "0.5"],
        ["inject", "exhaustion", "--share", "1.5"],
        ["inject", "exhaustion", "--bytes", "0"],
        ["inject", "exhaustion", "--bytes", "many"],
        ["inject", "poison", "--random", "3"],
        ["inject", "poison", "--host", "a"],
        ["inject", "poison", "--host", "a", "--dpa", "0x10"],
        ["inject", "poison", "--host", "a", "--dpa", "-0x1000"],
        ["inject", "poison", "--host", "a", "--dpa", "0x0", "--random", "3"],
        ["inject", "poison", "--host", "a", "--dpa", "0x0", "--seed", "3"],
        ["inject", "ratio-collapse", "--ratio", "0.9"],
        ["inject", "ratio-collapse", "--ratio", "nan"],
        ["inject", "latency"],
        ["inject", "latency", "--wall", "5"],
        ["demo", "--json", "/no/such/folder/demo.json"],
        ["demo", "--seed", "-1"],
        ["bench", "--rounds", "0"],
    ],
    ids=" ".join,
)
def test_wrong_usage_is_told_before_anything_is_asked(
    ctl: Ctl, device: FakeDevice, arguments: list[str]
) -> None:
    """Exit code 2, and the device heard nothing."""
    result = ctl(*arguments)
    assert result.exit_code == 2, result.output
    assert "Error: " in result.stderr
    assert not device.injected
    assert not device.cleared


@pytest.mark.parametrize(
    "command",
    [
        "",
        "status",
        "top",
        "events",
        "faults",
        "clear",
        "inject exhaustion",
        "inject poison",
        "inject reset",
        "demo",
        "bench",
    ],
)
def test_help_has_an_example(ctl: Ctl, command: str) -> None:
    """Every command shows how it is used."""
    result = ctl(*command.split(), "--help")
    assert result.exit_code == 0
    assert "Example:" in result.stdout
    assert "cramctl " + command in result.stdout


def test_every_level_has_a_name() -> None:
    """As on the wire, without its prefix."""
    assert [watermark(level) for level in range(1, 6)] == ["above_high", "high", "medium", "low", "critical"]


def test_ratio_for_people() -> None:
    """A device that stores nothing has none."""
    assert [ratio(0), ratio(2950)] == ["-", "2.95:1"]


def test_help_starts_fast() -> None:
    """Neither grpc nor rich nor the lab is loaded for it."""
    code = (
        "import sys; from cramctl.main import main; main(['--help'], standalone_mode=False); "
        "print({'grpc', 'rich', 'cramlab', 'numpy'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.splitlines()[-1] == "set()"


def test_an_installation_for_operators_alone_says_what_it_has_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a device's image: commands that start devices and hosts are not listed, and refused in a line."""
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "cramlab" else found(name))
    runner = CliRunner()
    listed = runner.invoke(main, ["--help"]).output
    assert "inject" in listed
    assert "soak" not in listed
    refused = runner.invoke(main, ["soak", "--seconds", "1"])
    assert refused.exit_code == 1
    assert "soak is not in this installation" in refused.output
    assert "pip install cramulator" in refused.output
