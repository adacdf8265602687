"""Structured logs: one line per event that matters, as text or as JSON."""

from __future__ import annotations

import json
import logging
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, TextIO

if TYPE_CHECKING:
    from collections.abc import Iterator

LOG: Final = logging.getLogger("cxldevd")
"""All of the service logs here. Nobody listens until `logging_to` is entered."""
LOG.addHandler(logging.NullHandler())


def log_event(event: str, *, level: int = logging.INFO, **facts: Any) -> None:
    """One line: what happened, and its facts by name."""
    LOG.log(level, event, extra={"facts": facts})


def _facts(record: logging.LogRecord) -> dict[str, Any]:
    facts: dict[str, Any] = getattr(record, "facts", {})
    return facts


def _time(record: logging.LogRecord) -> str:
    seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
    return f"{seconds}.{int(record.msecs):03d}Z"


class TextFormatter(logging.Formatter):
    """`2026-01-02T03:04:05.678Z info region_attached host=a generation=...`."""

    def format(self, record: logging.LogRecord) -> str:
        """One record as one line; a traceback follows on lines of its own."""
        words = [_time(record), record.levelname.lower(), record.getMessage()]
        words += [f"{name}={self._value(value)}" for name, value in _facts(record).items()]
        line = " ".join(words)
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line

    @staticmethod
    def _value(value: Any) -> str:
        text = str(value)
        return json.dumps(text) if not text or any(mark in text for mark in ' "=\n') else text


class JsonFormatter(logging.Formatter):
    """One JSON object a line: `time`, `level`, `event`, and the facts."""

    def format(self, record: logging.LogRecord) -> str:
        """One record as one line, its traceback included."""
        line = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            **_facts(record),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


@contextmanager
def logging_to(stream: TextIO | None, form: str, level: str) -> Iterator[None]:
    """Send the service's logs to a stream (None: stderr) while this is entered."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter() if form == "json" else TextFormatter())
    LOG.addHandler(handler)
    LOG.setLevel(level.upper())
    try:
        yield
    finally:
        LOG.removeHandler(handler)
