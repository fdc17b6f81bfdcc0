"""The standard ensemble: which attacks it has for which model."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

import doubleback
from doubleback.attacks.standard import QUERIES, STANDARD, looks_up, standard_for
from doubleback.models import VAE, Reconstruction, Surviving


class Halves(nn.Module):
    """An encoder and a decoder of one layer each."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.decoder = nn.Conv2d(1, 2, 2, 2), nn.ConvTranspose2d(2, 1, 2, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.decoder(self.encoder(x))  # type: ignore[no-any-return]


def scripted() -> Any:
    return doubleback.wrap(torch.jit.trace(Halves().eval(), torch.rand(1, 1, 4, 4)))


def exported() -> Any:
    return doubleback.wrap(torch.export.export(Halves().eval(), (torch.rand(2, 1, 4, 4),)))


@pytest.mark.parametrize(
    ("make", "layers"),
    [
        (lambda: VAE((1, 4, 4)).eval(), True),
        (lambda: Surviving(VAE((1, 4, 4)).eval(), ["quantize:8"]), True),
        (lambda: doubleback.wrap(Halves()), True),
        (lambda: doubleback.wrap(encode=lambda x: x.flatten(1), decode=lambda z: z.view(-1, 1, 4, 4)), False),
        (scripted, False),
        (exported, False),
    ],
)
@pytest.mark.filterwarnings("ignore")  # torch's own, of its compilers
def test_layers_are_attacked_where_they_can_be_heard(make: Any, layers: bool) -> None:
    model = make()
    goals = standard_for(model)
    assert [goal.name for goal in goals] == ["untargeted", "layers-equal"][: 1 + layers]
    assert [goal.name for goal in STANDARD] == ["untargeted", "layers-equal"]
    x = torch.rand(4, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    found = doubleback.audit(model, x, pairs=2, eps=0.1, steps=2, progress=False).results()
    assert set(found["attacks"]) == {goal.name for goal in goals} | {"worst_case"}


class LooksUp(VAE):
    """Says tokens, as a model with a codebook does."""

    def forward(self, x: torch.Tensor, noise: torch.Tensor | None = None) -> Reconstruction:
        return replace(super().forward(x, noise), tokens=torch.zeros(len(x), 3, dtype=torch.long))


@pytest.mark.parametrize(
    ("make", "settings", "queries"),
    [
        (LooksUp, {"eps": 0.1}, QUERIES),
        (LooksUp, {"eps": 0.1, "queries": 7}, 7),
        (LooksUp, {"eps": 0.1, "attacks": ["untargeted"]}, None),
        (LooksUp, {"coefficients": 2}, None),
        (VAE, {"eps": 0.1}, None),
    ],
)
def test_a_code_that_is_looked_up_is_attacked_by_scores_too(
    make: type[VAE], settings: dict[str, Any], queries: int | None
) -> None:
    x = torch.rand(4, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    model = make((1, 4, 4)).eval()
    found = doubleback.audit(model, x, pairs=2, steps=2, progress=False, **settings)
    asked = {attack.name: attack.knowledge.queries for attack in found.attacks}
    assert asked.get("scores") == queries
    assert "untargeted" in asked or "coefficients" in settings


def test_of_a_model_that_fails_nothing_is_known() -> None:
    assert not looks_up(doubleback.wrap(Halves()), torch.rand(1, 5))
    assert looks_up(LooksUp((1, 4, 4)), torch.rand(2, 1, 4, 4))
