"""What `harden`, `wrap` and `penalty` do with models and arguments that a user may well have."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import doubleback
from doubleback.errors import InputError

QUICK: dict[str, Any] = {"epochs": 1, "alone": True, "progress": False}
X = torch.rand(120, 1, 8, 8, generator=torch.Generator().manual_seed(0))


class Plain(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Flatten(), nn.Linear(64, 8))
        self.decoder = nn.Sequential(nn.Linear(8, 64), nn.Sigmoid(), nn.Unflatten(1, (1, 8, 8)))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.decoder(self.encoder(x))
        return out


ANY: Any = Plain  # no hint refuses it: the function does


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.both = nn.Parameter(torch.randn(8, 64) * 0.1)
        self.bias, self.offset = nn.Parameter(torch.zeros(64)), nn.Parameter(torch.zeros(8))

    def encode(self, x: Tensor) -> Tensor:
        return x.flatten(1) @ self.both.T + self.offset

    def decode(self, z: Tensor) -> Tensor:
        return torch.sigmoid(z @ self.both + self.bias).view(-1, 1, 8, 8)

    def forward(self, x: Tensor) -> Tensor:
        return self.decode(self.encode(x))


class Averaging(Plain):
    """It puts another buffer in the place of its own, at every call."""

    mean: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(64))

    def forward(self, x: Tensor) -> Tensor:
        self.mean = 0.9 * self.mean + 0.1 * x.flatten(1).mean(0)
        return super().forward(x)


class WithAWord(Plain):
    def get_extra_state(self) -> dict[str, int]:
        return {"version": 1}

    def set_extra_state(self, state: Any) -> None:
        del state


def test_a_decoder_that_shares_a_weight_cannot_be_held_still() -> None:
    """Else what stands on the old codes would meet another decoder, and nobody would know."""
    with pytest.raises(InputError, match="shares a weight with the encoder"):
        doubleback.harden(Tied(), X, freeze="decoder", **QUICK)
    net = Plain()
    before, z = [one.clone() for one in net.decoder.parameters()], torch.randn(3, 8)
    out = net.decoder(z)
    doubleback.harden(net, X, freeze="decoder", **QUICK)
    assert all(torch.equal(one, other) for one, other in zip(before, net.decoder.parameters(), strict=True))
    assert torch.equal(net.decoder(z), out)


def test_a_code_that_no_weight_is_followed_from_is_refused_in_a_line() -> None:
    net = Plain()
    victim = doubleback.wrap(encode=lambda x: net.encoder(x).detach(), decode=net.decoder)
    with pytest.raises(InputError, match="leave freeze out"):
        doubleback.harden(victim, X, freeze="decoder", **QUICK)


def test_a_buffer_that_is_replaced_is_put_back() -> None:
    net = Averaging()
    own = net.mean
    doubleback.damage(net, X[:4], eps="8/255", steps=2)
    assert net.mean is own
    assert not own.any()


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: doubleback.harden(WithAWord(), X, **QUICK), "_extra_state, a dict"),
        (lambda: doubleback.harden(Plain(), X, loss=lambda net, x: net(x).sum() * float("nan"), **QUICK), "is nan"),
        (lambda: doubleback.harden(Plain(), X, "2 percent", **QUICK), "give a share"),
        (lambda: doubleback.wrap(Plain(), **{"spread": "logvar"}), "choose one of log_var, var, std"),
        (lambda: doubleback.wrap(Plain(), multiple=0), "multiple is 0"),
        (lambda: doubleback.Labelled(ANY(), 3, 1.0), "no variational code"),
    ],
)
def test_what_cannot_be_used_is_said_in_a_line(make: Any, says: str) -> None:
    with pytest.raises(InputError, match=says):
        make()


def test_it_works_where_nobody_asks_for_gradients_and_takes_per_cent() -> None:
    with torch.no_grad():
        assert doubleback.harden(Plain(), X, "2%", **QUICK).within == 0.02


def test_a_normalisation_may_be_an_array_a_tensor_or_a_number() -> None:
    for mean, std in (([0.5] * 3, [0.1, 0.2, 0.3]), (np.full(3, 0.5), torch.tensor([0.1, 0.2, 0.3]))):
        parts = doubleback.wrap(Plain(), mean=mean, std=std).parts
        assert (parts.mean, parts.std) == ((0.5,) * 3, pytest.approx((0.1, 0.2, 0.3)))
    assert doubleback.wrap(Plain(), mean=0.5, std=0.1).parts.mean == (0.5,)


def test_a_penalty_is_of_any_module() -> None:
    assert doubleback.penalty(Plain(), "spectral")(X[:8]).shape == (4,)
