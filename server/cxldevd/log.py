"""The service's log: see `cramwire.log` for its forms, and `docs/logs.md` for every event."""

from __future__ import annotations

from typing import Final

from cramwire.log import EventLog

_LOG: Final = EventLog("cxldevd")

LOG: Final = _LOG.logger
"""All of the service logs here. Nobody listens until `logging_to` is entered."""

log_event: Final = _LOG.event
log_often: Final = _LOG.often
logging_to: Final = _LOG.to
