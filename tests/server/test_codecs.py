"""Codecs are lent: each piece of work has one to itself, and threads that rest have none."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from cxldev.codec import PageCodec
from cxldev.config import PAGE_BYTES
from cxldevd.codecs import Codecs

if TYPE_CHECKING:
    import pytest

    from cxldev.codec import PackedPage

PAGE = bytes(range(256)) * (PAGE_BYTES // 256)


def test_threads_that_work_one_after_the_other_share_one() -> None:
    """Forty threads that had a codec each would keep 12 MB."""
    codecs = Codecs(level=1)
    for _ in range(5):
        with ThreadPoolExecutor(1) as pool:
            pool.submit(codecs.compress_single, PAGE).result()
    assert codecs.idle == 1


def test_two_at_one_time_have_two(monkeypatch: pytest.MonkeyPatch) -> None:
    """A page that comes while another is compressed: zstd would crash if both used one context."""
    codecs, used = Codecs(level=1), []
    compress = PageCodec.compress_single

    def compress_while_another(codec: PageCodec, page: bytes) -> PackedPage:
        used.append(codec)
        if len(used) == 1:
            codecs.compress_single(page)
        return compress(codec, page)

    monkeypatch.setattr(PageCodec, "compress_single", compress_while_another)
    assert codecs.compress_single(PAGE).frame_size > 0
    assert len(set(used)) == 2
    assert codecs.idle == 2


def test_one_that_failed_is_lent_again() -> None:
    """A damaged frame is no reason to make another."""
    codecs = Codecs(level=1)
    frame = bytes(codecs.compress_single(PAGE).piece)
    assert codecs.expand_single(1, 0, frame[:-1]) is None
    assert codecs.expand_single(1, 0, frame) == PAGE
    assert codecs.idle == 1
