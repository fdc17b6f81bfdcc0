"""The pictures of README.md and docs/concepts.md, and their figures: python -m benchmarks.front --data-dir DIR

A small dense VAE learns 8,998 images of MNIST (DIR/mnist) for twelve epochs and is hardened within 2 % in six; both
are audited. The example of README.md is run, too, and what it prints is kept. The models lie in --output, so an
interrupted benchmark goes on. Leaves benchmarks/results/front*.json and docs/pictures/*.png; a test compares README.md
with the record.
"""

import argparse
import contextlib
import io
import re
import sys
from pathlib import Path
from typing import Any

import torch

import doubleback
from benchmarks import pictures
from benchmarks.recording import record, told
from doubleback.cli import main as doubleback_command
from doubleback.files import read_json

ROOT = Path(__file__).parent.parent
LIMIT, EPOCHS, PAIRS, COEFFICIENTS = 10_000, 12, 20, 25
GOALS = ("latent", "output", "untargeted")  # of the picture that shows one pair; audits take the first two


def example(page: str) -> str:
    """The first Python block of a page."""
    found = re.search(r"```python\n(.*?)```", page, re.DOTALL)
    assert found is not None
    return found[1]


def printed(code: str) -> str:
    """What the code prints."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(io.StringIO()):
        exec(compile(code, "README.md", "exec"), {})
    return said.getvalue().strip()


def audited(model: Any, images: doubleback.ImageData) -> Any:
    """The audit of either model: the same pairs, the same attacks."""
    return doubleback.audit(model, images, attacks=GOALS[:2], pairs=PAIRS, coefficients=COEFFICIENTS)


def hidden(model: Any, images: doubleback.ImageData) -> dict[str, Any]:
    """The same model once it hides its gradient, as a defence might; and attacked by a twin that does not."""

    def hides(x: torch.Tensor) -> torch.Tensor:
        return model(x.detach()).likelihood.mean

    victims = {"hidden": doubleback.wrap(hides), "twin": doubleback.wrap(hides, surrogate=model)}
    asked = {"attacks": ["output"], "pairs": PAIRS, "coefficients": COEFFICIENTS, "steps": 100}
    return {name: figures(doubleback.audit(victim, images, **asked)) for name, victim in victims.items()}


def three_goals(model: Any, images: doubleback.ImageData) -> Any:
    """The audit of one pair by every goal, for its pictures."""
    return doubleback.audit(model, images, attacks=GOALS, pairs=1, coefficients=COEFFICIENTS)


def figures(found: Any) -> dict[str, Any]:
    """What the record holds of an audit."""
    results = found.results()
    worst = results["attacks"]["worst_case"]
    return {
        "reconstruction_l2": results["reconstruction_l2"],
        "worst_case": worst["auddc"]["envelope"],
        "ceiling": results["ceiling"],
        "share_of_ceiling": worst["share_of_ceiling"],
        "damage_area": results["damage"]["area"],
        "flags": sorted(results["flags"]),
        "checks": {name: [one["value"], one["threshold"]] for name, one in results["checks"].items()},
    }


def runs(folder: Path, data: str, *, quick: bool) -> tuple[Path, Path]:
    """Both models as folders; what is there already is kept, so an interrupted benchmark goes on."""
    plain, hardened = folder / "plain", folder / "hardened"
    loop = ["--batch-size", "128", "--epochs"]
    train = ["train", "--data", data, "--limit", str(LIMIT), "--likelihood", "gaussian", *loop]
    harden = ["harden", str(plain), "--within", "2%", "--alone", *loop]
    for command in (
        [*train, "1" if quick else str(EPOCHS), "--learning-rate", "0.003", "--resume", "--output", str(plain)],
        [*harden, "1" if quick else str(EPOCHS // 2), "--output", str(hardened)],
    ):
        if doubleback_command(command):
            sys.exit(2)
    return plain, hardened


def main() -> None:
    """Train, harden, audit, draw, and write it down."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path, help="holds mnist/; without it the bundled digits are used")
    parser.add_argument("--output", type=Path, default=Path("runs/front"), help="of both models")
    parser.add_argument("--quick", action="store_true", help="one epoch, another record: does it run?")
    given = parser.parse_args()
    data = "mnist" if given.data_dir else "digits"
    source = str(given.data_dir / data) if given.data_dir else data
    plain, hardened = runs(given.output, source, quick=given.quick)
    cost = read_json(hardened / "results.json")["harden"]
    images = doubleback.load_images(source, limit=LIMIT)
    model = doubleback.load_run(plain).model
    found = {"plain": audited(model, images), "hardened": audited(doubleback.load_run(hardened).model, images)}
    known = {
        "data": data,
        "images": len(images.train.images),
        "epochs": EPOCHS,
        "pairs": PAIRS,
        "coefficients": COEFFICIENTS,
        "validation_l2": [cost[when]["reconstruction_l2"] for when in ("start", "end")],
        **{name: figures(one) for name, one in found.items()},
        **hidden(model, images),
        "readme": "" if given.quick else printed(example((ROOT / "README.md").read_text(encoding="utf-8"))),
    }
    record("front", known, quick=given.quick)
    pictures.draw(ROOT / "docs" / "pictures", found | {"goals": three_goals(model, images)}, known)


if __name__ == "__main__":
    told(main)
