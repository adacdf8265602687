"""The folder of `--state`: at most one state that is usable, and who uses it.

| file                 | what it is |
|----------------------|------------|
| device.state         | the device as it is: nothing that a host was told of is missing in it |
| device.state.new     | one that is being written; removed at the next start |
| device.state.damaged | one that could not be used, kept for whoever wants to know why |
| device.lock          | held by the process that uses the folder; generation and pid while it runs |

A state is usable under its name only, which it gets by a rename, once it is whole and on the disk. It loses
its name for good, on the disk too, before any host hears of a change that is not in it (see `state_keeper`).
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from cxldevd.state_file import StateDamaged, StateFile

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import BinaryIO

_STATE: Final = "device.state"
_NEW: Final = "device.state.new"
_DAMAGED: Final = "device.state.damaged"
_LOCK: Final = "device.lock"


class StateError(Exception):
    """The folder cannot be used. One line that says why, and what to do."""


class StateDir:
    """One folder, held by this process until `close`."""

    def __init__(self, path: Path) -> None:
        """Make the folder if it is not there, and hold it.

        Raises:
            StateError: it cannot be made or written, or another process holds it.
        """
        self.path = path
        try:
            path.mkdir(parents=True, exist_ok=True)
            self._folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
            try:
                self._lock = os.open(path / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
            except OSError:
                os.close(self._folder)
                raise
        except OSError as error:
            raise StateError(f"--state {path}: {error.strerror}") from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = self._last_user.get("pid", "unknown")
            self.close()
            raise StateError(
                f"--state {path}: another cxldevd uses it (pid {holder}); give each device its own"
            ) from error
        self._unlink(_NEW)

    def close(self) -> None:
        """Let go of the folder. Harmless if it is done already."""
        if self._lock >= 0:
            os.close(self._lock)
            os.close(self._folder)
            self._lock = self._folder = -1

    @property
    def unsaved(self) -> str:
        """Generation of the process before, if it left nothing usable; empty: there was none."""
        return str(self._last_user.get("generation", ""))

    def open_state(self) -> StateFile | None:
        """The usable state, if there is one.

        Raises:
            StateDamaged: there is one, and it is not as it was written.
            StateError: it cannot be read.
        """
        try:
            return StateFile(self.path / _STATE)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StateError(f"--state {self.path}: {_STATE} cannot be read: {error.strerror}") from error
        except (KeyError, ValueError, TypeError) as error:
            raise StateDamaged(f"its index makes no sense: {error!r}") from error

    def put_aside(self) -> None:
        """The state is damaged: it keeps its bytes, not its name."""
        with contextlib.suppress(FileNotFoundError):
            (self.path / _STATE).rename(self.path / _DAMAGED)
        os.fsync(self._folder)

    def used_by(self, generation: str) -> None:
        """This process runs that generation from now on: told to whoever starts next."""
        facts = json.dumps({"pid": os.getpid(), "generation": generation}).encode()
        # For people: whether a state is usable does not hang on it.
        with contextlib.suppress(OSError):
            os.ftruncate(self._lock, 0)
            os.pwrite(self._lock, facts, 0)

    def withdraw(self) -> None:
        """There is no usable state any more, when this returns not even after a power cut.

        Raises:
            OSError: that cannot be said.
        """
        self._unlink(_STATE)
        os.fsync(self._folder)

    @contextmanager
    def new_file(self) -> Iterator[BinaryIO]:
        """A file to write a state to. On the disk when this is left; removed if it is left by an exception.

        Raises:
            OSError: it cannot be written.
        """
        path = self.path / _NEW
        try:
            with path.open("wb", buffering=0) as file:
                yield file
                os.fsync(file.fileno())
        except BaseException:
            with contextlib.suppress(OSError):
                self._unlink(_NEW)
            raise

    def publish(self) -> None:
        """What `new_file` wrote is the usable state from now on.

        Raises:
            OSError: it is not, or not for sure.
        """
        (self.path / _NEW).rename(self.path / _STATE)
        os.fsync(self._folder)

    @property
    def _last_user(self) -> dict[str, Any]:
        try:
            told = json.loads(os.pread(self._lock, 4096, 0) or b"{}")
        except (OSError, ValueError):
            return {}
        return told if isinstance(told, dict) else {}

    def _unlink(self, name: str) -> None:
        (self.path / name).unlink(missing_ok=True)
