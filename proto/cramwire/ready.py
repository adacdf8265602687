"""The file in which a daemon says, once it serves, where: so that port 0 can be asked for."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from cramwire.whole_file import write_whole

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from typing import Any


def write_ready(path: Path, facts: Mapping[str, Any]) -> None:
    """Write the facts as JSON, all at once: a reader sees the whole file or none."""
    write_whole(path, json.dumps(facts) + "\n")
