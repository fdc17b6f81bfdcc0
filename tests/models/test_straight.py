"""Rounding passes the gradient through, to the very values that the model gives."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from doubleback.models.straight import StraightThrough, clamped_straight

ROUNDINGS = {
    "torch.round": torch.round,
    "Tensor.round": lambda z: z.round(),
    "floor": torch.floor,
    "ceil": lambda z: z.ceil(),
    "trunc": torch.trunc,
    "in place": lambda z: (2 * z).round_() / 2,
    "two digits": lambda z: torch.round(z, decimals=2),
}


@pytest.mark.parametrize("rounding", ROUNDINGS.values(), ids=ROUNDINGS)
def test_the_value_is_rounded_and_the_gradient_is_not(rounding: object) -> None:
    assert callable(rounding)
    z = torch.linspace(-3.3, 3.4, 50, dtype=torch.float64, requires_grad=True)
    with StraightThrough():
        rounded = rounding(z)
    torch.testing.assert_close(rounded, rounding(z.detach().clone()), rtol=0, atol=1e-15)
    (gradient,) = torch.autograd.grad((rounded * torch.arange(50.0)).sum(), z)
    assert torch.equal(gradient, torch.arange(50.0, dtype=torch.float64))


@given(st.floats(-(2.0**20), 2.0**20, width=32))
def test_whole_numbers_are_met_exactly(value: float) -> None:
    z = torch.tensor([value], requires_grad=True)
    with StraightThrough():
        assert z.round().item() == z.detach().round().item()


def test_outside_of_it_nothing_has_changed() -> None:
    z = torch.tensor([0.4, 1.6], requires_grad=True)
    with StraightThrough():
        assert torch.equal(z.detach().round(), torch.tensor([0.0, 2.0]))
    (gradient,) = torch.autograd.grad(z.round().sum(), z)
    assert not gradient.any()


def test_a_clamp_with_a_gradient() -> None:
    x = torch.tensor([-0.5, 0.25, 1.5], requires_grad=True)
    shown: Tensor = clamped_straight(x)
    torch.testing.assert_close(shown, torch.tensor([0.0, 0.25, 1.0]))
    (gradient,) = torch.autograd.grad(shown.sum(), x)
    assert torch.equal(gradient, torch.ones(3))
