"""The leaderboard in a real headless Chromium, on a desk and on a phone: it chooses tables, and nothing sticks out."""

import html
import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from doubleback.leaderboard import write_leaderboard
from tests.leaderboard.test_leaderboard import flag, victim
from tests.report.synthetic import change, read_json
from tests.report.test_browser import FLAGS, FRAME, browser

__all__ = ["browser"]
CHOOSE = """
<script>
const seen = () => tables.filter(one => one.offsetHeight > 0).length;
const choose = (name, place) => {
  form.elements[name].selectedIndex = place;
  form.elements[name].dispatchEvent(new Event("change", { bubbles: true }));
  return seen();
};
const root = document.documentElement;
root.setAttribute("data-measured", JSON.stringify({
  width: innerWidth, overflow: root.scrollWidth - innerWidth, focus: form.elements.data.tabIndex, all: seen(),
  data: choose("data", 1), both: choose("threat", 2), threat: choose("data", 0), again: choose("threat", 0),
  said: said.value,
}));
</script>
"""


def chosen(browser: str, page: Path, folder: Path, width: int) -> tuple[dict[str, Any], str]:
    """What is left of the tables after each choice, and all that the browser logged."""
    frame = folder / "frame.html"
    choosing = page.read_text(encoding="utf-8").replace("</body>", CHOOSE + "</body>")
    frame.write_text(FRAME.format(width=width, page=html.escape(choosing)), encoding="utf-8")
    window = [f"--user-data-dir={folder / 'profile'}", f"--window-size={max(width, 500)},900", "--dump-dom"]
    done = subprocess.run(
        [browser, *FLAGS, *window, frame.as_uri()], capture_output=True, text=True, timeout=120, check=True
    )
    found = re.search(r'</script>\s*({"width".*?})\s*</body>', done.stdout, re.S)
    assert found, done.stderr
    return json.loads(html.unescape(found[1])), done.stderr


@pytest.mark.parametrize("width", [1280, 390])
def test_tables_are_chosen_by_data_and_threat(browser: str, tmp_path: Path, width: int) -> None:
    victim(tmp_path, "a-model-with-a-long-name-that-says-all-of-its-settings", 0.3)
    flag(victim(tmp_path, "flagged", 0.3))
    other = victim(tmp_path, "other", 0.3, attacks={"latent": 1.0})
    asked = read_json(other / "audit" / "config.json")["audit"]
    change(other / "audit" / "config.json", audit=asked | {"data": "svhn"})
    page = write_leaderboard([tmp_path], tmp_path / "page.html")
    found, log = chosen(browser, page, tmp_path, width)
    assert found["width"] == width
    assert found["overflow"] <= 0
    assert found["focus"] == 0  # reached by the keyboard
    assert [found[name] for name in ("all", "data", "both", "threat", "again")] == [2, 1, 0, 1, 2]
    assert found["said"] == "2 of 2 tables"
    assert "CONSOLE" not in log
