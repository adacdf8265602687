"""The file in which a daemon says, once it serves, where: so that port 0 can be asked for."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from typing import Any


def write_ready(path: Path, facts: Mapping[str, Any]) -> None:
    """Write the facts as JSON, all at once: a reader sees the whole file or none."""
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    scratch.write_text(json.dumps(facts) + "\n")
    scratch.replace(path)
