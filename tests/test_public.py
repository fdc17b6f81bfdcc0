"""The public API, written down: a name that comes or goes is a change that CHANGELOG.md has to say."""

import ast
import inspect
import re
from pathlib import Path

import pytest

import doubleback

ROOT = Path(__file__).parents[1]
PUBLIC = """
Attack Autoencoder AutoencoderAdapter Budget Classifier ConvVAE CvNet DRAW Damage Drift Goal ImageData Latent
LatentMixtureClassifier Layers LeNet Loop MLP Objective Output Penalty Price Range Rate Reconstruction STANDARD Scores
Search Surrogate Surviving TrainingObjective VAE apgd auddc audit check damage defended fgsm fit harden image_transition
latent_attack load_classifier load_images load_run output_attack penalty pgd r_margin robust_accuracy square universal
untargeted_attack wrap write_report
"""
NAMES = PUBLIC.split()


def test_the_list_is_this_one() -> None:
    assert doubleback.__all__ == sorted(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_every_name_is_there_and_says_what_it_is(name: str) -> None:
    found = getattr(doubleback, name)
    assert name in dir(doubleback)
    if inspect.isclass(found) or inspect.isfunction(found):
        assert len((inspect.getdoc(found) or "").split()) > 4


def test_type_checkers_see_the_same_names() -> None:
    """Those that stand under `TYPE_CHECKING` are those that are imported when they are used, from the same rooms."""
    tree = ast.parse((ROOT / "src" / "doubleback" / "__init__.py").read_text(encoding="utf-8"))
    block = next(one for one in tree.body if isinstance(one, ast.If))
    typed = {alias.asname: one.module for one in block.body if isinstance(one, ast.ImportFrom) for alias in one.names}
    assert typed == {name: f"doubleback.{room}" for name, room in doubleback._HOMES.items()}


def test_the_package_is_typed() -> None:
    assert (ROOT / "src" / "doubleback" / "py.typed").is_file()


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match=re.escape("module 'doubleback' has no attribute 'nothing'")):
        _ = doubleback.nothing
