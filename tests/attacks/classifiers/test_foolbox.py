"""Attacks on a trained classifier beside foolbox's."""

import warnings
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from doubleback.attacks.classifiers import apgd, fgsm, pgd, random_noise
from doubleback.models import MLP
from tests.attacks.classifiers.problems import NORMS


def foolbox_attack(model: nn.Module, x: Tensor, y: Tensor, attack: str, eps: Sequence[float], **given: Any) -> Any:
    """(E, N, ...) adversarial images and (E, N) whether they fool, by foolbox."""
    target = given.pop("target", None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        foolbox = pytest.importorskip("foolbox")
        fmodel = foolbox.PyTorchModel(model, bounds=(0, 1), device="cpu")
        criterion = foolbox.criteria.Misclassification(y) if target is None else None
        criterion = criterion or foolbox.criteria.TargetedMisclassification(target)
        _, clipped, fooled = getattr(foolbox.attacks, attack)(**given)(fmodel, x, criterion, epsilons=list(eps))
    return torch.stack(clipped), fooled


def foolbox_pgd(
    model: nn.Module, x: Tensor, y: Tensor, norm: str, eps: Sequence[float], steps: int, step_size: float, **given: Any
) -> Tensor:
    """(E, N), whether any iterate fools: foolbox looks at the last one only, so it is run to each of them."""
    given |= {"rel_stepsize": step_size, "random_start": False}
    ends = [foolbox_attack(model, x, y, f"{norm}PGD", eps, steps=k, **given)[1] for k in range(1, steps + 1)]
    return torch.stack(ends).any(0)


EPSILONS = {"Linf": (0.03, 0.06), "L2": (0.5, 1.0)}


@pytest.mark.parametrize("norm", NORMS)
def test_fgsm_is_foolbox_fgsm(digits: tuple[MLP, Tensor, Tensor], norm: str) -> None:
    eps = EPSILONS[norm]
    x_adv, fooled = foolbox_attack(*digits, f"{norm}FastGradientAttack", eps)
    found = fgsm(*digits, eps=eps, norm=norm, losses=("cross-entropy",))  # type: ignore[arg-type]
    assert 0.05 < fooled.float().mean() < 0.95
    assert ((found.fooled != fooled).sum(1) <= 1).all()
    apart = fgsm(*digits, eps=eps[1:], norm=norm, losses=("cross-entropy",))  # type: ignore[arg-type]
    moved = (apart.x_adv[0] != digits[1]).flatten(1).any(1)
    assert moved.sum() > 150
    assert torch.allclose(apart.x_adv[0, moved], x_adv[1, moved], rtol=0, atol=1e-6)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize(("steps", "step_size"), [(6, 0.4), (12, 0.1)])
def test_pgd_is_foolbox_pgd(digits: tuple[MLP, Tensor, Tensor], norm: str, steps: int, step_size: float) -> None:
    fooled = foolbox_pgd(*digits, norm, EPSILONS[norm], steps, step_size)
    settings = {"steps": steps, "step_size": step_size, "random_start": False, "eps": EPSILONS[norm], "norm": norm}
    found = pgd(*digits, losses=("cross-entropy",), **settings)  # type: ignore[arg-type]
    assert 0.1 < fooled.float().mean() < 0.95
    assert ((found.fooled != fooled).sum(1) <= 1).all()


def test_targeted_pgd_is_foolbox_pgd(digits: tuple[MLP, Tensor, Tensor]) -> None:
    model, x, y = digits
    target = (y + 1) % 10
    fooled = foolbox_pgd(model, x, y, "Linf", (0.1, 0.15), 6, 0.4, target=target)
    settings = {"steps": 6, "step_size": 0.4, "random_start": False, "losses": ("cross-entropy",), "targets": target}
    found = pgd(model, x, y, eps=(0.1, 0.15), **settings)  # type: ignore[arg-type]
    assert 0.1 < fooled.float().mean() < 0.95
    assert ((found.fooled != fooled).sum(1) <= 1).all()
    place = found.fooled[1]
    assert torch.equal(model(found.x_adv[1, place]).argmax(1), target[place])


@pytest.mark.parametrize("norm", NORMS)
def test_apgd_is_no_weaker_than_foolbox_pgd(digits: tuple[MLP, Tensor, Tensor], norm: str) -> None:
    eps = EPSILONS[norm]
    fooled = foolbox_attack(*digits, f"{norm}PGD", eps, rel_stepsize=0.2, steps=12, random_start=False)[1]
    found = apgd(*digits, eps=eps, norm=norm, steps=12, random_start=False)  # type: ignore[arg-type]
    assert (found.fooled.sum(1) >= fooled.sum(1)).all()
    noise = random_noise(*digits, eps=eps, norm=norm, steps=12)  # type: ignore[arg-type]
    assert (noise.fooled.sum(1) < found.fooled.sum(1)).all()
