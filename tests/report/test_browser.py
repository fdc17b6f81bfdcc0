"""The report in a real headless Chromium, on a desk and on a phone: no error, nothing empty or sticking out."""

import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--enable-logging=stderr",
    "--v=0",
]
MEASURE = """
<script>
const root = document.documentElement;
const measure = () => [...document.querySelectorAll("svg, img")].map(seen => {
  const box = seen.getBoundingClientRect();
  return [box.width, box.height, seen.tagName != "IMG" || seen.naturalWidth];
});
const closed = { width: innerWidth, overflow: root.scrollWidth - innerWidth };
for (const details of document.querySelectorAll("details")) details.open = true;
closed.overflow_open = root.scrollWidth - innerWidth;
const heights = [...document.querySelectorAll("svg text")].map(text => text.getBoundingClientRect().height);
closed.text = Math.min(...heights);
const boxes = [...document.querySelectorAll("svg text")].map(text => text.getBoundingClientRect());
closed.largest = Math.max(...boxes.map(box => Math.min(box.width, box.height)));
closed.sizes = measure();
root.setAttribute("data-measured", JSON.stringify(closed));
</script>
"""


# a window cannot be narrower than 500 pixels, a frame can
FRAME = """<!DOCTYPE html><body style="margin: 0">
<iframe style="border: 0; width: {width}px; height: 900px" srcdoc="{page}"></iframe>
<script>
onload = () => document.body.append(frames[0].document.documentElement.dataset.measured);
</script>
"""


@pytest.fixture(scope="module")
def browser() -> str:
    found = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip(f"no browser on PATH (looked for {', '.join(BROWSERS)}); apt-get install chromium")
    return found


def measured(browser: str, page: Path, folder: Path, width: int) -> tuple[dict[str, Any], str]:
    """What a script appended to a copy of the page finds, and all that the browser logged."""
    measuring = page.read_text(encoding="utf-8").replace("</body>", MEASURE + "</body>")
    measuring = re.sub('<meta http-equiv="Content-Security-Policy".*?>', "", measuring)  # it lets no other script run
    frame = folder / "frame.html"
    frame.write_text(FRAME.format(width=width, page=html.escape(measuring)), encoding="utf-8")
    window = [f"--user-data-dir={folder / 'profile'}", f"--window-size={max(width, 500)},900", "--dump-dom"]
    command = [browser, *FLAGS, *window, frame.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    found = re.search(r'</script>\s*({"width".*?})\s*</body>', done.stdout, re.S)
    assert found, done.stderr
    return json.loads(html.unescape(found[1])), done.stderr


@pytest.mark.parametrize(
    ("kind", "width"),
    [
        ("page", 1280),
        ("mixed_page", 390),
        *(pytest.param(*case, marks=pytest.mark.slow) for case in (("page", 390), ("mixed_page", 1280))),
    ],
)
def test_report_in_a_browser(
    browser: str, kind: str, request: pytest.FixtureRequest, tmp_path: Path, width: int
) -> None:
    page = request.getfixturevalue(kind)
    seen, log = measured(browser, page, tmp_path, width)
    assert "CONSOLE" not in log
    assert seen["width"] == width
    assert seen["overflow"] <= 0
    assert seen["overflow_open"] <= 0
    assert len(seen["sizes"]) > 100
    assert all(size[0] > 10 and size[1] > 10 and size[2] for size in seen["sizes"])
    assert seen["text"] > 9, "text in a figure too small to read"


def test_a_figure_that_stands_alone_is_no_larger_than_one_of_three(browser: str, page: Path, tmp_path: Path) -> None:
    lone = tmp_path / "lone.html"
    others = r'(<div class="panels wide">\s*<figure.*?</figure>).*?</div>'
    text, count = re.subn(others, r"\1</div>", page.read_text(encoding="utf-8"), count=1, flags=re.DOTALL)
    lone.write_text(text, encoding="utf-8")
    assert count
    sizes = [measured(browser, each, tmp_path, 1280)[0]["largest"] for each in (page, lone)]
    assert sizes[1] <= sizes[0] + 1
