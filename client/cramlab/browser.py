"""A headless Chromium, told what to do over a pipe: for tests of the device's page, and for its picture.

    with Browser() as browser:
        browser.open("http://127.0.0.1:7702/")
        browser.until("document.title.startsWith('FULL')")
        Path("page.png").write_bytes(browser.picture())

Speaks the DevTools protocol by `--remote-debugging-pipe`: JSON, each message ended by a zero byte.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import tempfile
import time
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

NAMES: Final = ("chromium", "chromium-browser", "google-chrome")
DEADLINE_S: Final = 30.0
_POLL_S: Final = 0.1
_STOP_DEADLINE_S: Final = 10.0
_READ_BYTES: Final = 1 << 16
_OPTIONS: Final = (
    "--headless=new",
    "--remote-debugging-pipe",
    "--no-sandbox",  # as root it does not start otherwise; it opens our own page only
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-extensions",
    "--no-first-run",
    "--no-proxy-server",
    "--disable-lcd-text",  # coloured edges make pictures large
    "--hide-scrollbars",
    "--lang=en-GB",
)


class BrowserError(RuntimeError):
    """The browser did not do what it was asked."""


def find() -> str | None:
    """The browser's path, if one is installed."""
    return next((path for name in NAMES if (path := shutil.which(name)) is not None), None)


class Browser:
    """One page of one browser, which runs while this is entered.

    Args:
        width, height: of the page, CSS pixels.
        dark: what the page is told that its reader prefers.
    """

    def __init__(self, width: int = 1280, height: int = 1000, *, dark: bool = False) -> None:
        self._size = (width, height)
        self._dark = dark
        self._numbered = 0
        self._unread = b""
        self.requested: list[str] = []
        """Every address that the page asked for."""
        self.complaints: list[str] = []
        """Errors and warnings on its console, and exceptions that nobody caught."""

    def __enter__(self) -> Self:
        path = find()
        if path is None:
            raise BrowserError(f"none of {', '.join(NAMES)} is installed")
        self._profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        commands, self._commands = os.pipe()
        self._answers, answers = os.pipe()
        # It reads from descriptor 3 and writes to 4: the shell puts them there.
        wired = f'exec "$0" "$@" 3<&{commands} 4>&{answers}'
        options = (*_OPTIONS, f"--user-data-dir={self._profile.name}", "about:blank")
        self._process = subprocess.Popen(
            ["bash", "-c", wired, path, *options],
            pass_fds=(commands, answers),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        os.close(commands)
        os.close(answers)
        try:
            self._attach()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    # -- what it is told ----------------------------------------------------------------------------

    def open(self, url: str) -> None:
        """Go there, and wait until it is loaded."""
        self._page("Page.navigate", url=url)
        self.until(f"location.href === {json.dumps(url)} && document.readyState === 'complete'")

    def run(self, script: str) -> Any:
        """What this expression is on the page, as JSON has it.

        Raises:
            BrowserError: it threw.
        """
        answer = self._page("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise BrowserError(f"{script}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def until(self, script: str, deadline_s: float = DEADLINE_S) -> None:
        """Wait until this expression is true on the page.

        Raises:
            BrowserError: not before the deadline.
        """
        end = time.monotonic() + deadline_s
        while not self.run(f"Boolean({script})"):
            if time.monotonic() > end:
                shown = self.run("document.body.innerText")
                raise BrowserError(f"not within {deadline_s:g} s: {script}\nThe page shows: {shown}")
            time.sleep(_POLL_S)

    def move_to(self, x: float, y: float) -> None:
        """Move the pointer, CSS pixels."""
        self._page("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)

    def picture(self, most: int = 10_000) -> bytes:
        """The page from its top, at most so many CSS pixels of it, as PNG."""
        height = self.run("Math.ceil(document.documentElement.getBoundingClientRect().height)")
        clip = {"x": 0, "y": 0, "width": self._size[0], "height": min(height, most), "scale": 1}
        answer = self._page("Page.captureScreenshot", format="png", clip=clip, captureBeyondViewport=True)
        return base64.b64decode(answer["data"])

    # -- inside -----------------------------------------------------------------------------------------

    def _attach(self) -> None:
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self._page(f"{domain}.enable")
        width, height = self._size
        self._page(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if self._dark else "light"}
        self._page("Emulation.setEmulatedMedia", features=[scheme])

    def _page(self, method: str, **parameters: Any) -> dict[str, Any]:
        return self._call(method, self._session, **parameters)

    def _call(self, method: str, session: str | None = None, **parameters: Any) -> dict[str, Any]:
        self._numbered += 1
        message: dict[str, Any] = {"id": self._numbered, "method": method, "params": parameters}
        if session is not None:
            message["sessionId"] = session
        os.write(self._commands, json.dumps(message).encode() + b"\0")
        end = time.monotonic() + DEADLINE_S
        while True:
            answer = self._next(end)
            if answer.get("id") == self._numbered:
                if "error" in answer:
                    raise BrowserError(f"{method}: {answer['error']['message']}")
                result: dict[str, Any] = answer["result"]
                return result
            self._note(answer)

    def _next(self, end: float) -> dict[str, Any]:
        while b"\0" not in self._unread:
            ready, _, _ = select.select([self._answers], [], [], max(0.0, end - time.monotonic()))
            piece = os.read(self._answers, _READ_BYTES) if ready else b""
            if not piece:
                raise BrowserError("the browser ended" if ready else "the browser does not answer")
            self._unread += piece
        text, _, self._unread = self._unread.partition(b"\0")
        message: dict[str, Any] = json.loads(text)
        return message

    def _note(self, event: dict[str, Any]) -> None:
        facts = event.get("params", {})
        match event.get("method"):
            case "Network.requestWillBeSent":
                self.requested.append(facts["request"]["url"])
            case "Runtime.exceptionThrown":
                self.complaints.append(json.dumps(facts["exceptionDetails"]))
            case "Runtime.consoleAPICalled" if facts["type"] in {"error", "warning", "assert"}:
                self.complaints.append(json.dumps(facts["args"]))
            case "Log.entryAdded" if facts["entry"]["level"] in {"error", "warning"}:
                self.complaints.append(facts["entry"]["text"])

    def _end(self) -> None:
        for descriptor in (self._commands, self._answers):
            os.close(descriptor)
        # Without its pipe it ends by itself; its helpers are of its session.
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_STOP_DEADLINE_S)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._profile.cleanup()
