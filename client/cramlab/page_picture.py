"""`docs/device-page.png`: the device's page after three hosts, an exhaustion and a recovery. About 80 s.

python -m cramlab.page_picture docs/device-page.png
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Final

import numpy as np

from cramlab.bench.rows import PAGE_BYTES
from cramlab.bench.wire import BenchError, BenchHost
from cramlab.browser import Browser, BrowserError, find
from cramlab.processes import AgentProcess, DeviceProcess, script

_MOST_BYTES: Final = 200_000
"""It is shown in the README."""
_HOSTS: Final = (("host-a", "4000", "0.1"), ("host-b", "3500", "0.4"), ("host-c", "2500", "0.02"))
"""Name, pages, share of pages that no codec shrinks."""
_MOST_HEIGHT: Final = 1160
_CARELESS_PAGES: Final = 2048
_APART_S: Final = 7.0
_RUN_S: Final = 20.0
_EXHAUSTED_S: Final = 12.0
_RECOVERED_S: Final = 16.0


def _ctl(device: DeviceProcess, *arguments: str) -> None:
    command = [script("cramctl"), *arguments, "--operator", device.operator_address]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def _write_noise(host: BenchHost, pages: int) -> None:
    """Pages that no codec shrinks."""
    content = np.random.default_rng(0).integers(0, 256, (pages, PAGE_BYTES), dtype=np.uint8)
    dpas = np.arange(pages, dtype=np.uint64) * np.uint64(PAGE_BYTES)
    host.write(dpas, content, batch=16, in_flight=1)


def take(folder: Path) -> bytes:
    """The picture: PNG."""
    with ExitStack() as stack:
        device = stack.enter_context(DeviceProcess(folder, physical="24MiB"))
        for host, pages, incompressible in _HOSTS:
            options = ["--pages", pages, "--incompressible", incompressible, "--write-share", "0.2"]
            options += ["--rate", "500", "--budget", "512", "--writable-age", "1s", "--node", "110%"]
            options += ["--on-bus-error", "rescue"]
            agent = AgentProcess(folder, device.address, "synthetic", host=host, args=options)
            stack.enter_context(agent)
            time.sleep(_APART_S)
        time.sleep(_RUN_S)
        _ctl(device, "inject", "exhaustion", "--share", "0.6")
        # The agents stop in time. A host that does not look at watermarks runs into the full device.
        with BenchHost(device.address, _CARELESS_PAGES, host="careless") as careless, suppress(BenchError):
            _write_noise(careless, _CARELESS_PAGES)
        time.sleep(_EXHAUSTED_S)
        _ctl(device, "clear", "--all")
        time.sleep(_RECOVERED_S)
        _ctl(device, "inject", "latency", "--wall", "1ms", "--wall-jitter", "1ms")
        with Browser(width=1240) as browser:
            browser.open(f"http://{device.metrics_address}/")
            browser.until("document.querySelectorAll('#hosts tbody tr').length === 4")
            return browser.picture(_MOST_HEIGHT)


def _write(path: Path) -> None:
    if find() is None:
        raise BrowserError("Chromium is not installed: make tools")
    with tempfile.TemporaryDirectory() as folder:
        picture = take(Path(folder))
    if len(picture) > _MOST_BYTES:
        raise BrowserError(f"the picture has {len(picture):,} bytes, more than {_MOST_BYTES:,}")
    path.write_bytes(picture)
    print(f"{path}: {len(picture):,} bytes")  # noqa: T201 - a program's answer


if __name__ == "__main__":
    try:
        _write(Path(sys.argv[1]))
    except BrowserError as error:
        sys.exit(str(error))
