"""A device that is saved and restored in memory, as two processes would do it through a file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cxldev.restore import restore_device

if TYPE_CHECKING:
    from cxldev.device import Device
    from cxldev.saved_state import SavedState


def saved(device: Device, now_ns: int) -> tuple[SavedState, bytes]:
    """The state of this moment, and the media's bytes."""
    snapshot = device.snapshot(now_ns)
    while snapshot.step():
        pass
    state = snapshot.state()
    media = b"".join(map(bytes, snapshot.media()))
    snapshot.end()
    return state, media


def saved_and_restored(device: Device, now_ns: int, later_ns: int, *, away_ns: int = 0) -> Device:
    """The same device in another process, whose clock shows `later_ns`."""
    state, media = saved(device, now_ns)

    def read_media(memory: memoryview) -> None:
        assert len(memory) == len(media) == state.media_bytes
        memory[:] = media

    return restore_device(device.config, state, read_media, now_ns=later_ns, away_ns=away_ns)
