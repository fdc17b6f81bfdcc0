"""README.md and docs/: examples run, command lines parse, links lead somewhere, every page is listed."""

import functools
import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import nn

import doubleback
from conftest import blobs
from doubleback.cli.main import _parsed
from doubleback.data import ImageData
from doubleback.settings import Threats

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
INDENTED = re.compile(r"(?:(?<=\n\n)|\A)((?: {4}\S.*\n(?:(?: {4}.*)?\n)*)+)")
LINK = re.compile(r"\]\(([^)\s]+)\)")
SMALL = {
    "audit": {"pairs": 2, "coefficients": 2, "steps": 3, "progress": False},
    "harden": {"epochs": 1, "alone": True, "progress": False},
    "fit": {"epochs": 1, "progress": False},
    "robust_accuracy": {"threats": Threats(steps=2, queries=2), "progress": False},
    "apgd": {"steps": 2},
    "r_margin": {"steps": 3},
}


class Net(nn.Module):
    """Anyone's autoencoder."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Flatten(), nn.Linear(64, 8))
        self.decoder = nn.Sequential(nn.Linear(8, 64), nn.Sigmoid(), nn.Unflatten(1, (1, 8, 8)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.decoder(self.encoder(x))
        return found


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def python(path: Path) -> str:
    """The Python blocks of a page, one after the other."""
    return "\n".join(block for kind, block in FENCED.findall(text(path)) if kind == "python")


def lines(path: Path) -> Iterator[str]:
    """The lines of a page's blocks that are neither Python nor output; what `\\` breaks is put together again."""
    page = text(path)
    blocks = [block for kind, block in FENCED.findall(page) if kind not in ("python", "text")]
    for block in [*blocks, *INDENTED.findall(FENCED.sub("", page))]:
        yield from block.replace("\\\n", " ").splitlines()


def commands() -> list[tuple[str, ...]]:
    """Every `doubleback ...` that a page shows, each once, without its comment."""
    found = {}
    for path in PAGES:
        for line in lines(path):
            said = re.fullmatch(r"\s*(?:.*torchrun .*-m )?doubleback +([^|<]*)", line)
            if said and (words := tuple(shlex.split(said[1], comments=True))):
                found[words] = name(path)
    return list(found)


def anchors(path: Path) -> set[str]:
    """The places within a page, as the site calls them."""
    heads = re.findall(r"^#+ (.*)$", FENCED.sub("", text(path)), re.MULTILINE)
    return {re.sub(r"[\s-]+", "-", re.sub(r"[^\w\s-]", "", head).strip().lower()) for head in heads}


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, Any]:
    """What examples take for granted, and the house's long functions cut short; their arguments are still checked."""
    images = ImageData("tiny", train=blobs(160, 0), validation=blobs(40, 1), test=blobs(40, 2))

    def cut(function: Callable[..., Any], most: dict[str, Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def call(*given: Any, **said: Any) -> Any:
            whole = all(isinstance(one, doubleback.Attack) for one in said.get("attacks") or [""])
            kept = {key: value for key, value in most.items() if not (key == "coefficients" and said.get("eps"))}
            return function(*given, **(said | ({} if whole else kept)))

        return call

    for known, most in SMALL.items():
        monkeypatch.setattr(doubleback, known, cut(getattr(doubleback, known), most))
    monkeypatch.setattr(doubleback, "load_images", lambda *_, **__: images)
    smaller = functools.partial(doubleback.VAE, hidden=(16,), latent=4)
    smaller.from_pretrained = doubleback.VAE.from_pretrained  # type: ignore[attr-defined]
    monkeypatch.setattr(doubleback, "VAE", smaller)
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    model = doubleback.VAE((1, 8, 8))
    x = images.test.images[:4] / 255
    known_here = {"doubleback": doubleback, "torch": torch, "images": images, "model": model, "x": x, "net": Net()}
    return known_here | {
        "y": images.test.labels[:4],
        "target": images.test.images[4:8] / 255,
        "test_images": images.test.images,
        "weight": 0.1,
        "own_loss": lambda batch: (model(batch).likelihood.mean - batch).square().sum(),
    }


@pytest.mark.parametrize("path", [path for path in PAGES if python(path)], ids=name)
@pytest.mark.filterwarnings("ignore")
def test_the_python_examples_of_a_page_run(path: Path, small: dict[str, Any]) -> None:
    exec(compile(python(path), name(path), "exec"), small)


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_a_command_line_can_be_typed(words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    if "--help" in words or words == ("--version",):
        return
    assert _parsed(list(words)) is not None


def test_there_are_command_lines() -> None:
    assert {words[0] for words in commands()} >= {"demo", "train", "check", "audit", "harden", "frontier", "report"}


@pytest.mark.parametrize("path", PAGES, ids=name)
def test_modules_and_targets_that_a_page_names_are_there(path: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", text(ROOT / "Makefile"), re.MULTILINE))
    shown = "\n".join([*lines(path), *re.findall(r"`([^`\n]+)`", text(path))])
    assert set(re.findall(r"(?:^\s*|\s)make ([a-z-]+)$", shown, re.MULTILINE)) <= targets
    for module in re.findall(r"python -m ((?:benchmarks|tests)\.\w+)", shown):
        assert (ROOT / f"{module.replace('.', '/')}.py").is_file(), module


@pytest.mark.parametrize("path", PAGES, ids=name)
def test_links_lead_somewhere(path: Path) -> None:
    for link in LINK.findall(FENCED.sub("", text(path))):
        if "://" in link:
            continue
        place, _, anchor = link.partition("#")
        target = (path.parent / place).resolve() if place else path
        assert target.exists(), link
        assert target.is_relative_to(ROOT), link
        if anchor:
            assert anchor in anchors(target), link


def test_every_page_is_in_the_navigation_of_the_site() -> None:
    listed = re.findall(
        r"\b([\w-]+\.md)$", yaml.safe_dump(yaml.safe_load(text(ROOT / "mkdocs.yml"))["nav"]), re.MULTILINE
    )
    pages = [path.name for path in (ROOT / "docs").glob("*.md")]
    tutorials = [f"{path.stem}.md" for path in (ROOT / "notebooks").glob("*.ipynb")]
    assert sorted(listed) == sorted(pages + tutorials)


def test_the_api_page_has_every_public_name_once() -> None:
    shown = re.findall(r"^::: doubleback[\w.]*\.(\w+)$", text(ROOT / "docs" / "api.md"), re.MULTILINE)
    assert sorted(shown) == doubleback.__all__


def test_the_readme_is_short_and_begins_with_sentence_picture_and_installation() -> None:
    page = text(ROOT / "README.md")
    assert len(page.splitlines()) <= 140
    assert len(page.split()) <= 1100
    assert page.index("![") < page.index("## Install") < page.index("```python")
    assert (ROOT / "docs" / "pictures" / "front.png").stat().st_size < 200_000


def test_nothing_of_the_old_contradiction_is_left() -> None:
    """Whether a GPU was at hand is said in one way."""
    assert not [name(path) for path in PAGES if "no GPU was at hand" in text(path)]
