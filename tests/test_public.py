"""The public API, written down: a name that comes or goes is a change that CHANGELOG.md has to say."""

import ast
import inspect
import re
from pathlib import Path

import pytest

import doubleback

ROOT = Path(__file__).parents[1]
PUBLIC = """
Attack Audited Auditing Autoencoder AutoencoderAdapter BallSearch Budget Canvas Classifier ConvVAE CvNet DRAW Damage
Drift Goal Hardened Hardening ImageData InputError Labelled Latent LatentMixtureClassifier Layers LeNet LipschitzAE
Loop MLP Objective Output Pairing Penalty Price Range Rate Reconstruction STANDARD Scores Search Split Surrogate
Surviving Threat Threats TrainingObjective VAE Walk apgd auddc audit check damage defended fgsm fit harden
image_transition latent_attack load_classifier load_images load_run output_attack penalty pgd r_margin robust_accuracy
square universal untargeted_attack wrap write_report
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


def test_settings_and_results_of_public_functions_are_public() -> None:
    """Whoever passes settings whole, or writes down what an audit or a hardening returns, imports it from here."""
    told = {name: str(inspect.signature(getattr(doubleback, name))) for name in NAMES if name != "STANDARD"}
    assert "doubleback.settings.search.Auditing" in told["audit"]
    taken = {kind for said in told.values() for kind in re.findall(r"\bdoubleback\.settings\.\w+\.(\w+)", said)}
    assert taken - {"Step"} <= set(NAMES), "a step may be written as text"
    assert {"Audited", "Hardened"} <= set(NAMES)


def test_one_version_everywhere() -> None:
    pages = [(ROOT / name).read_text(encoding="utf-8") for name in ("CITATION.cff", "CHANGELOG.md")]
    said = [
        re.search(mark, page, re.MULTILINE)
        for mark, page in zip((r"^version: (\S+)$", r"^## (\S+)"), pages, strict=True)
    ]
    assert [found and found[1] for found in said] == [doubleback.__version__] * 2
    assert len({re.findall(r"2\d{3}-\d\d-\d\d", page)[0] for page in pages}) == 1, "of the same day"


def test_every_name_of_version_0_1_is_there() -> None:
    first = """
    DRAW MLP VAE Autoencoder AutoencoderAdapter Classifier ConvVAE CvNet LatentMixtureClassifier LeNet Objective
    Reconstruction apgd auddc audit fgsm fit image_transition latent_attack load_classifier load_images load_run
    output_attack pgd robust_accuracy square untargeted_attack write_report
    """
    assert set(first.split()) <= set(doubleback.__all__)


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
