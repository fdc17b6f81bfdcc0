"""The notebooks: each runs as it stands, at a small scale, and what it stores is whole, short, and of no machine."""

import re
from pathlib import Path

import nbformat
import pytest
from notebooks.execute import FOLDER, NAMES, executed

SMALL = {
    "harden-your-own": {"EPOCHS": 2, "HARDEN_EPOCHS": 1, "PAIRS": 2},
    "read-a-curve": {"EPOCHS": 2, "PAIRS": 2},
    "audit-autoencoderkl": {"STEPS": 2, "PAIRS": 2},
}
OF_A_MACHINE = re.compile(r"/home/|/root/|/tmp/|/work/|/usr/|/opt/|site-packages|ipykernel_|[A-Z]:\\\\")


def stored(name: str) -> nbformat.NotebookNode:
    return nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)


def shown(notebook: nbformat.NotebookNode) -> list[str]:
    """The kinds of what the cells show, in order."""
    return [
        "picture" if "image/png" in output.get("data", {}) else "text"
        for cell in notebook.cells
        for output in cell.get("outputs", [])
    ]


def test_every_notebook_is_known() -> None:
    assert sorted(NAMES) == sorted(path.stem for path in FOLDER.glob("*.ipynb"))


@pytest.mark.parametrize("name", NAMES)
def test_what_is_stored(name: str) -> None:
    path, notebook = FOLDER / f"{name}.ipynb", stored(name)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert len(notebook.cells) <= 25
    assert path.stat().st_size < 300_000
    assert [cell.execution_count for cell in code] == [*range(1, len(code) + 1)], "executed once, from top to bottom"
    assert {output.output_type for cell in code for output in cell.outputs} <= {
        "stream",
        "execute_result",
        "display_data",
    }
    assert {"picture", "text"} <= set(shown(notebook))
    without_pictures = re.sub(r'"image/png": "[^"]*"', "", path.read_text(encoding="utf-8"))
    assert not OF_A_MACHINE.findall(without_pictures)
    assert set(notebook.metadata) == {"kernelspec", "language_info"}
    assert all(set(cell.metadata) <= {"tags"} for cell in notebook.cells)


@pytest.mark.parametrize("name", NAMES)
def test_links_lead_somewhere(name: str) -> None:
    text = "\n".join(cell.source for cell in stored(name).cells if cell.cell_type == "markdown")
    links = re.findall(r"\]\(([^)\s#]+)", text)
    assert links
    assert not [link for link in links if "://" not in link and not (FOLDER / link).is_file()]


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.real] if "kl" in name else []) for name in NAMES]
)
def test_it_runs(name: str) -> None:
    """In a kernel of its own; what it shows is of the same kinds as what is stored."""
    assert shown(executed(name, SMALL[name])) == shown(stored(name))


def test_a_parameter_that_is_not_there_is_refused() -> None:
    with pytest.raises(ValueError, match="harden-your-own has no parameter EPOCH"):
        executed("harden-your-own", {"EPOCH": 1})


def test_every_page_of_the_site_shows_what_its_notebook_stores(monkeypatch: pytest.MonkeyPatch) -> None:
    """The hook's own work; `make docs` builds the rest."""
    import importlib.util

    mkdocs = pytest.importorskip("mkdocs")
    assert mkdocs
    found = importlib.util.spec_from_file_location("linked", Path(__file__).parent.parent / "docs" / "linked.py")
    assert found is not None
    assert found.loader is not None
    linked = importlib.util.module_from_spec(found)
    found.loader.exec_module(linked)
    for name in NAMES:
        page = linked._page(FOLDER / f"{name}.ipynb")
        assert page.count("data:image/png;base64,") == shown(stored(name)).count("picture")
        assert ".ipynb)" not in page
        assert "../docs/" not in page
