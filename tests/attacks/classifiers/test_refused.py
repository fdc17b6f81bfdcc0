"""What attacks on classifiers refuse, and what they say."""

import math
from typing import Any

import pytest
import torch

from doubleback.attacks.classifiers import apgd, fgsm, pgd, random_noise, square
from doubleback.errors import InputError
from tests.attacks.classifiers.problems import Parallel, Run, every_attack, images, zeros


@pytest.mark.usefixtures("unchecked")
@every_attack
@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"eps": ()}, "eps is empty"),
        ({"eps": (0.1, -0.2)}, "eps is -0.2"),
        ({"eps": (math.nan,)}, "eps is nan"),
        ({"eps": (math.inf,)}, "eps is inf"),
        ({"norm": "L0"}, "norm is 'L0'"),
        ({"samples": 0}, "samples is 0"),
        ({"targets": torch.zeros(4, dtype=torch.int64)}, "there are 4 targets for 3 images"),
        ({"targets": torch.tensor([1, 2, 9])}, "targets reach from 1 to 9; the model knows 5"),
        ({"seed": -1}, "seed is -1"),
    ],
    ids=lambda value: str(value)[:30] if isinstance(value, str) else "",
)
def test_bad_settings(run: Run, given: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        run(Parallel(), images(3), zeros(3), **{"eps": (0.1,), **given})


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("run", "given", "said"),
    [
        (pgd, {"steps": 0}, "steps is 0"),
        (apgd, {"steps": -1}, "steps is -1"),
        (random_noise, {"steps": 0}, "steps is 0"),
        (pgd, {"restarts": 0}, "restarts is 0"),
        (apgd, {"restarts": 0}, "restarts is 0"),
        (pgd, {"step_size": -0.1}, "step.size is -0.1"),
        (pgd, {"step_size": 0.0}, "step.size is 0.0"),
        (pgd, {"step_size": math.nan}, "step.size is nan"),
        (pgd, {"losses": ("hinge", "margin")}, "loss hinge; choose from cross-entropy, margin, dlr"),
        (fgsm, {"losses": ()}, "loss is missing"),
        (fgsm, {"y": torch.zeros(2, dtype=torch.int64)}, "there are 2 y for 3 images"),
        (fgsm, {"y": torch.tensor([0, -1, 0])}, "y reach from -1 to 0"),
        (fgsm, {"y": torch.tensor([0, 5, 0])}, "y reach from 0 to 5; the model knows 5"),
        (fgsm, {"x": 300 * images(3)}, "images reach max"),
        (fgsm, {"x": images(3) - 0.9}, "images reach min"),
        (fgsm, {"x": images(3) * math.nan}, "images hold NaN"),
        (fgsm, {"x": images(3)[0]}, "images have shape"),
        (fgsm, {"model": Parallel(2), "losses": ("dlr",)}, "dlr needs"),
        (fgsm, {"model": Parallel(3), "losses": ("dlr",), "targets": zeros(3) + 1}, "dlr needs"),
    ],
    ids=lambda value: value[:30] if isinstance(value, str) else "",
)
def test_more_bad_settings(run: Run, given: dict[str, Any], said: str) -> None:
    settings = {"model": Parallel(), "x": images(3), "y": zeros(3), "eps": (0.1,), **given}
    with pytest.raises(InputError, match=said):
        run(settings.pop("model"), settings.pop("x"), settings.pop("y"), **settings)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(("given", "said"), [({"eps": (-0.2,)}, "eps is -0.2"), ({"norm": "L0"}, "norm is 'L0'")])
def test_bad_settings_are_found_where_nothing_is_left_to_attack(given: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        fgsm(Parallel(bias=-20), images(3), zeros(3), **{"eps": (0.1,), **given})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("run", "given"),
    [
        (fgsm, {"steps": 3}),
        (pgd, {"queries": 3}),
        (apgd, {"step_size": 0.1}),
        (random_noise, {"restarts": 2}),
        (square, {"losses": ("margin",)}),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_an_attack_says_which_settings_it_takes(run: Run, given: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match=f"takes no '{next(iter(given))}'; its search has"):
        run(Parallel(), images(3), zeros(3), eps=(0.1,), **given)
