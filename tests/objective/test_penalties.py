"""The penalties against hand-worked values on the linear autoencoder, and against each other in float64."""

import pytest
import torch
from torch import Tensor

from doubleback.objective import gradient_penalty, jacobian_penalty, reconstruction_loss
from doubleback.objective.penalties.gradient import gradient_penalty_by_differences
from doubleback.objective.penalties.jacobian import jacobian_penalty_by_differences
from tests.objective.models import images, no_projection, small_vae
from tests.problems import LinearAutoencoder


@pytest.mark.parametrize("through_target", [False, True])
def test_gradient_of_a_linear_gaussian_autoencoder(through_target: bool) -> None:
    """L0 = ||x_hat - x||^2 / (2 var): its gradient is (J' - I through the target) (x_hat - x) / var, J = V W."""
    model, x = no_projection(LinearAutoencoder()), images()
    J = (model.V @ model.W).detach()
    x_hat = (x.flatten(1) @ model.W.mT + model.b) @ model.V.mT + model.c
    error = (x_hat - x.flatten(1)).detach() / model.variance
    gradient = error @ J - (error if through_target else 0)
    _, penalty = gradient_penalty(model, x, None, through_target=through_target)
    assert penalty.min() > 1
    assert torch.allclose(penalty, gradient.square().sum(1))


@pytest.mark.parametrize("through_target", [False, True])
def test_gradient_of_a_linear_bernoulli_autoencoder(through_target: bool) -> None:
    """L0 = sum softplus(l) - x l: its gradient is J'(sigmoid(l) - x), and -l more through the target."""
    model, x = LinearAutoencoder(likelihood="bernoulli"), images()
    J = (model.V @ model.W).detach()
    logits = ((x.flatten(1) @ model.W.mT + model.b) @ model.V.mT + model.c).detach()
    gradient = (logits.sigmoid() - x.flatten(1)) @ J - (logits if through_target else 0)
    _, penalty = gradient_penalty(model, x, None, through_target=through_target)
    assert torch.allclose(penalty, gradient.square().sum(1))


def test_the_default_reading_follows_the_likelihood() -> None:
    for likelihood, moves in (("bernoulli", False), ("gaussian", True)):
        model, x = LinearAutoencoder(likelihood=likelihood), images()
        said = gradient_penalty(model, x, None, through_target=moves)[1]
        other = gradient_penalty(model, x, None, through_target=not moves)[1]
        assert torch.equal(gradient_penalty(model, x, None)[1], said)
        assert not torch.allclose(said, other)


def test_jacobian_projections_of_a_linear_autoencoder() -> None:
    """v'(V W) and v'W, one projection an example and averaged over two."""
    model, x = LinearAutoencoder(), images()
    generator = torch.Generator().manual_seed(1)
    v = torch.randn(2, 3, 16, generator=generator, dtype=torch.float64)
    _, output = jacobian_penalty(model, x, None, v.view(2, 3, 1, 4, 4), of="output")
    assert torch.allclose(output, (v @ model.V @ model.W).square().sum(2).mean(0))
    w = torch.randn(2, 3, 3, generator=generator, dtype=torch.float64)
    _, latent = jacobian_penalty(model, x, None, w, of="latent")
    assert torch.allclose(latent, (w @ model.W).square().sum(2).mean(0))


@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian"])
def test_gradgradcheck_of_the_loss_in_the_input(likelihood: str) -> None:
    model, x = small_vae(likelihood), images(2)
    noise = torch.randn(2, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))

    def loss(moving: Tensor) -> Tensor:
        return reconstruction_loss(model(moving, noise), moving)

    assert torch.autograd.gradcheck(loss, x.requires_grad_())
    assert torch.autograd.gradgradcheck(loss, x)


def test_finite_differences_agree_with_double_backpropagation() -> None:
    """In the reading that is not the likelihood's default: the value and its gradient, for a small step in float64."""
    model, x = small_vae(), images()
    noise = torch.randn(3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    exact = gradient_penalty(model, x, noise, through_target=True)[1]
    near = gradient_penalty_by_differences(model, x, noise, through_target=True, step=1e-6)[1]
    assert torch.allclose(near, exact, rtol=1e-4)
    exact_gradient, near_gradient = (
        torch.autograd.grad(value.sum(), list(model.parameters()), materialize_grads=True, allow_unused=True)
        for value in (exact, near)
    )
    for one, other in zip(exact_gradient, near_gradient, strict=True):
        assert torch.allclose(other, one, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("of", ["output", "latent"])
def test_jacobian_differences_are_those_of_the_linear_map(of: str) -> None:
    model, x = LinearAutoencoder(), images()
    w = torch.randn(2, *x.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    _, penalty = jacobian_penalty_by_differences(model, x, None, w, of=of)  # type: ignore[arg-type]
    J = model.V @ model.W if of == "output" else model.W
    assert torch.allclose(penalty, (w.flatten(2) @ J.mT).square().sum(2).mean(0))
