"""A goal or a capability of someone's own goes through the whole audit, and nothing there knows its name."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from doubleback.attacks import Attack
from doubleback.auditing import Audited, audit
from doubleback.auditing.filling import FILL
from doubleback.auditing.pairs import Pairs
from doubleback.auditing.record import Points
from doubleback.auditing.sheet import BUDGETS
from doubleback.data import ImageData
from doubleback.errors import InputError
from doubleback.models import VAE
from doubleback.settings import Price, Search
from doubleback.tensors import as_unit
from tests.attacks.test_attack import Blends

COEFFICIENTS = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0, 16.0)


class Nearest:
    """The target's own reconstruction, measured by the largest error instead of the sum."""

    name, targeted = "nearest", True

    def loss(self, model, source, target):  # type: ignore[no-untyped-def]
        aim = model(target).likelihood.mean.detach()
        return lambda x, pair, noise: (model(x, noise).likelihood.mean - aim[pair]).flatten(1).square().amax(1)


class Unlike:
    """Any other reconstruction, by absolute errors."""

    name, targeted, about = "unlike", False, "changes the reconstruction"

    def loss(self, model, source, target):  # type: ignore[no-untyped-def]
        before = model(source).likelihood.mean.detach()
        return lambda x, pair, noise: -(model(x, noise).likelihood.mean - before[pair]).flatten(1).abs().sum(1)


@pytest.fixture(scope="module")
def found(vae: VAE, tiny: ImageData) -> Audited:
    return audit(vae, tiny, attacks=(Nearest(), Unlike), pairs=3, coefficients=COEFFICIENTS, steps=20, progress=False)


def test_it_is_recorded_beside_the_others(found: Audited) -> None:
    results = json.loads(json.dumps(found.results(), allow_nan=False))
    attacks, arrays = results["attacks"], found.arrays()
    assert list(attacks) == ["nearest", "unlike", "worst_case"]
    assert [attacks[name]["targeted"] for name in ("nearest", "unlike")] == [True, False]
    assert [attacks[name]["about"] for name in ("nearest", "unlike")] == ["", "changes the reconstruction"]
    for name in ("nearest", "unlike"):
        assert attacks[name]["auddc"]["envelope"]["mean"] < 0.95
        assert arrays[f"{name}/distortion"].shape == arrays[f"{name}/adversarial_distance"].shape == (3, 7 + FILL)
        assert found.gallery[f"{name}/x_adv"].shape == (3, len(BUDGETS), 1, 8, 8)
        assert np.isfinite(found.gallery[f"{name}/adversarial_distance"]).all()


@pytest.mark.parametrize("goal", [Nearest, Unlike], ids=lambda goal: goal.name)
def test_it_is_scored_as_its_kind(found: Audited, vae: VAE, tiny: ImageData, goal: type[Nearest | Unlike]) -> None:
    """What the gallery shows, measured again: towards the target, or as change alone. Its images are rounded."""
    source, target = (as_unit(tiny.test.images[index]) for index in (found.source_index, found.target_index))
    shown = as_unit(torch.from_numpy(found.gallery[f"{goal.name}/x_adv"]).flatten(0, 1)).unflatten(0, (3, -1))
    v = Pairs(vae, source, target, [None]).adversarial_distance(shown, targeted=goal.targeted)
    assert np.allclose(found.gallery[f"{goal.name}/adversarial_distance"], v, atol=0.02)


@pytest.mark.parametrize(("name", "counts"), [("nearest", True), ("unlike", False)])
def test_only_what_is_targeted_counts_in_the_worst_case(found: Audited, name: str, counts: bool) -> None:
    """Had one reached everything for almost nothing: a change without a target is a distance of another kind."""
    easy = Points(np.full((3, 1), 0.01), np.zeros((3, 1)), np.ones(3))
    planted = replace(found, points=found.points | {name: easy})
    assert (planted.auddc(name) < 0.01).all()
    worst = planted.auddc(name) if counts else found.auddc("worst_case")
    assert np.allclose(planted.auddc("worst_case"), worst)
    assert (found.auddc("worst_case") > 0.1).all()


def test_it_is_checked(found: Audited, vae: VAE, tiny: ImageData) -> None:
    assert len(found.results()["checks"]) == 6
    assert "vanishing_gradients" not in found.results()["flags"]

    class Deaf(Nearest):
        def loss(self, model, source, target):  # type: ignore[no-untyped-def]
            loss = super().loss(model, source, target)
            return lambda x, pair, noise: loss(x.round(), pair, noise)

    alone = audit(vae, tiny, attacks=[Deaf()], pairs=2, coefficients=(0.0,), steps=2, progress=False).results()
    assert "vanishing_gradients" in alone["flags"]


def test_of_untargeted_attacks_alone_the_worst_case_is_blending(vae: VAE, tiny: ImageData) -> None:
    unlike = Attack(Unlike(), Price((0.0, 0.05)), Search(steps=3), name="away")
    found = audit(vae, tiny, attacks=[unlike], pairs=2, progress=False)
    assert np.allclose(found.auddc("worst_case"), found.auddc("ceiling"))
    checks = found.results()["checks"]
    assert len(checks) == 6
    assert checks["black_box_beats_white_box"]["value"] == checks["noise_beats_gradient"]["value"] == 0
    json.dumps(found.results(), allow_nan=False)


def test_an_attackers_own_capability_is_audited_too(vae: VAE, tiny: ImageData) -> None:
    """Beside a price, whose coefficients stand alone then."""
    attacks = [Attack(Nearest(), Blends((0.0, 0.5, 1.0)), name="blends"), Attack(Nearest(), Price(3), Search(steps=2))]
    found = audit(vae, tiny, attacks=attacks, pairs=2, progress=False)
    arrays = found.arrays()
    assert np.allclose(arrays["blends/distortion"], [0.0, 0.5, 1.0], atol=1e-6)
    assert "coefficients" not in arrays
    assert "blends/coefficients" not in arrays
    assert len(arrays["nearest/coefficients"]) == 4
    assert len(found.results()["checks"]) == 6
    alone = audit(vae, tiny, attacks=attacks[:1], pairs=2, progress=False)
    assert not any("coefficients" in name for name in alone.arrays())
    json.dumps(alone.results(), allow_nan=False)


def test_a_goal_is_given_as_a_file_and_a_name(vae: VAE, tiny: ImageData, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "class Dark:\n"
        "    name, targeted = 'dark', True\n"
        "    def loss(self, model, source, target):\n"
        "        return lambda x, pair, noise: model(x, noise).likelihood.mean.flatten(1).sum(1)\n"
        "dark = Dark()\n"
    )
    quick = {"pairs": 1, "coefficients": (0.05,), "steps": 3, "progress": False}
    one = audit(vae, tiny, attacks=[f"{tmp_path}/mine.py:Dark"], **quick)  # type: ignore[arg-type]
    other = audit(vae, tiny, attacks=[f"{tmp_path}/mine.py:dark"], **quick)  # type: ignore[arg-type]
    assert list(one.results()["attacks"]) == ["dark", "worst_case"]
    assert np.array_equal(one.auddc("dark"), other.auddc("dark"))
    with pytest.raises(InputError, match=r"mine\.py has no 'Bright'"):
        audit(vae, tiny, attacks=[f"{tmp_path}/mine.py:Bright"], **quick)  # type: ignore[arg-type]
