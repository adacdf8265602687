"""What the page answers over HTTP: files that say nothing of the device, and JSON that does."""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qs, urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cxldevd.page.recorder import Recorder

_TYPES: Final = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}
_ONLY_FROM_HERE: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""A browser asks nobody else for anything, whatever the page says."""
HEADERS: Final = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": _ONLY_FROM_HERE,
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
"""Of every answer."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer's body."""

    content_type: str
    body: bytes


class DevicePage:
    """The page's files at `/` and `/page/NAME`, its figures at `/status.json` and `/history.json`."""

    def __init__(self, recorder: Recorder) -> None:
        self._files = _files()
        self._documents: Mapping[str, Callable[[str], object]] = {
            "/status.json": lambda _: recorder.status(),
            "/history.json": lambda query: recorder.history(_after(query)),
        }

    def file(self, target: str) -> Answer | None:
        """A file of the page, the same for every device; None: there is none of this name."""
        return self._files.get(urlsplit(target).path)

    def document(self, target: str) -> Answer | None:
        """Figures of the device, for those who may scrape it; None: there are none of this name."""
        parts = urlsplit(target)
        made = self._documents.get(parts.path)
        if made is None:
            return None
        body = json.dumps(made(parts.query), separators=(",", ":"), allow_nan=False)
        return Answer("application/json", body.encode())


def _after(query: str) -> int:
    """`after=N`; what is no number asks for everything."""
    text = parse_qs(query).get("after", ["0"])[-1]
    return int(text) if text.isascii() and text.isdigit() and len(text) < 16 else 0


def _files() -> dict[str, Answer]:
    found = {}
    for path in resources.files("cxldevd.page").joinpath("files").iterdir():
        kind = _TYPES.get(path.name[path.name.rfind(".") :])
        if kind is not None:
            found[f"/page/{path.name}"] = Answer(f"{kind}; charset=utf-8", path.read_bytes())
    found["/"] = found.pop("/page/index.html")
    return found
