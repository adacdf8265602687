"""How every command of `cramctl` ends that is interrupted, or whose answer nothing can take."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import pytest
from click.testing import CliRunner

from cramctl import main as ctl

if TYPE_CHECKING:
    from ctl_helpers import FakeDevice

FULL = Path("/dev/full")
"""A disk without room."""


def run(monkeypatch: pytest.MonkeyPatch, command: click.Command) -> Any:
    """`cramctl status`, if that were this command."""
    monkeypatch.setattr(ctl._LazyGroup, "get_command", lambda *_: command)
    return CliRunner().invoke(ctl.main, ["status"])


def test_ctrl_c_is_130_as_the_help_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever command it is: it need not know."""

    @click.command()
    def waits() -> None:
        raise KeyboardInterrupt

    result = run(monkeypatch, waits)
    assert (result.exit_code, result.stderr) == (130, "interrupted\n")


@pytest.mark.parametrize("options", [["status"], ["faults"], ["top", "--once"]])
def test_an_answer_that_has_no_room_is_one_line(device: FakeDevice, options: list[str]) -> None:
    """A full disk behind standard output is no bug of ours."""
    with FULL.open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "cramctl.main", *options, "--operator", device.address],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr == "Error: standard output cannot be written: No space left on device\n"


def test_a_result_that_has_no_room_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The file, and why."""

    @click.command()
    def measures() -> None:
        FULL.write_text("result")

    result = run(monkeypatch, measures)
    assert result.exit_code == 1
    assert "cannot be written: No space left on device" in result.stderr


def test_a_name_without_an_address_is_said_as_it_is() -> None:
    """What grpc says has half of a bracket left."""
    done = CliRunner().invoke(ctl.main, ["status", "--operator", "no.such.name.invalid:7701"])
    assert done.exit_code == 1
    assert "cannot reach no.such.name.invalid:7701: " in done.stderr
    assert "]" not in done.stderr


def test_another_mistake_of_the_system_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bug keeps its traceback."""

    @click.command()
    def breaks() -> None:
        raise PermissionError(1, "not yours")

    assert isinstance(run(monkeypatch, breaks).exception, PermissionError)
