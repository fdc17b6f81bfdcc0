"""What `make dist` builds: the wheel and the sdist hold what they need, and the command runs outside the checkout."""

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import doubleback

ROOT = Path(__file__).parents[1]
SKIPPED = {"__pycache__", ".ruff_cache", ".mypy_cache", ".hypothesis"}
pytestmark = pytest.mark.slow


def files(*folders: str) -> set[str]:
    """Every file below these folders of the checkout, as paths from its root."""
    found = [path for folder in folders for path in (ROOT / folder).rglob("*") if path.is_file()]
    return {path.relative_to(ROOT).as_posix() for path in found if not SKIPPED & set(path.parts)}


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both, the wheel built from the sdist, as `make dist` builds them."""
    folder = tmp_path_factory.mktemp("dist")
    build = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True)
    names = {f"doubleback-{doubleback.__version__}{end}" for end in (".tar.gz", "-py3-none-any.whl")}
    assert {path.name for path in folder.iterdir()} == names
    return folder


def test_the_wheel_holds_the_package_and_nothing_else(dist: Path) -> None:
    (wheel,) = dist.glob("*.whl")
    held = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert held == {name.removeprefix("src/") for name in files("src")}


def test_the_sdist_holds_what_make_needs(dist: Path) -> None:
    (sdist,) = dist.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        held = {name.partition("/")[2] for name in archive.getnames()}
    assert files("src", "tests", "docs", "examples", ".ci") <= held
    assert {"Makefile", "constraints.txt", "mkdocs.yml", "README.md", "CONTRIBUTING.md", "LICENSE"} <= held


@pytest.mark.parametrize("kind", ["*.whl", "*.tar.gz"])
def test_it_works_outside_the_checkout(kind: str, dist: Path, tmp_path: Path) -> None:
    (package,) = dist.glob(kind)
    site = tmp_path / "site"
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*install, "--target", str(site), str(package)], check=True, capture_output=True)
    demo = [sys.executable, "-m", "doubleback", "demo", "--epochs", "2", "--pairs", "2"]
    # -I would hide PYTHONPATH; the working folder and the path are those of someone without the checkout
    environment = {"PYTHONPATH": str(site), "PATH": os.environ["PATH"]}
    done = subprocess.run(demo, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "doubleback-demo" / "report.html").read_text(encoding="utf-8")
    assert 'class="mover"' in page, "templates and the slider's script come along"
    assert (site / "doubleback" / "py.typed").is_file()
