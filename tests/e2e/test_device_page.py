"""The device's page in a real browser: it draws, asks nobody else, tells when the device is full or gone."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import numpy as np
import pytest

from cramlab.bench.wire import BenchError, BenchHost
from cramlab.browser import Browser, find
from cramlab.processes import DeviceProcess
from ctl_helpers import Ctl
from identity_helpers import TOKENS, token_file

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(find() is None, reason="Chromium is not installed: make tools"),
]

PAGE = 4096
SHOWN = "!document.getElementById('figures').hidden"
CHARTS = "[...document.querySelectorAll('.chart svg')]"


@pytest.fixture(scope="module")
def device(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DeviceProcess]:
    """A device of 1 MiB."""
    with DeviceProcess(tmp_path_factory.mktemp("device"), physical="1MiB") as made:
        yield made


@pytest.fixture(scope="module")
def browser(device: DeviceProcess) -> Iterator[Browser]:
    """Looks at the page of an empty device, once it shows something."""
    with Browser(width=1000) as made:
        made.open(f"http://{device.metrics_address}/")
        made.until(SHOWN)
        yield made


def write(host: BenchHost, first: int, pages: int) -> None:
    """Pages that compress, and are not all alike."""
    content = np.tile(np.arange(PAGE, dtype=np.uint16).view(np.uint8)[:PAGE], (pages, 1))
    dpas = np.arange(first, first + pages, dtype=np.uint64) * np.uint64(PAGE)
    host.write(dpas, content, batch=pages, in_flight=1)


def text(browser: Browser, element: str) -> str:
    """What this element says."""
    found: str = browser.run(f"document.getElementById('{element}').innerText")
    return found


def test_an_empty_device_says_that_it_is_empty(browser: Browser) -> None:
    """In every list and every chart, instead of white space."""
    browser.until(f"{CHARTS}.every(chart => chart.querySelector('.empty') !== null)")
    assert "no host is attached" in text(browser, "hosts")
    assert "no fault is armed" in text(browser, "faults")
    assert "nothing has happened yet" in text(browser, "events")
    assert text(browser, "watermark") == "above high"
    assert "1.0 MiB sold as 3.0 MiB" in text(browser, "identity")


def test_exhaustion_is_seen_as_it_happens(browser: Browser, device: DeviceProcess) -> None:
    """Charts have data, host, fault and events are listed, the banner is up, and down."""
    ctl = Ctl(device.operator_address)
    with BenchHost(device.address, 256, host="host-a") as host:
        write(host, first=0, pages=32)
        browser.until(f"{CHARTS}.every(chart => chart.querySelector('.empty') === null)")
        browser.until("document.getElementById('hosts').innerText.includes('host-a')")
        assert all(float(value) > 0 for value in browser.run(f"{CHARTS}.map(chart => chart.dataset.highest)"))
        assert "observed" in browser.run(f"{CHARTS}[3].getAttribute('aria-label')")

        ctl.json("inject", "exhaustion", "--share", "1", "--json")
        with pytest.raises(BenchError, match="NO_MORE_WRITES"):
            write(host, first=64, pages=1)
        browser.until("!document.getElementById('no-more-writes').hidden")
        assert "Faults hold" in text(browser, "no-more-writes")
        assert browser.run("document.title").startswith("FULL")
        assert text(browser, "full") == "now"
        browser.until("document.querySelector('.chart .full') !== null")
        assert "share 1" in text(browser, "faults")
        assert "no more writes entered" in text(browser, "events")

        ctl.json("clear", "--all", "--json")
        browser.until("document.getElementById('no-more-writes').hidden")


def test_a_moment_is_shown_in_every_chart(browser: Browser) -> None:
    """By the pointer, and by the arrow keys."""
    tips = "[...document.querySelectorAll('.tip')].filter(tip => !tip.hidden).map(tip => tip.innerText)"
    place = browser.run(f"(() => {{ const r = {CHARTS}[0].getBoundingClientRect(); return [r.x, r.y] }})()")
    browser.move_to(place[0] + 300, place[1] + 80)
    assert len(browser.run(tips)) == 4
    assert "sectors" in browser.run(tips)[0]
    browser.move_to(1, 1)
    assert browser.run(tips) == []
    key = f"{CHARTS}[0].dispatchEvent(new KeyboardEvent('keydown', {{key: 'ArrowLeft'}}))"
    browser.run(key)
    assert len(browser.run(tips)) == 4
    browser.run(key.replace("ArrowLeft", "Escape"))
    assert browser.run(tips) == []


def test_nobody_else_was_asked_and_nothing_was_complained_of(browser: Browser, device: DeviceProcess) -> None:
    """All requests went to the device's own address."""
    asked = [urlsplit(url) for url in browser.requested]
    assert {url.netloc for url in asked if url.scheme != "data"} == {device.metrics_address}
    assert {"/", "/page/page.js", "/status.json", "/history.json"} <= {url.path for url in asked}
    assert browser.complaints == []


def test_a_device_that_goes_away_and_comes_back(browser: Browser, device: DeviceProcess) -> None:
    """The page says since when, keeps what it knew, and goes on with the next power-on."""
    before = browser.run(f"Number({CHARTS}[0].dataset.samples)")
    device.kill()
    browser.until("!document.getElementById('away').hidden")
    assert "does not answer since" in text(browser, "away")
    assert text(browser, "connection") == "no answer"
    device.restart()
    generation = device.facts["generation"]
    browser.until(f"document.getElementById('identity').innerText.includes('{generation}')")
    assert browser.run("document.getElementById('away').hidden")
    browser.until(f"Number({CHARTS}[0].dataset.samples) > {before}")
    assert browser.run("document.querySelector('.chart .mark.reset') !== null")


def test_a_token_is_asked_for_and_taken(tmp_path: Path) -> None:
    """Nothing of the device is shown before; a wrong token is told."""
    tokens = token_file(tmp_path, "tokens", "prometheus")
    args = ("--metrics-tokens", str(tokens))
    with DeviceProcess(tmp_path, physical="1MiB", args=args) as guarded, Browser() as browser:
        browser.open(f"http://{guarded.metrics_address}/")
        browser.until("!document.getElementById('token-form').hidden")
        assert not browser.run(SHOWN)
        for token in (TOKENS["host-a"], TOKENS["prometheus"]):
            browser.run(f"document.getElementById('token').value = '{token}'")
            browser.run("document.querySelector('#token-form button').click()")
            if token == TOKENS["host-a"]:
                browser.until("document.getElementById('token-problem').innerText.includes('nobody')")
        browser.until(SHOWN)
        assert browser.run("document.getElementById('token-form').hidden")
