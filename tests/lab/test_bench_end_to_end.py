"""The bench as it is run, and the pages that it is run with."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from cramctl.main import main
from cramlab.bench.corpus import gather, process_pages
from cramlab.processes import ProgramProcess

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.e2e


def test_a_quick_bench_measures_every_row(tmp_path: Path) -> None:
    """A device of its own, every byte compared, all rows with figures above 0."""
    result = CliRunner().invoke(main, ["bench", "--quick", "--rounds", "1", "--json", str(tmp_path / "rows")])
    assert result.exit_code == 0, result.output
    told = json.loads((tmp_path / "rows").read_text())
    names = [
        f"{operation}-{kind}" for operation in ("write", "read") for kind in (1, 16, 64, 256, 1024, "1-p50")
    ]
    assert [row["name"] for row in told["rows"]] == names
    assert all(row["min"] > 0 for row in told["rows"])
    assert all(row["ratio"] > 0 for row in told["rows"] if row["unit"] == "MB/s")
    assert told["corpus"]["pages"] == 2048
    assert "write-256" in result.stdout


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
