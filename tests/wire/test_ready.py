"""The file in which a daemon says where it serves."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from cramwire.ready import write_ready

if TYPE_CHECKING:
    from pathlib import Path


def test_a_reader_sees_the_whole_file_and_nothing_else_is_left(tmp_path: Path) -> None:
    """It is written beside and moved into place."""
    ready = tmp_path / "ready.json"
    write_ready(ready, {"pid": 1, "address": "127.0.0.1:7700"})
    assert json.loads(ready.read_text()) == {"pid": 1, "address": "127.0.0.1:7700"}
    write_ready(ready, {"pid": 2})
    assert json.loads(ready.read_text()) == {"pid": 2}
    assert list(tmp_path.iterdir()) == [ready]
