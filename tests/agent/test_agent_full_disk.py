"""A disk that takes no more: of the report, of the state, of the swap file. One line, and nothing hidden."""

from __future__ import annotations

import errno
import json
import os
from typing import TYPE_CHECKING

import pytest

from cramagent import main as program
from server_helpers import bench_of

if TYPE_CHECKING:
    from pathlib import Path


def no_room(*_: object) -> int:
    """What a full disk says."""
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def agent(monkeypatch: pytest.MonkeyPatch, *options: str) -> int:
    """One short run on a device of its own; its exit status."""
    monkeypatch.setattr(program, "tune_malloc", lambda: False)
    monkeypatch.setattr(program, "tune_grpc", lambda: False)
    with bench_of() as bench, pytest.raises(SystemExit) as ended:
        program.main(
            [
                *("run", "--device", bench.service.address, "--source", "synthetic", "--pages", "100"),
                *("--accesses", "100", "--rate", "0", "--metrics", "off", "--host", "host-a", *options),
            ]
        )
    assert isinstance(ended.value.code, int)
    return ended.value.code


def test_a_report_without_room_does_not_hide_what_the_run_found(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """The summary comes first; then what is wrong with the file."""
    report = tmp_path / "report.json"
    # Not /dev/full by its own name: who breaks this code may be root, and it would be replaced.
    report.symlink_to("/dev/full")
    assert agent(monkeypatch, "--json", str(report)) == 1
    out, err = capsys.readouterr()
    assert "0 wrong, 0 lost" in out
    assert err.splitlines()[-1] == f"cram-agent: {report} cannot be written: No space left on device"


def test_a_state_without_room_is_named_and_costs_no_more_than_itself(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Which file, why, and what became of the region; all pages were verified before."""
    monkeypatch.setattr("cramagent.kept_state.os.fsync", no_room)
    report, state = tmp_path / "report.json", tmp_path / "host.state"
    assert agent(monkeypatch, "--state", str(state), "--json", str(report)) == 1
    told = json.loads(report.read_text())
    assert told["error"] == (
        f"--state: {state} cannot be written: No space left on device; the region is given back"
    )
    assert told["detached"]
    assert told["pages_verified_at_end"] > 0
    assert f"failed: {told['error']}" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == [report]


def test_a_swap_file_without_a_disk_behind_it_is_told_apart(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A larger --swap would not help."""
    monkeypatch.setattr("cramagent.tiers.swapfile.os.pwrite", no_room)
    assert agent(monkeypatch, "--node", "32KiB", "--zswap", "0", "--dram", "20%") == 1
    told = capsys.readouterr().err
    assert "out of memory: DRAM, the node and the swap behind it are full" in told
    assert "; the disk of the swap file has no room: give --swap-dir another folder" in told
