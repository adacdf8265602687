"""What happened to which node and when, for who wants to know it to the millisecond: `--events FILE`.

Metrics are sampled; between two samples a node may close and open again.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from pathlib import Path


class Note(Protocol):
    """Takes an event of a node."""

    def __call__(self, wall_time_ns: int, event: str, node: int, /) -> None:
        """When (since the epoch), what, and the node's number."""
        ...


class NodeChanges:
    """Open or closed, online or offline: finds what changed since it looked last."""

    def __init__(self) -> None:
        self._open = True
        self._online = True

    def look(self, *, node_open: bool, online: bool) -> list[str]:
        """`node_closed`, `node_opened`, `node_offline`, `node_online`, as they apply; usually nothing."""
        if node_open == self._open and online == self._online:
            return []
        changes = []
        if online != self._online:
            changes.append("node_online" if online else "node_offline")
        if node_open != self._open:
            changes.append("node_opened" if node_open else "node_closed")
        self._open, self._online = node_open, online
        return changes


class Journal:
    """A file of JSON lines, `{"wall_time_ns": ..., "event": ..., "node": 0}`, written as soon as it is known.

    Raises:
        OSError: the file cannot be made.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("w", buffering=1)

    def note(self, wall_time_ns: int, event: str, node: int) -> None:
        """One line. `wall_time_ns` is since the epoch, as in the device's events."""
        self._file.write(json.dumps({"wall_time_ns": wall_time_ns, "event": event, "node": node}) + "\n")

    def close(self) -> None:
        """End the file."""
        self._file.close()
