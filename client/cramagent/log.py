"""What an agent tells: sentences for people, or every event as a line with its facts. See `docs/logs.md`."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

from cramwire.log import LEVELS, EventLog

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LogForm = Literal["plain", "text", "json"]
LOG_FORMS: Final[tuple[LogForm, ...]] = get_args(LogForm)
"""plain: sentences. text, json: lines with facts, as the device's."""
LOG_LEVELS: Final = LEVELS
SESSION_CHARS: Final = 8
"""Who knows a whole session may use its region; so much of it tells sessions apart."""

_LOG: Final = EventLog("cramagent")
log_event: Final = _LOG.event
log_often: Final = _LOG.often


class AgentLog:
    """Both forms of what one agent tells."""

    def __init__(self, say: Callable[[str], None] | None = None, level: int = logging.INFO) -> None:
        """`say`: gets the sentences, of `level` and above; None: there is nobody to read them."""
        self._say = say
        self._level = level

    @property
    def has_lines(self) -> bool:
        """Whether somebody reads lines: what only they tell need not be looked for otherwise."""
        return _LOG.logger.isEnabledFor(logging.INFO)

    def tell(self, event: str, sentence: str = "", *, level: int = logging.INFO, **facts: Any) -> None:
        """An event. `sentence`: the same for people; empty: nothing that they wait for."""
        self.say(sentence, level=level)
        if sentence and level > logging.INFO:
            facts["message"] = sentence
        log_event(event, level=level, **facts)

    def say(self, sentence: str, *, level: int = logging.INFO) -> None:
        """What people alone are told: lines tell it in other words."""
        if sentence and self._say is not None and level >= self._level:
            self._say(sentence)


@contextmanager
def logging_as(form: LogForm, level: str, host: str, say: Callable[[str], None]) -> Iterator[AgentLog]:
    """The log of an agent while this is entered; lines go to stderr."""
    if form == "plain":
        yield AgentLog(say, logging.getLevelNamesMapping()[level.upper()])
        return
    with _LOG.to(None, form, level, host=host):
        yield AgentLog()
