"""Structured logs: one line per event that matters, as text or as JSON."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import threading
import time
from collections import deque
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, TextIO

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_MOST_LINES: Final = 10_000
_LAST_LINES_S: Final = 2.0

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
    handler = LinesBehind(_write_to_stderr if stream is None else stream.write)
    handler.setFormatter(JsonFormatter() if form == "json" else TextFormatter())
    LOG.addHandler(handler)
    LOG.setLevel(level.upper())
    try:
        yield
    finally:
        LOG.removeHandler(handler)
        handler.close()


class LinesBehind(logging.Handler):
    """Writes lines on a thread of its own: where nobody reads them, nobody waits but that thread.

    Lines beyond what it holds are dropped, and their number is told as soon as there is room.
    """

    def __init__(self, write: Callable[[str], object]) -> None:
        super().__init__()
        self._write = write
        self._lines: deque[str] = deque()
        self._more = threading.Condition(threading.Lock())
        self._dropped = 0
        self._ending = False
        self._thread = threading.Thread(target=self._run, name="cxldevd-lines", daemon=True)
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        """Take one line in."""
        line = self.format(record) + "\n"
        with self._more:
            if len(self._lines) >= _MOST_LINES:
                self._dropped += 1
                return
            if self._dropped:
                self._lines.append(self._told_of_dropped())
            self._lines.append(line)
            self._more.notify()

    def close(self) -> None:
        """Write what is left, as far as that gets within a second or two."""
        with self._more:
            self._ending = True
            self._more.notify()
        self._thread.join(_LAST_LINES_S)
        super().close()

    def _told_of_dropped(self) -> str:
        """A line for the lines that were dropped. Needs the lock."""
        record = LOG.makeRecord(
            LOG.name, logging.WARNING, __file__, 0, "lines not logged", (), None,
            extra={"facts": {"lines": self._dropped}},
        )  # fmt: skip
        self._dropped = 0
        return self.format(record) + "\n"

    def _run(self) -> None:
        while True:
            with self._more:
                self._more.wait_for(lambda: self._lines or self._ending)
                if not self._lines:
                    return
                line = self._lines.popleft()
            with contextlib.suppress(OSError):  # nobody reads them any more
                self._write(line)


def _write_to_stderr(line: str) -> None:
    """Past `sys.stderr`: a thread that is stuck in it would take the end of the process down."""
    rest = line.encode(errors="backslashreplace")
    while rest:
        rest = rest[os.write(2, rest) :]
