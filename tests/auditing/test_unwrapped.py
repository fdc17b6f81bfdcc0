"""A module of somebody else is wrapped where it is given: every public function takes it, with `wrap`'s figures."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import doubleback


def _areas(found: doubleback.Audited) -> Any:
    return found.results()["attacks"]["output"]["auddc"]


LOOKS: dict[str, Callable[[Any, Tensor], Any]] = {
    "audit": lambda net, x: _areas(doubleback.audit(net, x, pairs=2, coefficients=3, steps=5, progress=False)),
    "check": lambda net, x: [(one.name, one.ok) for one in doubleback.check(net, x)],
    "damage": lambda net, x: doubleback.damage(net, x, eps=0.1, steps=3, restarts=0).distance.tolist(),
    "r_margin": lambda net, x: doubleback.r_margin(net, x, 0.1, steps=3).tolist(),
    "universal": lambda net, x: doubleback.universal(net, x, eps=0.1, epochs=2).d.tolist(),
}


@pytest.mark.parametrize("look", LOOKS)
def test_an_unwrapped_module_is_wrapped(look: str) -> None:
    torch.manual_seed(0)
    net = nn.Module()
    net.encoder = nn.Sequential(nn.Flatten(), nn.Linear(64, 6))
    net.decoder = nn.Sequential(nn.Linear(6, 64), nn.Sigmoid(), nn.Unflatten(1, (1, 8, 8)))
    x = torch.rand(8, 1, 8, 8)
    assert LOOKS[look](net.eval(), x) == LOOKS[look](doubleback.wrap(net), x)
