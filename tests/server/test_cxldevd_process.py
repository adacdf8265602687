"""`cxldevd` as people start it: help, errors, ready file, signals."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from cramwire.v1 import (
    device_pb2,
    device_pb2_grpc,
    memory_pb2,
    memory_pb2_grpc,
    operator_pb2,
    operator_pb2_grpc,
)
from cxldevd.settings import TABLE
from server_helpers import DEADLINE_S, PAGE, prose

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.e2e

CXLDEVD = str(Path(sys.executable).with_name("cxldevd"))
ANYWHERE = ("--listen", "127.0.0.1:0", "--operator", "127.0.0.1:0", "--metrics", "127.0.0.1:0")


def environment(**more: str) -> dict[str, str]:
    """This process's, without settings of cxldevd."""
    return {name: text for name, text in os.environ.items() if not name.startswith("CXLDEVD_")} | more


def run(*arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    """Run it until it ends by itself."""
    return subprocess.run(
        [CXLDEVD, *arguments],
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
        env=environment(**more),
    )


@contextmanager
def running(tmp_path: Path, *arguments: str) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    """A process that serves, and its ready file; killed if the test leaves it running."""
    ready = tmp_path / "ready.json"
    process = subprocess.Popen(
        [CXLDEVD, "--ready-file", str(ready), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    with process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line.startswith("cxldevd: hosts "), line
            # The line comes first, the file right behind it.
            while not ready.exists():
                assert process.poll() is None
            yield process, json.loads(ready.read_text())
        finally:
            process.kill()


def end(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Exit status and log of a process that is about to end."""
    _, log = process.communicate(timeout=DEADLINE_S)
    return process.returncode, log


def test_help_shows_every_setting() -> None:
    """With its flag and its default, and exits 0."""
    shown = run("--help")
    assert shown.returncode == 0
    told = " ".join(shown.stdout.split())
    for setting in TABLE.values():
        assert setting.flag in told
        assert f"[{setting.default_text}]" in told
    assert "Examples:" in told


def test_version() -> None:
    """One line."""
    assert run("--version").stdout.startswith("cxldevd, version ")


@pytest.mark.parametrize(
    ("arguments", "more", "message"),
    [
        (("--trim-delay", "5"), {}, "--trim-delay: '5' is not a time"),
        (("--nonsense",), {}, "No such option"),
        (("--zratio",), {}, "Option '--zratio' requires an argument"),
        ((), {"CXLDEVD_ZRATIO": "x"}, "CXLDEVD_ZRATIO: 'x' is not a whole number"),
        (("--config", "/nonexistent.toml"), {}, "/nonexistent.toml: No such file or directory"),
        (("--listen", "0.0.0.0:0"), {}, "--listen: 0.0.0.0:0 can be reached from other machines"),
    ],
)
def test_wrong_settings_are_one_line_and_exit_2(
    arguments: tuple[str, ...], more: dict[str, str], message: str
) -> None:
    """On stderr, with the program's name."""
    ended = run(*arguments, **more)
    assert ended.returncode == 2
    assert ended.stdout == ""
    (line,) = ended.stderr.splitlines()
    assert line.startswith("cxldevd: ")
    assert message in line


def test_it_serves_and_ends_with_sigterm(tmp_path: Path) -> None:
    """Ready file, both sides, metrics; SIGTERM ends watchers and exits 0."""
    with running(tmp_path, *ANYWHERE, "--physical", "1MiB", "--log-format", "json") as (process, ready):
        assert ready["pid"] == process.pid
        with (
            grpc.insecure_channel(ready["address"]) as hosts,
            grpc.insecure_channel(ready["operator_address"]) as operators,
        ):
            device = device_pb2_grpc.DeviceServiceStub(hosts)
            made = device.Attach(
                device_pb2.AttachRequest(host="a", logical_bytes=16 * PAGE), timeout=DEADLINE_S
            )
            assert made.generation == ready["generation"]
            ref: dict[str, Any] = {"session": made.session, "generation": made.generation}
            memory = memory_pb2_grpc.MemoryServiceStub(hosts)
            memory.Write(memory_pb2.WriteRequest(dpas=[0], data=prose(1), **ref), timeout=DEADLINE_S)
            read = memory.Read(memory_pb2.ReadRequest(dpas=[0], **ref), timeout=DEADLINE_S)
            assert read.data == prose(1)
            oracle = operator_pb2_grpc.OracleServiceStub(operators)
            status = oracle.GetStatus(operator_pb2.GetStatusRequest(), timeout=DEADLINE_S)
            assert status.telemetry.stored_pages == 1
            url = f"http://{ready['metrics_address']}/metrics"
            with urllib.request.urlopen(url, timeout=DEADLINE_S) as answer:
                assert b"cxldev_stored_pages 1.0" in answer.read()
            events: Any = device.WatchEvents(device_pb2.WatchEventsRequest(**ref), timeout=DEADLINE_S)
            assert next(events).HasField("started")
            process.send_signal(signal.SIGTERM)
            with pytest.raises(grpc.RpcError) as ended:
                next(events)
            assert ended.value.code() is grpc.StatusCode.UNAVAILABLE
        code, log = end(process)
    assert code == 0
    assert [json.loads(line)["event"] for line in log.splitlines()] == ["attached", "drain", "stopped"]


def test_sigint_is_an_orderly_end_too(tmp_path: Path) -> None:
    """Control-C at a terminal."""
    with running(tmp_path, *ANYWHERE) as (process, _):
        process.send_signal(signal.SIGINT)
        assert end(process)[0] == 0


def test_a_second_signal_forces_the_end(tmp_path: Path) -> None:
    """While a command that takes an hour holds up the drain."""
    with (
        running(tmp_path, *ANYWHERE, "--drain-grace", "1h") as (process, ready),
        grpc.insecure_channel(ready["address"]) as hosts,
        grpc.insecure_channel(ready["operator_address"]) as operators,
    ):
        device = device_pb2_grpc.DeviceServiceStub(hosts)
        made = device.Attach(device_pb2.AttachRequest(host="a", logical_bytes=PAGE), timeout=DEADLINE_S)
        slow = operator_pb2.Fault(latency=operator_pb2.LatencyFault(wall_ns=3600 * 10**9))
        operator_pb2_grpc.FaultServiceStub(operators).InjectFault(
            operator_pb2.InjectFaultRequest(fault=slow), timeout=DEADLINE_S
        )
        ref: dict[str, Any] = {"session": made.session, "generation": made.generation}
        events: Any = device.WatchEvents(device_pb2.WatchEventsRequest(**ref), timeout=DEADLINE_S)
        next(events)
        oracle = operator_pb2_grpc.OracleServiceStub(operators)
        write = memory_pb2_grpc.MemoryServiceStub(hosts).Write.future(
            memory_pb2.WriteRequest(dpas=[0], data=prose(1), **ref), timeout=DEADLINE_S
        )
        while not oracle.GetStatus(operator_pb2.GetStatusRequest()).telemetry.stored_pages:
            assert not write.done()
        process.send_signal(signal.SIGTERM)
        with pytest.raises(grpc.RpcError):
            next(events)  # the drain has begun
        process.send_signal(signal.SIGTERM)
        code, log = end(process)
    assert code == 128 + signal.SIGTERM
    assert "second signal" in log


def test_a_taken_port_is_one_line_and_exit_1(tmp_path: Path) -> None:
    """Of each listener, TCP and unix."""
    socket = f"unix:{tmp_path}/op.sock"
    arguments = ("--listen", "127.0.0.1:0", "--operator", socket, "--metrics", "127.0.0.1:0")
    with running(tmp_path, *arguments) as (process, ready):
        for option, taken in (
            ("--listen", ready["address"]),
            ("--operator", socket),
            ("--metrics", ready["metrics_address"]),
        ):
            ended = run(*ANYWHERE, option, taken)
            assert ended.returncode == 1
            (line,) = ended.stderr.splitlines()
            assert line.startswith("cxldevd: ")
            assert line.endswith("Address already in use")
        with grpc.insecure_channel(socket) as channel:
            oracle = operator_pb2_grpc.OracleServiceStub(channel)
            assert oracle.GetStatus(operator_pb2.GetStatusRequest(), timeout=DEADLINE_S).identity.model
        process.send_signal(signal.SIGTERM)
        assert end(process)[0] == 0
    assert not (tmp_path / "op.sock").exists()


def test_a_ready_file_that_cannot_be_written(tmp_path: Path) -> None:
    """One line, before it serves: who started it waits for a file that will not come."""
    ended = run(*ANYWHERE, "--ready-file", str(tmp_path / "none" / "ready.json"))
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr == f"cxldevd: --ready-file: {tmp_path}/none is no folder\n"
    ended = run(*ANYWHERE, "--ready-file", str(tmp_path))
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr == f"cxldevd: --ready-file: {tmp_path}: Is a directory\n"


def test_the_ready_file_goes_with_the_process(tmp_path: Path) -> None:
    """Whoever waits for it afterwards waits for the next start, not for a device that is gone."""
    with running(tmp_path, *ANYWHERE) as (process, _):
        process.terminate()
        assert end(process)[0] == 0
    assert not list(tmp_path.glob("*.json"))


def test_media_that_no_machine_can_map() -> None:
    """Is one line, too."""
    ended = run(*ANYWHERE, "--physical", "900000TiB")
    assert ended.returncode in {1, 2}
    (line,) = ended.stderr.splitlines()
    assert line.startswith("cxldevd: ")


@pytest.mark.parametrize("option", ["--listen", "--operator", "--metrics"])
def test_a_name_that_no_machine_can_have(option: str) -> None:
    """One line, not a traceback."""
    ended = run(*ANYWHERE, "--insecure", option, "a..b:1")
    assert ended.returncode == 1
    (line,) = ended.stderr.splitlines()
    assert line.startswith("cxldevd: ")
    assert "cannot listen on a..b:1: no machine can have this name" in line


def test_a_stderr_that_nobody_reads_does_not_hold_up_the_end(tmp_path: Path) -> None:
    """The pipe is full from the start; the process serves, and ends when it is told to."""
    unread, full = os.pipe()
    os.set_blocking(full, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(full, bytes(4096))
    os.set_blocking(full, True)
    ready = tmp_path / "ready.json"
    with subprocess.Popen(
        [CXLDEVD, *ANYWHERE, "--ready-file", str(ready), "--log-level", "debug"],
        stdout=subprocess.PIPE,
        stderr=full,
        env=environment(),
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline().startswith(b"cxldevd: hosts ")
            process.terminate()
            assert process.wait(DEADLINE_S) == 0
        finally:
            process.kill()
            os.close(unread)
            os.close(full)


def test_a_socket_left_behind_is_no_obstacle(tmp_path: Path) -> None:
    """After kill -9 the next one serves on the same path."""
    socket = f"unix:{tmp_path}/host.sock"
    arguments = ("--listen", socket, "--operator", "127.0.0.1:0", "--metrics", "off")
    generations = []
    for _ in range(2):
        with running(tmp_path, *arguments) as (process, ready):
            generations.append(ready["generation"])
            assert ready["address"] == socket
            assert ready["metrics_address"] == ""
            process.kill()
            process.wait(DEADLINE_S)
        (tmp_path / "ready.json").unlink()
    assert generations[0] != generations[1]
