"""The wheel holds all that the package needs, and its command runs outside the checkout."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
def test_a_wheel_works_outside_the_checkout(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    packaged = {
        str(path.relative_to(ROOT / "src")) for path in (ROOT / "src" / "doubleback").rglob("*") if path.is_file()
    }
    assert {name for name in packaged if "__pycache__" not in name} <= set(names)
    site = tmp_path / "site"
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(site), str(wheel)]
    subprocess.run(install, check=True, capture_output=True)
    demo = [
        sys.executable,
        "-m",
        "doubleback",
        "demo",
        "--output",
        str(tmp_path / "demo"),
        "--epochs",
        "2",
        "--pairs",
        "2",
    ]
    # -I would hide PYTHONPATH; the working folder and the path are those of someone without the checkout
    done = subprocess.run(
        demo, cwd=tmp_path, env={"PYTHONPATH": str(site)}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "demo" / "report.html").stat().st_size > 10_000
