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

from doubleback.errors import InputError
from doubleback.files import read_json, replacing, write_json, write_rows, write_text
from doubleback.folders import CONFIG, RESULTS, names_in, strange, within
from doubleback.paper import members
from doubleback.paper.claims import claims
from doubleback.paper.compared import LABELLED
from doubleback.paper.drawings import drawings
from doubleback.paper.joining import joined
from doubleback.paper.record import Results
from doubleback.paper.results import read_results
from doubleback.paper.tables import markdown, tables
from doubleback.progress import progress_bar
from doubleback.settings.stored import checked
from doubleback.terminal import plain

PAGE, REPORT = "reproduction.md", "report.html"
FIGURES, TABLES = "figures", "tables"  # folders
_FORMS = {FIGURES: (members.FIGURES, ("png", "svg")), TABLES: (members.TABLES, ("md", "csv", "html"))}


@dataclass(frozen=True)
class Picture:
    """A figure as the report shows it: its PNG as a data URI, and what stands below."""

    key: str
    uri: str
    title: str
    caption: str


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
    found = json.loads(json.dumps(read_results(folder) | {"withheld": list(withheld)}))  # as the file's readers find it
    drawn = list(drawings(folder, found, withheld))
    encoded = {}
    with progress_bar("drawing", len(drawn)) as advance:
        for drawing in drawn:
            advance(0, drawing.title)
            encoded[drawing.key] = drawing.encoded()
            advance(1)
    captions = {drawing.key: {"title": drawing.title, "caption": drawing.caption} for drawing in drawn}
    return _write(folder, found | {"figures": captions}, encoded)


def write_joined(parts: Sequence[Path], folder: Path) -> Path:
    """Write the same files, of parts that were run apart.

    Args:
        parts: folders, each with `results.json` and `figures/` as `write_reproduction` leaves them.
        folder: for what is written.

    Returns:
        The report.

    Raises:
        InputError: a part lacks a file, the parts do not belong together, the folder holds something else or is a
            part, or it cannot be written.
    """
    if (names := names_in(folder)) and (RESULTS not in names or CONFIG in names):
        raise strange(folder, "reproduction")
    if names:
        checked(Results, read_json(folder / RESULTS), folder / RESULTS)
    if folder.resolve() in [part.resolve() for part in parts]:
        raise InputError(f"{folder} is one of the parts; give another --output")
    results = joined(parts)
    encoded = {
        key: {form: _figure(parts, f"{key}.{form}") for form in _FORMS[FIGURES][1]} for key in results["figures"]
    }
    return _write(folder, results, encoded)


def _figure(parts: Sequence[Path], name: str) -> bytes:
    """A figure's file, of the part that has it."""
    for part in parts:
        if (path := within(part, f"{FIGURES}/{name}")).is_file():
            return path.read_bytes()
    raise InputError(f"none of the parts has {FIGURES}/{name}, which a results.json names; copy it there")


def _write(folder: Path, results: Mapping[str, Any], encoded: Mapping[str, Mapping[str, bytes]]) -> Path:
    """Everything that is made of results and of the figures, which are given by their keys and forms."""
    write_json(folder / RESULTS, results)
    _remove_written(folder)
    pictures = []
    for key, forms in encoded.items():
        for form, content in forms.items():
            with replacing(folder / FIGURES / f"{key}.{form}") as scratch:
                scratch.write_bytes(content)
        uri = "data:image/png;base64," + base64.b64encode(forms["png"]).decode("ascii")
        pictures.append(Picture(key, uri, **results["figures"][key]))
    write_tables(folder / TABLES, results)
    write_text(folder / PAGE, page(results, list(encoded)))
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
    mixtures = [one["penalty"] for found in results["classifiers"].values() for one in found["models"].values()]
    return {
        "results": results,
        "tables": tables(results),
        "claims": stated,
        "best": best,
        "taught": LABELLED in mixtures,
    }


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
