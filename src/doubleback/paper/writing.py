"""A reproduction's tables, figures, page and report, written from what is on disk."""

import base64
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, PrefixLoader, StrictUndefined

from doubleback.files import replacing, write_json, write_rows, write_text
from doubleback.folders import RESULTS, within
from doubleback.paper import members
from doubleback.paper.claims import claims
from doubleback.paper.drawings import drawings
from doubleback.paper.plates import Drawing
from doubleback.paper.results import read_results
from doubleback.paper.tables import markdown, tables
from doubleback.progress import progress_bar
from doubleback.terminal import plain

PAGE, REPORT = "reproduction.md", "report.html"
FIGURES, TABLES = "figures", "tables"  # folders
_FORMS = {FIGURES: (members.FIGURES, ("png", "svg")), TABLES: (members.TABLES, ("md", "csv", "html"))}


@dataclass(frozen=True)
class Picture:
    """A figure as the report shows it: its PNG as a data URI."""

    drawing: Drawing
    uri: str


def write_reproduction(folder: Path, withheld: Sequence[str] = ()) -> Path:
    """Write `results.json`, `tables/`, `figures/`, `reproduction.md` and `report.html` of what is measured so far.

    Args:
        folder: one that `doubleback reproduce` has filled.
        withheld: data sets whose images are left out of the figures.

    Returns:
        The report.

    Raises:
        InputError: the folder holds no reproduction, a file in it is damaged, its tables or figures are behind a link,
            or it cannot be written.
    """
    found = read_results(folder) | {"withheld": list(withheld)}
    results = json.loads(json.dumps(found))  # as a reader of the file will find them
    write_json(folder / RESULTS, results)
    _remove_written(folder)
    pictures = []
    drawn = list(drawings(folder, results, withheld))
    with progress_bar("drawing", len(drawn)) as advance:
        for drawing in drawn:
            advance(0, drawing.title)
            encoded = drawing.encoded()
            for form, content in encoded.items():
                with replacing(folder / FIGURES / f"{drawing.key}.{form}") as scratch:
                    scratch.write_bytes(content)
            uri = "data:image/png;base64," + base64.b64encode(encoded["png"]).decode("ascii")
            pictures.append(Picture(drawing, uri))
            advance(1)
    write_tables(folder / TABLES, results)
    write_text(folder / PAGE, page(results, [picture.drawing.key for picture in pictures]))
    write_text(folder / REPORT, _render("report.html", pictures=pictures, **_said(results)))
    return folder / REPORT


def _remove_written(folder: Path) -> None:
    """Remove what an earlier call has written: what is not drawn this time, or withheld now, must not stay.

    It removes only files with the names that are written here, and nothing behind a link.
    """
    for place, (keys, forms) in _FORMS.items():
        within(folder, place)
        for key, form in product(keys, forms):
            old = folder / place / f"{key}.{form}"
            if old.is_file() or old.is_symlink():
                old.unlink()


def write_tables(folder: Path, results: Mapping[str, Any]) -> None:
    """Write each table as Markdown, as CSV with every number unrounded, and as HTML."""
    for table, as_markdown in zip(tables(results), tables(_as_markdown(results)), strict=True):
        write_text(folder / f"{table.key}.md", markdown(as_markdown))
        write_rows(folder / f"{table.key}.csv", table.records)
        write_text(folder / f"{table.key}.html", _render("table.html", table=table))


def page(results: Mapping[str, Any], figures: Sequence[str]) -> str:
    """The paper against what was measured, as Markdown: a function of `results.json` and of which figures there are."""
    return _render("page.md", figures=figures, **_said(_as_markdown(results)))


def _as_markdown(value: Any) -> Any:
    """Text of results.json as Markdown takes it: no tag, link, table or line of its own."""
    if isinstance(value, dict):
        return {_as_markdown(key): _as_markdown(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_as_markdown(part) for part in value]
    if isinstance(value, str):
        return re.sub(r"[&<>|`\[\]\\]", lambda sign: f"&#{ord(sign[0])};", plain(value))
    return value


def _said(results: Mapping[str, Any]) -> dict[str, Any]:
    stated = claims(results)
    best = [one.best for one in stated if one.best]
    return {"results": results, "tables": tables(results), "claims": stated, "best": best}


def _render(template: str, **shown: Any) -> str:
    """A template of this room; it may include those of the report by `report/NAME`."""
    homes = {"paper": PackageLoader("doubleback.paper"), "report": PackageLoader("doubleback.report", ".")}
    environment = Environment(
        loader=PrefixLoader(homes),
        autoescape=template.endswith(".html"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["markdown"] = markdown
    return environment.get_template(f"paper/{template}").render(**shown)
