"""The NBD client against a server of a few lines, and against the real one where it is installed."""

from __future__ import annotations

import contextlib
import shutil
import socket
import struct
import threading
from typing import TYPE_CHECKING

import numpy as np
import pytest

from cramlab.bench.corpus import Corpus
from cramlab.bench.nbd_client import NbdClient, NbdError
from cramlab.bench.nbdkit import require_nbdkit, serving
from cramlab.bench.suite import QUICK, Bench, NotAvailable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

GREETING = b"NBDMAGICIHAVEOPT" + struct.pack(">H", 3)


def exactly(peer: socket.socket, count: int) -> bytes:
    """So many bytes; fewer at the end of the stream."""
    data = b""
    while len(data) < count and (part := peer.recv(count - len(data))):
        data += part
    return data


class Disk:
    """A disk of `size` bytes that answers each pair of requests in reverse order."""

    def __init__(self, path: Path, size: int, error: int = 0, greeting: bytes = GREETING) -> None:
        self.data = bytearray(size)
        self._error = error
        self._greeting = greeting
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen(1)
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Once the client is gone."""
        self._thread.join()
        self._listener.close()

    def _serve(self) -> None:
        peer, _ = self._listener.accept()
        # A client that finds us strange hangs up.
        with peer, contextlib.suppress(ConnectionResetError):
            peer.sendall(self._greeting)
            if len(exactly(peer, 20)) < 20:
                return
            peer.sendall(struct.pack(">QH", len(self.data), 0))
            held: list[bytes] = []
            while len(request := exactly(peer, 28)) == 28:
                _, _, kind, cookie, offset, size = struct.unpack(">IHHQQI", request)
                if kind == 2:
                    return
                answer = struct.pack(">IIQ", 0x67446698, self._error, cookie)
                if kind == 1:
                    self.data[offset : offset + size] = exactly(peer, size)
                elif not self._error:
                    answer += self.data[offset : offset + size]
                held.append(answer)
                if len(held) == 2:
                    peer.sendall(held.pop() + held.pop())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the disk serves."""
    return tmp_path / "nbd.sock"


@pytest.fixture
def disk(path: Path) -> Iterator[Disk]:
    """Room for 8 pages."""
    disk = Disk(path, 8 * 4096)
    yield disk
    disk.close()


def test_pieces_go_where_they_belong_whatever_the_order_of_the_answers(disk: Disk, path: Path) -> None:
    """Two outstanding, answered the wrong way round."""
    pages = np.arange(8, dtype=np.uint8).repeat(4096)
    order = [3, 1, 0, 2, 7, 5, 4, 6]
    offsets = [4096 * page for page in order]
    landing = memoryview(bytearray(8 * 4096))
    with NbdClient(path) as client:
        client.write(offsets, pages.data.cast("B"), 4096, 2)
        client.read(offsets, landing, 4096, 2)
    assert landing.tobytes() == pages.tobytes()
    assert [disk.data[offset] for offset in range(0, 8 * 4096, 4096)] == [2, 1, 3, 0, 6, 5, 7, 4]


def test_an_error_of_the_server_is_told(path: Path) -> None:
    """With its number."""
    disk = Disk(path, 4096 * 2, error=28)
    with pytest.raises(NbdError, match="error 28"), NbdClient(path) as client:
        client.write([0, 4096], memoryview(bytes(8192)), 4096, 2)
    disk.close()


def test_another_server_is_not_taken_for_one(path: Path) -> None:
    """Eighteen bytes of something else."""
    disk = Disk(path, 4096, greeting=b"220 mail.example.org")
    with pytest.raises(NbdError, match="not an NBD server"):
        NbdClient(path)
    disk.close()


def test_without_nbdkit_that_is_what_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """By a reason, not by a traceback."""
    monkeypatch.setattr(shutil, "which", lambda _name: None)
    with pytest.raises(NotAvailable, match="nbdkit is not installed"):
        require_nbdkit()


@pytest.mark.e2e
@pytest.mark.skipif(shutil.which("nbdkit") is None, reason="nbdkit is not installed")
def test_the_real_one_holds_pages(tmp_path: Path) -> None:
    """Started, written, read back, ended."""
    pages = np.random.default_rng(1).integers(0, 9, (64, 4096), dtype=np.uint8)
    corpus = Corpus(pages, 64, 0, 0, 1, 2000)
    landing = memoryview(bytearray(pages.nbytes))
    offsets = list(range(0, pages.nbytes, 4096))
    with Bench(corpus, tmp_path, QUICK, 1) as bench, serving(bench, "disk") as (client, pid):
        client.write(offsets, pages.data.cast("B"), 4096, 32)
        client.read(offsets, landing, 4096, 32)
        assert pid > 0
    assert landing.tobytes() == pages.tobytes()
