"""Structured logs, of both sides: one line per event that matters, as text or as JSON.

A line says what happened (`event`, in words_like_these) and its facts by name. What may happen often goes
through `often`: a few lines of a kind at once, then one in a while, which says how many were held back.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import threading
import time
from collections import deque
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TextIO

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

FORMS: Final = ("text", "json")
LEVELS: Final = ("debug", "info", "warning", "error")

_MOST_LINES: Final = 10_000
_LAST_LINES_S: Final = 2.0
_LOOK_S: Final = 1.0
"""How often what was held back is looked after."""


@dataclass(slots=True)
class _Kind:
    """Lines of one kind: how many more may go at once, and how many were held back."""

    left: float
    since_ns: int
    held: int = 0


class Storms:
    """Lets `burst` lines of one kind through at once and one more every `every_ns`; counts the others."""

    def __init__(self, burst: int = 5, every_ns: int = 1_000_000_000) -> None:
        self._burst = burst
        self._every_ns = every_ns
        self._lock = threading.Lock()
        self._kinds: dict[tuple[str, ...], _Kind] = {}

    def admit(self, kind: tuple[str, ...], now_ns: int) -> int | None:
        """None: not this line; else how many of its kind were held back since the last one."""
        with self._lock:
            one = self._kinds.get(kind)
            if one is None:
                one = self._kinds[kind] = _Kind(self._burst, now_ns)
            one.left = min(self._burst, one.left + (now_ns - one.since_ns) / self._every_ns)
            one.since_ns = now_ns
            if one.left < 1:
                one.held += 1
                return None
            one.left -= 1
            held, one.held = one.held, 0
            return held

    def overdue(self, now_ns: int, *, all_of_them: bool = False) -> list[tuple[tuple[str, ...], int]]:
        """Kinds whose held-back lines nothing came behind that would tell of them, and how many they are."""
        with self._lock:
            found = []
            for kind, one in self._kinds.items():
                if one.held and (all_of_them or now_ns - one.since_ns >= self._every_ns):
                    found.append((kind, one.held))
                    one.held = 0
            return found


class EventLog:
    """The log of one program. Nobody listens until `to` is entered; nothing is set up on import."""

    def __init__(self, name: str) -> None:
        self.logger: Final = logging.getLogger(name)
        self.logger.addHandler(logging.NullHandler())
        self._storms = Storms()
        self._always: dict[str, Any] = {}
        self._listened = False

    def event(
        self, event: str, *, level: int = logging.INFO, error: BaseException | None = None, **facts: Any
    ) -> None:
        """One line: what happened, and its facts by name. `error`: its traceback goes with it."""
        self.logger.log(level, event, exc_info=error, extra={"facts": {**self._always, **facts}})

    def often(
        self,
        event: str,
        *kind: str,
        facts: Callable[[], Mapping[str, Any]],
        level: int = logging.INFO,
        error: BaseException | None = None,
    ) -> None:
        """As `event`, for what may storm: `kind` tells apart what is held back apart.

        The facts are asked for only if the line is written.
        """
        if not self.logger.isEnabledFor(level):
            return
        held = self._storms.admit((event, *kind), time.monotonic_ns()) if self._listened else 0
        if held is not None:
            self.event(event, level=level, error=error, **facts(), **({"suppressed": held} if held else {}))

    @contextmanager
    def to(self, stream: TextIO | None, form: str, level: str, **always: Any) -> Iterator[None]:
        """Send it to a stream (None: stderr) while this is entered.

        Args:
            stream: where to.
            form: one of FORMS.
            level: the least that is written, one of LEVELS.
            always: facts of every line.
        """
        handler = LinesBehind(_write_to_stderr if stream is None else stream.write, self._tell_held)
        handler.setFormatter(JsonFormatter() if form == "json" else TextFormatter())
        self.logger.addHandler(handler)
        before = self.logger.level
        self.logger.setLevel(level.upper())
        self._storms, self._always, self._listened = Storms(), always, True
        try:
            yield
        finally:
            self._tell_held(all_of_them=True)
            self._always, self._listened = {}, False
            self.logger.setLevel(before)
            self.logger.removeHandler(handler)
            handler.close()

    def _tell_held(self, *, all_of_them: bool = False) -> None:
        for (event, *kind), lines in self._storms.overdue(time.monotonic_ns(), all_of_them=all_of_them):
            self.event("lines_suppressed", of=event, kind=" ".join(kind), lines=lines)


def _facts(record: logging.LogRecord) -> dict[str, Any]:
    facts: dict[str, Any] = getattr(record, "facts", {})
    return facts


def _time(record: logging.LogRecord) -> str:
    seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
    return f"{seconds}.{int(record.msecs):03d}Z"


class TextFormatter(logging.Formatter):
    """`2026-01-02T03:04:05.678Z info attached host=a generation=...`."""

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


class LinesBehind(logging.Handler):
    """Writes lines on a thread of its own: where nobody reads them, nobody waits but that thread.

    Lines beyond what it holds are dropped, and their number is told as soon as there is room. `look` is
    called on that thread now and then.
    """

    def __init__(self, write: Callable[[str], object], look: Callable[[], None] | None = None) -> None:
        super().__init__()
        self._write = write
        self._look = look
        self._lines: deque[str] = deque()
        self._more = threading.Condition(threading.Lock())
        self._dropped = 0
        self._ending = False
        self._thread = threading.Thread(target=self._run, name="log-lines", daemon=True)
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        """Take one line in."""
        line = self.format(record) + "\n"
        with self._more:
            if len(self._lines) >= _MOST_LINES:
                self._dropped += 1
                return
            if self._dropped:
                self._lines.append(self._told_of_dropped(record.name))
            self._lines.append(line)
            self._more.notify()

    def close(self) -> None:
        """Write what is left, as far as that gets within a second or two."""
        with self._more:
            self._ending = True
            self._more.notify()
        self._thread.join(_LAST_LINES_S)
        super().close()

    def _told_of_dropped(self, name: str) -> str:
        """A line for the lines that were dropped. Needs the lock."""
        facts = {"facts": {"lines": self._dropped}}
        record = logging.getLogger(name).makeRecord(
            name, logging.WARNING, __file__, 0, "lines_dropped", (), None, extra=facts
        )
        self._dropped = 0
        return self.format(record) + "\n"

    def _run(self) -> None:
        while True:
            with self._more:
                self._more.wait_for(lambda: self._lines or self._ending, _LOOK_S)
                line = self._lines.popleft() if self._lines else ""
                if not line and self._ending:
                    return
            if line:
                with contextlib.suppress(OSError):  # nobody reads them any more
                    self._write(line)
            elif self._look is not None:
                self._look()


def _write_to_stderr(line: str) -> None:
    """Past `sys.stderr`: a thread that is stuck in it would take the end of the process down."""
    rest = line.encode(errors="backslashreplace")
    while rest:
        rest = rest[os.write(2, rest) :]
