"""`cramctl top`: what it works out of two readings, how it fits the screen, and a life in a real terminal."""

from __future__ import annotations

import fcntl
import io
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from rich.console import Console

from cramctl.describe import describe_event, describe_status
from cramctl.operator import Operator, OperatorError, Unreachable
from cramctl.readings import Readings
from cramctl.tables import print_status
from cramctl.top_view import TopView
from cramlab.processes import DeviceProcess, script
from cramwire.v1 import operator_pb2 as pb
from cramwire.v1 import types_pb2
from ctl_helpers import MIB, Ctl, FakeDevice, happened, started

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DEADLINE_S = 30.0
EVENT = describe_event(happened(1, no_more_writes_entered=types_pb2.NoMoreWritesEntered()).event)


def told(written: int = 0, used: int = 0, hosts: int = 1, **more: Any) -> pb.GetStatusResponse:
    """A device of 64 MiB."""
    status = pb.GetStatusResponse(telemetry=types_pb2.Telemetry(media_used_bytes=used, **more))
    status.identity.generation = "00c0ffee00c0ffee"
    status.identity.physical_capacity_bytes = 64 * MIB
    status.counters.written_pages = written
    for number in range(hosts):
        region = status.regions.add()
        region.telemetry.host, region.telemetry.media_used_bytes = f"host-{number}", used // hosts
    return status


class Answers(Operator):
    """Answers from a script: a status, or what is raised instead of one."""

    def __init__(self, *script: pb.GetStatusResponse | OperatorError) -> None:
        self._script = list(script)

    def status(self) -> pb.GetStatusResponse:
        """The next of the script."""
        found = self._script.pop(0)
        if isinstance(found, OperatorError):
            raise found
        return found


def read(*script: pb.GetStatusResponse | OperatorError) -> Readings:
    """Readings after the whole script, two seconds apart."""
    now = iter(range(0, 1000, 2))
    readings = Readings(Answers(*script), lambda: float(next(now)))
    readings.look()
    for _ in script[1:]:
        readings.look_again()
    return readings


def drawn(readings: Readings, width: int, height: int | None, events: list[dict[str, Any]]) -> list[str]:
    """The lines of the view."""
    console = Console(width=width, height=height, file=io.StringIO(), record=True)
    console.print(TopView(readings, events, height))
    return console.export_text().splitlines()


def test_rates_are_between_two_readings() -> None:
    """Pages a second, and what each host takes; nothing can be said of one reading alone."""
    first = read(told(written=100, used=0))
    assert first.rates["written_pages"] is None
    second = read(told(written=100, used=0), told(written=300, used=2 * MIB))
    assert second.rates["written_pages"] == 100.0
    assert second.host_rates == {"host-0": float(MIB)}


@pytest.mark.parametrize("between", [[], [Unreachable("it is gone")]], ids=["restart", "away"])
def test_no_rate_over_a_restart(between: list[Unreachable]) -> None:
    """Counters that began anew are compared with nothing; nor is what happened while nobody looked."""
    readings = read(told(written=300), *between, told(written=10))
    assert readings.rates["written_pages"] is None
    assert readings.problem == ""


def test_the_last_figures_stay_while_the_device_is_away() -> None:
    """With since when, and for programs a status that is null."""
    readings = read(
        told(written=300, used=MIB), Unreachable("cannot reach it"), Unreachable("cannot reach it")
    )
    assert readings.status["media"]["used_size"] == MIB
    assert readings.away_s > 0
    assert readings.described() == {
        "reachable": False,
        "problem": "cannot reach it",
        "rates": dict.fromkeys((f"{name}_per_s" for name in readings.rates), None),
        "status": None,
    }
    assert "NO ANSWER for" in drawn(readings, 80, 24, [])[0]


def test_a_refusal_is_no_absence() -> None:
    """It ends the command."""
    with pytest.raises(OperatorError, match="NOT_ALLOWED"):
        read(told(), OperatorError("NOT_ALLOWED: no"))


@pytest.mark.parametrize(("width", "height"), [(40, 12), (80, 24), (200, 60)])
def test_the_view_fits_its_screen(width: int, height: int) -> None:
    """However many hosts, faults and events there are; what does not fit is counted."""
    status = told(written=5, used=32 * MIB, hosts=80, no_more_writes=True)
    status.faults.add(fault_id="exhaustion-1", fault=pb.Fault(exhaustion=pb.ExhaustionFault(share_milli=500)))
    lines = drawn(read(status, status), width, height, [EVENT] * 50)
    assert all(len(line) <= width for line in lines)
    assert "generation 00c0ffee00c0ffee" in lines[0]
    assert any("more" in line and "and" in line for line in lines) or width == 40
    if height >= 24:
        assert len(lines) <= height
        assert any("NO MORE WRITES" in line for line in lines)
        assert any("exhaustion-1" in line for line in lines)
        assert sum("no_more_writes_entered" in line for line in lines) >= 3


def test_an_empty_device_says_so() -> None:
    """Instead of white space."""
    text = "\n".join(drawn(read(told(hosts=0)), 80, 24, []))
    for expected in ("no host is attached", "no event yet", "nothing is stored", "0 B of 64.0 MiB"):
        assert expected in text


def test_once_is_two_readings(ctl: Ctl, device: FakeDevice) -> None:
    """For scripts as JSON, for people without control codes."""
    answer = ctl.json("top", "--once", "--json", "--interval", "100ms")
    assert answer["reachable"] is True
    assert answer["rates"]["written_pages_per_s"] == 0.0
    assert answer["status"]["regions"][0]["region"] == "host-a"
    device.streams = [[started(0, 1), happened(1, no_more_writes_entered=types_pb2.NoMoreWritesEntered())]]
    shown = ctl("top", "--once", "--interval", "300ms").stdout
    assert "host-a" in shown
    assert "no more events: " in shown, "the script of the device is over"
    assert "\x1b" not in shown


def test_a_short_interval_is_refused(ctl: Ctl) -> None:
    """It would cost the device more than it tells."""
    result = ctl("top", "--interval", "10ms")
    assert result.exit_code == 2
    assert "at least 100ms" in result.stderr


def test_a_table_in_a_pipe_is_not_wrapped(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line a host, whatever width a terminal would have had."""
    monkeypatch.delenv("COLUMNS", raising=False)
    status = told()
    status.regions[0].telemetry.host = "a-host-with-a-name-" * 4
    print_status(describe_status(status))
    [line] = [line for line in capsys.readouterr().out.splitlines() if "a-host" in line]
    assert line.startswith("a-host-with-a-name-" * 4)
    assert len(line) > 80


class Terminal:
    """`cramctl top` on a pseudo-terminal: what it draws is kept, its size can be changed."""

    def __init__(self, address: str) -> None:
        self._primary, secondary = pty.openpty()
        self.resize(24, 80)
        environment = {key: value for key, value in os.environ.items() if key not in {"COLUMNS", "LINES"}}
        self.process = subprocess.Popen(
            [script("cramctl"), "top", "--interval", "200ms", "--operator", address],
            stdin=secondary,
            stdout=secondary,
            stderr=secondary,
            env={**environment, "TERM": "xterm-256color"},
            start_new_session=True,
        )
        os.close(secondary)
        self.drawn = ""

    def resize(self, rows: int, columns: int) -> None:
        """Another size from now on."""
        fcntl.ioctl(self._primary, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def until(self, text: str) -> None:
        """Wait until this is drawn, from now on."""
        self.drawn, end = "", time.monotonic() + DEADLINE_S
        while text not in self.drawn:
            assert time.monotonic() < end, f"{text!r} is not on the screen: {self.drawn[-2000:]}"
            self._read()

    def interrupt(self) -> int:
        """Ctrl-C; its exit code."""
        self.process.send_signal(signal.SIGINT)
        self.drawn, end = "", time.monotonic() + DEADLINE_S
        while self.process.poll() is None:
            assert time.monotonic() < end, "it goes on"
            self._read()
        while self._read():
            pass
        return self.process.returncode

    def close(self) -> None:
        """Whatever happened, it ends."""
        self.process.kill()
        self.process.wait()
        os.close(self._primary)

    def _read(self) -> bool:
        ready, _, _ = select.select([self._primary], [], [], 0.1)
        try:
            piece = os.read(self._primary, 1 << 16) if ready else b""
        except OSError:  # the other end is closed
            return False
        self.drawn += piece.decode(errors="replace")
        return bool(piece)


@contextmanager
def terminal(address: str) -> Iterator[Terminal]:
    """One that does not outlive the test."""
    made = Terminal(address)
    try:
        yield made
    finally:
        made.close()


@pytest.mark.e2e
def test_a_life_in_a_terminal(tmp_path: Path) -> None:
    """It draws, follows a resize, tells when the device is gone and back, and leaves a clean screen."""
    with DeviceProcess(tmp_path, physical="16MiB") as device, terminal(device.operator_address) as screen:
        first = device.facts["generation"]
        screen.until(f"generation {first}")
        screen.until("0 B of 16.0 MiB")
        screen.resize(40, 120)
        screen.until("·" * 80)
        Ctl(device.operator_address).json("inject", "exhaustion", "--share", "0.5", "--json")
        screen.until("fault_armed")
        device.kill()
        screen.until("NO ANSWER for")
        device.restart()
        screen.until(f"generation {device.facts['generation']}")
        assert device.facts["generation"] != first
        screen.until("answers")
        assert screen.interrupt() == 130
        assert "\x1b[?1049l" in screen.drawn, "the screen that was there before is back"
        assert "Traceback" not in screen.drawn


def test_it_says_when_the_device_runs_full() -> None:
    """By its own readings, two seconds apart; a narrow screen cuts no heading."""

    def holding(used: int) -> pb.GetStatusResponse:
        return told(used=used, media_free_bytes=64 * MIB - used)

    fuller = [holding(number * 100_000) for number in range(1, 15)]
    lines = drawn(read(*fuller), 60, 24, [])
    assert "runs full  in " in "\n".join(lines)
    assert "by the last minute" in "\n".join(lines)
    for heading in ("device", "media", "lately", "watermark", "runs full", "stored", "pages"):
        assert [line for line in lines if line.startswith(f"{heading} ")], heading
    assert any(line.startswith("runs full  not known yet") for line in drawn(read(*fuller[:2]), 60, 24, []))
    at_rest = drawn(read(*[holding(100_000)] * 14), 60, 24, [])
    assert any(line.startswith("runs full  no, by the last minute") for line in at_rest)
