"""A page in a headless Chromium that is driven as a reader drives it: keys, fingers, and what is then to be seen."""

import json
import os
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from tests.report.test_browser import FLAGS

SEEN = """
JSON.stringify({
  words: document.querySelector(".words").textContent,
  spoken: document.querySelector(".control input").getAttribute("aria-valuetext"),
  at: Number(document.querySelector(".control input").value),
  pictures: [...document.querySelectorAll(".moving canvas")].map(canvas => canvas.toDataURL()),
  points: [...document.querySelectorAll(".curve circle")].map(point => point.style.transform),
  focus: document.activeElement.name || document.activeElement.type,
})
"""
KEYS = {"ArrowRight": 39, "ArrowLeft": 37, "Home": 36, "End": 35, "Tab": 9}
WRONG = ("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded")


class Driven:
    """One page on a phone, by the browser's own protocol over a pipe: chromedevtools.github.io/devtools-protocol."""

    def __init__(self, browser: str, page: Path, profile: Path) -> None:
        (theirs, self._asking), (self._told, ours) = os.pipe(), os.pipe()

        def places() -> None:  # the browser reads its orders at 3 and answers at 4
            for one, place in ((theirs, 100), (ours, 101), (100, 3), (101, 4)):
                os.dup2(one, place)

        command = [browser, *FLAGS, "--remote-debugging-pipe", f"--user-data-dir={profile}", "about:blank"]
        self._process = subprocess.Popen(
            command, preexec_fn=places, pass_fds=(3, 4), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        os.close(theirs)
        os.close(ours)
        self._events: list[dict[str, Any]] = []
        self._count, self._rest, self._session = 0, b"", {}
        target = self.ask("Target.getTargets")["targetInfos"][0]["targetId"]
        session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self._session: dict[str, str] = {"sessionId": session}
        for domain in ("Page", "Runtime", "Log"):
            self.ask(f"{domain}.enable")
        self.ask("Emulation.setDeviceMetricsOverride", width=390, height=844, deviceScaleFactor=1, mobile=True)
        self.ask("Page.navigate", url=page.as_uri())
        self.until("document.readyState == 'complete' && [...document.images].every(one => one.complete)")

    def ask(self, method: str, **params: Any) -> dict[str, Any]:
        """The browser's answer; what it tells meanwhile is kept."""
        self._count += 1
        order = {"id": self._count, "method": method, "params": params, **self._session}
        os.write(self._asking, json.dumps(order).encode() + b"\0")
        while True:
            while b"\0" not in self._rest:
                self._rest += os.read(self._told, 1 << 16)
            message, _, self._rest = self._rest.partition(b"\0")
            answer = json.loads(message)
            if answer.get("id") == self._count:
                assert "error" not in answer, answer
                result: dict[str, Any] = answer["result"]
                return result
            self._events.append(answer)

    def value(self, expression: str) -> Any:
        return self.ask("Runtime.evaluate", expression=expression, returnByValue=True)["result"].get("value")

    def until(self, expression: str) -> None:
        for _ in range(200):
            if self.value(expression):
                return
            time.sleep(0.05)
        pytest.fail(f"never: {expression}")

    def press(self, key: str) -> None:
        for kind in ("rawKeyDown", "keyUp"):
            self.ask("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=KEYS[key])

    def touch(self, selector: str, share: float) -> None:
        """A finger comes down at the middle of it and moves to this share of its width."""
        self.value(f"document.querySelector('{selector}').scrollIntoView({{block: 'center'}})")
        box = json.loads(self.value(f"JSON.stringify(document.querySelector('{selector}').getBoundingClientRect())"))
        for kind, at in (("touchStart", 0.5), ("touchMove", (0.5 + share) / 2), ("touchMove", share)):
            point = {"x": box["x"] + at * box["width"], "y": box["y"] + box["height"] / 2}
            self.ask("Input.dispatchTouchEvent", type=kind, touchPoints=[point])
        self.ask("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])

    def seen(self) -> dict[str, Any]:
        """What a reader finds in the first slider of the page."""
        found: dict[str, Any] = json.loads(self.value(SEEN))
        return found

    def errors(self) -> list[dict[str, Any]]:
        """All that has come onto the console."""
        return [one for one in self._events if one["method"] in WRONG]

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._asking)
        os.close(self._told)
