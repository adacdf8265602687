"""Files that are read again when they change: certificates and tokens are renewed while the service runs."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Generic, TypeVar

from cxldevd.log import log_event

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

T = TypeVar("T")
Stamp = tuple[tuple[int, int, int], ...]


class CredentialsError(Exception):
    """A file of credentials cannot be used. One line, which begins with the file."""


class Reread(Generic[T]):
    """What some files say, together. Read at once; `current` looks whether they changed since.

    Args:
        paths: of the files.
        read: what they say. Raises CredentialsError or OSError.

    Raises:
        CredentialsError: they cannot be used now, at the start. Later ones are logged, and what they
            said before holds.
    """

    def __init__(self, paths: Sequence[Path], read: Callable[[], T]) -> None:
        self._paths = tuple(paths)
        self._read = read
        self._lock = threading.Lock()
        self._stamp, self._value = self._read_whole()
        self._bad: Stamp | None = None

    def current(self) -> T:
        """What the files say. Costs one stat of each where nothing changed."""
        try:
            stamp = self._look()
        except OSError:  # between the removal of the old one and the new one's arrival
            return self._value
        if stamp not in {self._stamp, self._bad}:
            with self._lock:
                self._reload(stamp)
        return self._value

    def _reload(self, stamp: Stamp) -> None:
        if stamp in {self._stamp, self._bad}:  # another thread was here first
            return
        files = ", ".join(str(path) for path in self._paths)
        try:
            self._stamp, self._value = self._read_whole()
        except CredentialsError as error:
            # Half of a pair may have been renewed so far: what held until now holds on.
            self._bad = stamp
            log_event("credentials_not_reloaded", level=logging.WARNING, reason=str(error))
        else:
            self._bad = None
            log_event("credentials_reloaded", files=files)

    def _look(self) -> Stamp:
        stats = [path.stat() for path in self._paths]
        return tuple((one.st_ino, one.st_size, one.st_mtime_ns) for one in stats)

    def _read_whole(self) -> tuple[Stamp, T]:
        """All files as they were at one moment.

        Raises:
            CredentialsError: they cannot be used.
        """
        try:
            before = self._look()
            value = self._read()
            if self._look() != before:
                raise CredentialsError(f"{self._paths[0]}: changed while it was read")
        except OSError as error:
            where = error.filename or self._paths[0]
            raise CredentialsError(f"{where}: {error.strerror}") from None
        return before, value
