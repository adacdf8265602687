"""What a user gets wrong with the agent, against a real device: one line, and what to do."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from cramlab.processes import DeviceProcess, script

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def device(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DeviceProcess]:
    """A small device."""
    with DeviceProcess(tmp_path_factory.mktemp("device"), physical="1MiB") as process:
        yield process


def agent(*options: str) -> subprocess.CompletedProcess[str]:
    """One run, to its end."""
    return subprocess.run(
        [script("cram-agent"), "run", *options], capture_output=True, text=True, timeout=60, check=False
    )


def test_a_region_that_is_too_large_names_the_option(device: DeviceProcess) -> None:
    """The user gave no region: it came from the source's size."""
    ended = agent("--device", device.address, "--source", "synthetic", "--pages", "3000")
    assert ended.returncode == 1
    (line,) = ended.stderr.splitlines()
    assert "LOGICAL_CAPACITY" in line
    assert line.endswith("; ask for a smaller region with --node (a size, or a share of the source)")


def test_the_operators_listener_is_told_apart(device: DeviceProcess) -> None:
    """Two addresses are easily confused."""
    ended = agent("--device", device.operator_address, "--source", "synthetic", "--pages", "100")
    assert ended.returncode == 1
    (line,) = ended.stderr.splitlines()
    assert f"{device.operator_address} is no hosts' listener of cxldevd" in line


def test_a_lane_where_there_can_be_none_is_told_as_that(device: DeviceProcess) -> None:
    """The address is right; it is shared memory that does not reach over TCP."""
    ended = agent(
        *("--device", device.address, "--source", "synthetic", "--pages", "100", "--transport", "lane")
    )
    assert ended.returncode == 1
    (line,) = ended.stderr.splitlines()
    assert f"no lane to {device.address}: {device.address} is no unix socket; a lane needs" in line
    assert "--transport auto" in line


def test_a_tiny_source_gets_the_least_dram(device: DeviceProcess, tmp_path: Path) -> None:
    """A quarter of three pages is no host: the share is raised, and the run goes well."""
    page = tmp_path / "page"
    page.write_bytes(b"small " * 2000)
    ended = agent("--device", device.address, "--source", f"file:{page}", "--accesses", "100", "--rate", "0")
    assert ended.returncode == 0, ended.stderr
