"""The bench as it is run, and the pages that it is run with."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

import cramlab.bench.run
from cramctl.main import main
from cramlab.bench.catalogue import nbdkit_suite, standard_suite
from cramlab.bench.corpus import gather, process_pages
from cramlab.bench.suite import Scale
from cramlab.processes import ProgramProcess

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.e2e

TINY = Scale(pages=1024, many_pages=8192, few_pages=1024, calls=20, window_s=0.3)
HAS_NBDKIT = shutil.which("nbdkit") is not None


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """So few pages that the figures say nothing, and all else is as it is."""
    monkeypatch.setattr(cramlab.bench.run, "QUICK", TINY)


def test_every_row_is_measured(tmp_path: Path) -> None:
    """Devices, lanes, workers and agents of its own; every byte compared; a figure in each row."""
    result = CliRunner().invoke(main, ["bench", "--quick", "--rounds", "1", "--json", str(tmp_path / "rows")])
    assert result.exit_code == 0, result.output
    told = json.loads((tmp_path / "rows").read_text())
    assert {row["name"] for row in told["rows"]} == set(standard_suite().names)
    absent = [row["name"] for row in told["rows"] if row["median"] is None]
    assert absent == ([] if HAS_NBDKIT else ["lane-write-1-p50-nbdkit", "lane-read-1-p50-nbdkit"])
    assert all(
        row["ratio"] > 0 for row in told["rows"] if row["unit"] == "MB/s" and "least" not in row["name"]
    )
    assert all(row["met"] in {True, False} for row in told["rows"] if row["goal"] is not None)
    assert (told["corpus"]["pages"], told["quick"]) == (1024, True)
    assert "write-256" in result.stdout
    assert "goals met; 1 rounds" in result.stdout


@pytest.mark.skipif(not HAS_NBDKIT, reason="nbdkit is not installed")
def test_nbdkit_is_measured_beside_us(tmp_path: Path) -> None:
    """The same work on both, over both transports."""
    arguments = ["bench", "--quick", "--rounds", "1", "--against-nbdkit", "--json", str(tmp_path / "rows")]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    rows = {row["name"]: row for row in json.loads((tmp_path / "rows").read_text())["rows"]}
    assert list(rows) == nbdkit_suite().names
    assert all(row["raw"] > 0 for row in rows.values())


@pytest.mark.skipif(HAS_NBDKIT, reason="nbdkit is installed")
def test_without_nbdkit_the_comparison_says_so() -> None:
    """In one line."""
    result = CliRunner().invoke(main, ["bench", "--quick", "--against-nbdkit"])
    assert result.exit_code == 1
    assert "nbdkit is not installed" in result.output


def test_rows_can_be_chosen_and_a_wrong_name_is_told() -> None:
    """With the names that there are."""
    result = CliRunner().invoke(main, ["bench", "--quick", "--only", "policy-event"])
    assert result.exit_code == 0, result.output
    assert "policy-event" in result.stdout
    assert "write-256" not in result.stdout
    result = CliRunner().invoke(main, ["bench", "--quick", "--only", "speed"])
    assert result.exit_code == 2
    assert "no row is named speed; there are: write-1, " in result.output


def test_the_corpus_is_what_it_says(tmp_path: Path) -> None:
    """Shares of zero and random pages, the rest from processes, none of it zeros."""
    corpus = gather(tmp_path, 500, seed=3, zstd_level=1)
    assert corpus.pages.shape == (500, 4096)
    assert (corpus.zero_pages, corpus.random_pages, corpus.process_pages) == (50, 30, 420)
    assert int((~corpus.pages.any(axis=1)).sum()) == 50
    assert 1500 < corpus.ratio_milli < 10_000


def test_pages_of_a_process_are_its_memory(tmp_path: Path) -> None:
    """What a process says that it holds is found in it."""
    with ProgramProcess(tmp_path, "json_documents", args=["--mib", "1"]) as program:
        pages = process_pages(program.pid)
    assert pages.shape[1] == 4096
    assert pages.any(axis=1).all()
    assert b"000007-0003" in pages.tobytes()
