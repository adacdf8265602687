"""`cramctl` against a real device: what is injected shows, what is cleared is gone, restarts are survived."""

from __future__ import annotations

import json
import signal
import subprocess
from contextlib import contextmanager
from queue import Empty, Queue
from threading import Thread
from typing import TYPE_CHECKING, Any

import pytest

from cramlab.bench.wire import BenchHost
from cramlab.processes import DeviceProcess, script
from ctl_helpers import Ctl

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.e2e

MIB = 1 << 20


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DeviceProcess]:
    """A cxldevd of 16 MiB, for all tests here that leave it running."""
    with DeviceProcess(tmp_path_factory.mktemp("device"), physical="16MiB") as device:
        yield device


@pytest.fixture
def ctl(real: DeviceProcess) -> Ctl:
    """`cramctl` for it; no fault is armed."""
    ctl = Ctl(real.operator_address)
    ctl.json("clear", "--all", "--json")
    return ctl


class Follower:
    """`cramctl events --json` as a process of its own, its lines read as they come."""

    def __init__(self, address: str) -> None:
        self._process = subprocess.Popen(
            [script("cramctl"), "events", "--after", "0", "--json", "--operator", address],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self._lines: Queue[str] = Queue()
        self._reader = Thread(target=self._read)
        self._reader.start()

    def until(self, kind: str) -> dict[str, Any]:
        """The next event of that kind."""
        while True:
            try:
                event: dict[str, Any] = json.loads(self._lines.get(timeout=30))
            except Empty:
                pytest.fail(f"no {kind} within 30 s")
            if event["event"] == kind:
                return event

    def interrupt(self) -> int:
        """Ctrl-C; the exit code."""
        self._process.send_signal(signal.SIGINT)
        return self._process.wait(30)

    def close(self) -> None:
        """Whatever happened, it ends."""
        self._process.kill()
        self._process.wait()
        self._reader.join()
        assert self._process.stdout is not None
        self._process.stdout.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line)


@contextmanager
def following(address: str) -> Iterator[Follower]:
    """A follower that does not outlive the test."""
    follower = Follower(address)
    try:
        yield follower
    finally:
        follower.close()


def test_a_fault_from_injection_to_clearing(ctl: Ctl) -> None:
    """Armed, seen in status and in the list, cleared by its id; the media is free again."""
    armed = ctl.json("inject", "exhaustion", "--share", "0.5", "--json")
    assert armed["media_free_size"] == 8 * MIB
    status = ctl.json("status")
    assert status["media"]["reserved_size"] == 8 * MIB
    assert [fault["fault"] for fault in status["faults"]] == [armed["fault"]]
    assert ctl.json("faults")[0]["share_milli"] == 500
    assert ctl.json("clear", armed["fault"], "--json") == {"cleared": 1, "media_free_size": 16 * MIB}
    assert ctl.json("faults") == []


@pytest.mark.parametrize(
    "command", ["ratio-collapse --ratio 1.2", "latency --device 1us --wall 1ms", "exhaustion --bytes 1MiB"]
)
def test_every_lasting_fault_is_taken_and_cleared(ctl: Ctl, command: str) -> None:
    """The device understands what the command line sends."""
    assert ctl.json("inject", *command.split(), "--json")["fault"]
    assert ctl.json("clear", "--all", "--json")["cleared"] == 1


def test_a_host_shows_until_the_reset(real: DeviceProcess, ctl: Ctl) -> None:
    """Its region is listed, its empty pages cannot be poisoned; a reset leaves nothing of it."""
    with BenchHost(real.address, 256, host="host-a"):
        [region] = ctl.json("status")["regions"]
        assert (region["region"], region["size"]) == ("host-a", MIB)
        refused = ctl("inject", "poison", "--host", "host-a", "--dpa", "0x0")
        assert refused.exit_code == 1
        assert refused.stderr.startswith("Error: INVALID_FIELD: ")
        before = ctl.json("status")["generation"]
        assert ctl.json("inject", "reset", "--json")["generation"] != before
        assert ctl.json("status")["regions"] == []


@pytest.mark.parametrize("command", ["inject poison --host nobody --random 1", "clear no-such-fault"])
def test_refusals_are_one_line(ctl: Ctl, command: str) -> None:
    """A reason of the wire and the device's own words."""
    result = ctl(*command.split())
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: UNKNOWN_")
    assert result.stderr.count("\n") == 1


def test_the_hosts_listener_is_not_the_operators(real: DeviceProcess) -> None:
    """Told as what it is: the two addresses are easily mistaken for each other."""
    result = Ctl(real.address)("status")
    assert result.exit_code == 1
    assert "is no operator's listener" in result.stderr


def test_events_so_far(ctl: Ctl) -> None:
    """From the first one on, and then it ends."""
    ctl.json("inject", "exhaustion", "--share", "1", "--json")
    kinds = [line.split()[2] for line in ctl("events", "--no-follow").stdout.splitlines()]
    assert "fault_armed" in kinds
    assert "watermark_crossed" in kinds


def test_following_survives_a_reset_and_a_restart(tmp_path: Path) -> None:
    """The events of all three generations are seen; Ctrl-C ends it with 130."""
    with DeviceProcess(tmp_path, physical="16MiB") as device, following(device.operator_address) as follower:
        ctl = Ctl(device.operator_address)
        ctl.json("inject", "latency", "--wall", "1ms", "--json")
        first = follower.until("fault_armed")["generation"]
        ctl.json("inject", "reset", "--json")
        second = follower.until("device_reset")["next_generation"]
        ctl.json("clear", "--all", "--json")
        assert follower.until("fault_cleared")["generation"] == second
        device.restart()
        ctl.json("inject", "latency", "--wall", "2ms", "--json")
        third = follower.until("fault_armed")["generation"]
        assert len({first, second, third}) == 3
        assert follower.interrupt() == 130
