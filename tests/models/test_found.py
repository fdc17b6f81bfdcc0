"""The modules that a function uses are found, wherever it keeps them."""

import functools
from typing import Any

import pytest
from torch import Tensor, nn

from doubleback.models.found import modules_in

GLOBAL = nn.ModuleDict({"e": nn.Linear(2, 2)})


class Owner:
    def __init__(self) -> None:
        self.net = nn.Linear(2, 2)

    def encode(self, x: Tensor) -> Any:
        return self.net(x)


def held(net: nn.Module, x: Tensor) -> Any:
    return net(x)


def test_where_they_can_be() -> None:
    net, owner = nn.Sequential(nn.Linear(2, 2)), Owner()

    def default(x: Tensor, own: nn.Module = net) -> Any:
        return own(x)

    nets = {"net": net}
    for used in (lambda x: net(x), default, functools.partial(held, net), lambda x: nets["net"](x), net.forward, net):
        assert modules_in(used) == [net]
    assert modules_in(lambda x: GLOBAL["e"](x)) == [GLOBAL]
    assert modules_in(owner.encode) == [owner.net]
    assert modules_in(lambda x: owner.encode(x)) == [owner.net]
    assert modules_in(None, len, abs) == []


def test_a_part_is_not_named_beside_its_whole() -> None:
    net = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    assert modules_in(net, lambda x: net[0](x), net[1]) == [net]


@pytest.mark.parametrize("other", [3, "x", nn.Linear])
def test_what_is_no_module(other: object) -> None:
    assert modules_in(other) == []
