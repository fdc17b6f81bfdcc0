"""The leaderboard of docs/: python -m benchmarks.board DIR

DIR holds the audits of `benchmarks.hardening`. What a leaderboard reads of them goes to results/leaderboard: settings,
figures and curves, without an image or a path. Then the table of docs/leaderboard.md is written anew; a test compares.
"""

import re
import shutil
import sys
from pathlib import Path

from doubleback.files import read_json, write_json
from doubleback.folders import CONFIG, CURVES, RESULTS, is_finished
from doubleback.leaderboard.page import as_markdown
from doubleback.leaderboard.ranking import tables
from doubleback.leaderboard.reading import read_audits
from doubleback.sharing.private import without_paths

ROOT = Path(__file__).parents[1]
KEPT, PAGE = ROOT / "results" / "leaderboard", ROOT / "docs" / "leaderboard.md"
BLOCK = re.compile(r"(?<=<!-- leaderboard -->\n).*?(?=\n<!-- end -->)", re.DOTALL)


def keep(home: Path) -> None:
    """Copy what is read of every audit in this folder; the others that are kept stay."""
    for config in sorted(home.rglob(CONFIG)):
        audit = config.parent
        if is_finished(audit) and "audit" in read_json(config):
            place = KEPT / audit.parent.name / audit.name.rpartition("-")[2]
            place.mkdir(parents=True, exist_ok=True)
            for name in (CONFIG, RESULTS):
                write_json(place / name, without_paths(read_json(audit / name)))
            shutil.copyfile(audit / CURVES, place / CURVES)


def table() -> str:
    """What the page shows of the audits that are kept."""
    return as_markdown(tables(read_audits([KEPT]))).partition("\n## ")[2].partition("\n")[2].strip()


if __name__ == "__main__":
    for folder in sys.argv[1:]:
        keep(Path(folder))
    PAGE.write_text(BLOCK.sub(lambda _: table(), PAGE.read_text(encoding="utf-8")), encoding="utf-8")
