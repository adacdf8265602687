"""Calls that stand still where a test wants them to."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from cxldev.codec import PageCodec
from server_helpers import DEADLINE_S

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pytest

    from cxldev.codec import Buffer, CompressedPages, PackedPage


class Stall:
    """A place where the first thread that comes by stands still until it is let go."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self.go = threading.Event()
        self.passed = 0

    def pass_by(self) -> None:
        """Wait, if nobody did before."""
        self.passed += 1
        if not self.reached.is_set():
            self.reached.set()
            assert self.go.wait(DEADLINE_S)


@contextmanager
def stalled_codec(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stall]:
    """The first write stands still in its codec."""
    stall, compress, compress_single = Stall(), PageCodec.compress, PageCodec.compress_single
    compress_several = PageCodec.compress_several

    def slowly(self: PageCodec, data: Buffer) -> CompressedPages:
        stall.pass_by()
        return compress(self, data)

    def slowly_single(self: PageCodec, page: bytes | memoryview) -> PackedPage:
        stall.pass_by()
        return compress_single(self, page)

    def slowly_several(self: PageCodec, parts: Sequence[Buffer]) -> CompressedPages:
        stall.pass_by()
        return compress_several(self, parts)

    with monkeypatch.context() as patch:
        patch.setattr(PageCodec, "compress", slowly)
        patch.setattr(PageCodec, "compress_several", slowly_several)
        patch.setattr(PageCodec, "compress_single", slowly_single)
        try:
            yield stall
        finally:
            stall.go.set()
