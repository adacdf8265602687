"""What the demo tells its reader to look at is there."""

from __future__ import annotations

import re
import subprocess
import urllib.request
from typing import TYPE_CHECKING

import pytest

from cramlab.demo.run import where_to_look
from cramlab.processes import DeviceProcess, script

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.e2e
def test_the_page_opens_and_the_command_runs(tmp_path: Path) -> None:
    """As they stand in the lines."""
    with DeviceProcess(tmp_path, physical="1MiB") as device:
        page, terminal = where_to_look(device)
        url = re.search(r"http://\S+", page)
        assert url is not None
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(url[0], timeout=30) as answer:
            assert b"<title>cxldevd</title>" in answer.read()
        program, *words = terminal.partition(": ")[2].split()
        subprocess.run([script(program), *words, "--once"], check=True, timeout=30, capture_output=True)
