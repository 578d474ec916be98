"""A browser, driven by chromedriver in the words of the WebDriver protocol; no library stands between."""

from __future__ import annotations

import base64
import http.client
import json
import re
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ANSWER_S_MAX = 120.0  # no answer takes more than a fraction of this
# Nothing of a test leaves the machine, and root may run it.
ARGUMENTS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-dev-shm-usage",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-proxy-server",
)  # fmt: skip


class Browser:
    """One session. Everything is asked with `run`: what a page holds, and what a person would do to it."""

    def __init__(self, port: int, options: dict[str, Any]) -> None:
        self._port = port
        wanted = {"browserName": "chrome", "goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
        made = self._ask("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})
        self._session = f"/session/{made['sessionId']}"

    def open(self, path: Path) -> None:
        """Load a file."""
        self._ask("POST", f"{self._session}/url", {"url": path.as_uri()})

    def run(self, script: str, *given: object) -> Any:
        """The value of a script's `return`."""
        return self._ask("POST", f"{self._session}/execute/sync", {"script": script, "args": list(given)})

    def click(self, selector: str) -> None:
        """Click the first element that a selector finds, as a mouse would: scrolled to, and hit."""
        self._ask("POST", f"{self._element(selector)}/click", {})

    def type(self, selector: str, text: str) -> None:
        """Type into a field."""
        self._ask("POST", f"{self._element(selector)}/value", {"text": text})

    def complaints(self) -> list[str]:
        """What the browser's console has said since it was last asked."""
        return [entry["message"] for entry in self._ask("POST", f"{self._session}/se/log", {"type": "browser"})]

    def picture(self, path: Path) -> None:
        """What is in the window, as a PNG."""
        path.write_bytes(base64.b64decode(self._ask("GET", f"{self._session}/screenshot")))

    def tell(self, command: str, **given: object) -> Any:
        """A command of the DevTools protocol."""
        return self._ask("POST", f"{self._session}/goog/cdp/execute", {"cmd": command, "params": given})

    def close(self) -> None:
        """Close the window."""
        self._ask("DELETE", self._session)

    def _element(self, selector: str) -> str:
        found = self._ask("POST", f"{self._session}/element", {"using": "css selector", "value": selector})
        (identity,) = found.values()
        return f"{self._session}/element/{identity}"

    def _ask(self, method: str, path: str, given: object = None) -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=ANSWER_S_MAX)
        try:
            connection.request(method, path, None if given is None else json.dumps(given))
            value = json.load(connection.getresponse())["value"]
        finally:
            connection.close()
        assert not (isinstance(value, dict) and "error" in value), f"{method} {path}: {value}"
        return value


@contextmanager
def browser(
    driver: str, chromium: str, profile: Path, *, width: int, arguments: Sequence[str] = ()
) -> Iterator[Browser]:
    """A window of that width; a narrow one is a telephone's. The driver and all it started are gone afterwards."""
    options: dict[str, Any] = {"binary": chromium, "args": [*ARGUMENTS, f"--user-data-dir={profile}", *arguments]}
    if width < 500:  # no window of a desktop is as narrow as that
        options["mobileEmulation"] = {"deviceMetrics": {"width": width, "height": 740, "pixelRatio": 2.0}}
    else:
        options["args"].append(f"--window-size={width},900")
    with subprocess.Popen(
        [driver, "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=profile.parent
    ) as process:
        try:
            assert process.stdout is not None
            port = next(
                found for line in process.stdout if (found := re.search(r"successfully on port (\d+)", line)) and found
            )
            opened = Browser(int(port.group(1)), options)
            try:
                yield opened
            finally:
                opened.close()
        finally:
            process.terminate()
