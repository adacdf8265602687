"""Keeps the saved state honest: it is the device as it is, or it is not there.

A state becomes usable under the device's lock, and only if nothing changed while it was written. From then
on the first call that changes the device takes the state's name away before the lock is given back, so
before anybody hears of the change. So a process that is killed leaves what every host was told of, or
nothing: never a device that is older than what it said. That is why a busy device is not saved by
`--save-every`: the save is given up at the first change. The last save, behind the drain, has nobody beside
it.

Renewed leases and reads are no changes: a restored lease begins anew anyway.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cxldev.device import Device
from cxldev.errors import CapacityIdentityBroken
from cxldev.restore import restore_device
from cxldev.saved_state import StateMismatch, StateOvertaken
from cxldevd.errors import DeviceBusy
from cxldevd.log import log_event
from cxldevd.state_dir import StateDir, StateError
from cxldevd.state_file import StateDamaged, write_state
from cxldevd.wake import Wake

if TYPE_CHECKING:
    from pathlib import Path

    from cxldev.config import DeviceConfig
    from cxldev.saved_state import ChangeMark
    from cxldevd.clock import Clock
    from cxldevd.runtime import Runtime
    from cxldevd.state_file import StateFile

_LAST_TRIES: Final = 3
"""A call that outlived the drain may still change the device while it is saved for the last time."""
_NONSENSE: Final = (CapacityIdentityBroken, ArithmeticError, LookupError, TypeError, ValueError)
"""What a state may break on that was written whole, by a program with a mistake in it."""


@dataclass(slots=True)
class SaveCounts:
    """How saves ended since the process started."""

    saved: int = 0
    overtaken: int = 0
    failed: int = 0


class StateKeeper:
    """The saved state of one device. Threads: its own, and, under the device's lock, everybody's."""

    def __init__(self, path: Path, every_ns: int, clock: Clock) -> None:
        """Hold the folder. Raises StateError."""
        self.counts = SaveCounts()
        self.restored = False
        self._folder = StateDir(path)
        self._every_ns = every_ns
        self._clock = clock
        self._good: ChangeMark | None = None
        """Of the state that is usable; None: there is none."""
        self._stopped = False
        self._wake = Wake(clock)
        self._thread: threading.Thread | None = None

    @property
    def usable(self) -> bool:
        """Whether a process that were killed now would leave the device behind."""
        return self._good is not None

    def close(self) -> None:
        """Let go of the folder."""
        self._folder.close()

    # -- the beginning ----------------------------------------------------------------------------

    def first_device(self, config: DeviceConfig, generation: str) -> tuple[Device, str]:
        """The device that was saved, or a new one of this generation; and in one line why it is which.

        Raises:
            StateError: there is a state that another device, or another version, could use.
        """
        now_ns, why = self._clock.now_ns(), "nothing was saved"
        if self._folder.unsaved:
            why = f"generation {self._folder.unsaved} changed after it was saved, or never was"
        try:
            file = self._folder.open_state()
            if file is not None:
                with closing(file):
                    device, origin = self._restored(config, file, now_ns)
                self._folder.used_by(device.generation)
                return device, origin
        except StateDamaged as damaged:
            self._folder.put_aside()
            why = f"the saved state was damaged: {damaged}"
        if why != "nothing was saved":
            log_event("state_not_used", level=logging.WARNING, reason=why, generation=generation)
        self._folder.used_by(generation)
        return Device(config, generation=generation, now_ns=now_ns), f"new: {why}"

    def _restored(self, config: DeviceConfig, file: StateFile, now_ns: int) -> tuple[Device, str]:
        began = time.monotonic()
        try:
            away_ns = max(0, self._clock.wall_ns() - file.facts["wall_ns"])
            device = restore_device(config, file.state, file.read_media, now_ns=now_ns, away_ns=away_ns)
        except StateMismatch as mismatch:
            raise StateError(
                f"--state {self._folder.path}: the saved state cannot be used: {mismatch}. Start the device "
                "as it was, give another folder, or remove device.state to lose its pages"
            ) from mismatch
        except _NONSENSE as error:
            raise StateDamaged(f"it makes no sense: {error!r}") from error
        self._good = device.change_mark
        self.restored = True
        facts = file.state.facts
        pages = sum(len(file.state.columns[f"{region['number']}.pages"]) for region in facts["regions"])
        log_event(
            "restored",
            generation=device.generation,
            pages=pages,
            hosts=len(facts["regions"]),
            media_bytes=file.state.media_bytes,
            away_seconds=round(away_ns / 1e9, 3),
            seconds=round(time.monotonic() - began, 3),
        )
        return (
            device,
            f"restored: {pages} pages of {len(facts['regions'])} hosts, after {away_ns / 1e9:.1f} s",
        )

    # -- while it serves --------------------------------------------------------------------------

    def before_answer(self, device: Device) -> None:
        """Under the lock, before it is given back: what changed is not what is saved.

        Raises:
            DeviceBusy: the disk does not take that. The change must not be acknowledged.
        """
        if self._good is None or device.change_mark == self._good:
            return
        try:
            self._folder.withdraw()
        except OSError as error:
            raise DeviceBusy(
                f"the saved state cannot be withdrawn ({error.strerror}), and nothing may change before: "
                "mend the disk, then try again"
            ) from error
        self._good = None
        self._folder.used_by(device.generation)

    def start(self, runtime: Runtime) -> None:
        """Save now and then, if that is wanted."""
        if self._every_ns:
            self._thread = threading.Thread(
                target=self._run, args=(runtime,), name="cxldevd-state", daemon=True
            )
            self._thread.start()

    def stop(self) -> None:
        """End the thread. Harmless if there is none."""
        self._stopped = True
        self._wake.ring()
        if self._thread is not None:
            self._thread.join()

    def _run(self, runtime: Runtime) -> None:
        due_ns = self._clock.now_ns()
        while True:
            due_ns += self._every_ns
            if self._wake.wait(0, due_ns) or self._stopped:
                return
            if not self.usable:
                self.save(runtime)
            due_ns = max(due_ns, self._clock.now_ns())

    # -- saving -----------------------------------------------------------------------------------

    def save(self, runtime: Runtime) -> bool:
        """Save once. Whether the saved state is the device as it is now; the log says why if it is not."""
        try:
            self._save(runtime)
        except StateOvertaken:
            self.counts.overtaken += 1
            log_event("save_given_up", level=logging.DEBUG, reason="the device changed meanwhile")
        except OSError as error:
            self.counts.failed += 1
            log_event("save_failed", level=logging.ERROR, reason=error.strerror or str(error))
        return self.usable

    def save_last(self, runtime: Runtime) -> None:
        """Save what the drain left. No call is in flight, and nobody keeps deadlines any more.

        Raises:
            StateError: it is not saved: the next start will be a new generation.
        """
        self.stop()
        log_event("saving", generation=runtime.power.generation)
        failed = self.counts.failed
        for _ in range(_LAST_TRIES):
            if self.save(runtime) or self.counts.failed > failed:
                break
        if self.counts.failed > failed or not self.usable:
            left = "an earlier save is as good" if self.usable else "its pages are lost with this process"
            raise StateError(
                f"--state {self._folder.path}: the device was not saved: {left}; the log says why"
            )

    def _save(self, runtime: Runtime) -> None:
        began = time.monotonic()
        with runtime.device() as (device, now_ns):
            snapshot = device.snapshot(now_ns)
        facts = {"wall_ns": self._clock.wall_ns(), "pid": os.getpid()}
        mark = snapshot.mark

        def still_good() -> None:
            if device.change_mark != mark:
                raise StateOvertaken("the device changed while it was saved")

        try:
            more = True
            while more:
                with runtime.device():
                    more = snapshot.step()
            with self._folder.new_file() as file:
                length = write_state(file, snapshot, facts, still_good)
            with runtime.device():
                still_good()
                # First: if the rename fails half-way, what there is of it is withdrawn with the next change.
                self._good = mark
                self._folder.publish()
        finally:
            with runtime.device():
                snapshot.end()
        self.counts.saved += 1
        log_event("saved", generation=mark[0], bytes=length, seconds=round(time.monotonic() - began, 3))
