"""Gradient and Jacobian norms against exact Jacobians in float64."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from doubleback.errors import InputError
from doubleback.metrics.smoothness import input_gradient_norm, jacobian_frobenius, jacobian_spectral
from tests.problems import LinearAutoencoder, StraightThrough, Undifferentiable


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def images(rows: int, *shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.rand(rows, *shape, dtype=dtype, generator=generator(7))


@pytest.fixture
def network() -> nn.Module:
    """A smooth map (B, 1, 3, 4) -> (B, 5) whose Jacobian differs from row to row."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return nn.Sequential(nn.Flatten(), nn.Linear(12, 8), nn.Softplus(), nn.Linear(8, 5), nn.Tanh()).double()


def exact_jacobians(f, x: Tensor) -> Tensor:
    """(B, M, N), row by row, M and N the sizes of an output and of an input."""
    rows = [torch.autograd.functional.jacobian(f, row[None]) for row in x]
    return torch.stack([jacobian.reshape(-1, x[0].numel()) for jacobian in rows])


def test_input_gradient_norm_of_quadratics() -> None:
    """d/dx a ||x||^2 = 2 a x, with another a for each row."""
    x, a = images(3, 1, 2, 2), torch.tensor([1.0, 0.5, 0.0], dtype=torch.float64)
    norms = input_gradient_norm(lambda x: a * x.square().flatten(1).sum(1), x)
    torch.testing.assert_close(norms, 2 * a * x.flatten(1).norm(dim=1))


def test_input_gradient_norm_of_the_linear_autoencoder() -> None:
    """-log p of a Bernoulli with logits V (W x + b) + c: the gradient is (V W)' (sigmoid(logits) - x)."""
    model = LinearAutoencoder(likelihood="bernoulli")
    x = images(4, 1, 4, 4)
    norms = input_gradient_norm(lambda moving: -model(moving).likelihood.log_prob(x), x)
    residual = (model(x).likelihood.mean - x).flatten(1)
    torch.testing.assert_close(norms, (residual @ model.V @ model.W).norm(dim=1).detach())


def test_frobenius_against_the_exact_jacobian(network: nn.Module) -> None:
    """With 4,000 draws the relative error is at most 1 / sqrt(8000) = 1.1 %, one standard deviation."""
    x = images(4, 1, 3, 4)
    estimate = jacobian_frobenius(network, x, projections=4000, generator=generator())
    exact = torch.linalg.matrix_norm(exact_jacobians(network, x))
    torch.testing.assert_close(estimate, exact, rtol=0.04, atol=0)


def test_frobenius_is_unbiased_in_the_square_and_draws_each_row_apart() -> None:
    """x -> 3 x on one pixel: J'v = 3 v, each estimate is 9 times the mean square of its row's draws."""
    x = images(2000, 1, 1, 1)
    squares = jacobian_frobenius(lambda x: 3 * x, x, projections=2, generator=generator()).square()
    assert squares.mean() == pytest.approx(9.0, rel=0.1)  # three standard deviations
    assert squares.std() == pytest.approx(9.0, rel=0.2)  # 9 sqrt(2 / projections)


def test_spectral_against_svd(network: nn.Module) -> None:
    x = images(6, 1, 3, 4)
    estimate = jacobian_spectral(network, x, generator=generator(), tolerance=1e-10, max_iterations=2000)
    exact = torch.linalg.matrix_norm(exact_jacobians(network, x), ord=2)
    torch.testing.assert_close(estimate, exact, rtol=1e-6, atol=0)


def test_spectral_of_images_to_images() -> None:
    """The linear autoencoder's code has the spectral norm 2; a gain for each row scales it."""
    model = LinearAutoencoder()
    gain = torch.tensor([1.0, 10.0, 1e-3], dtype=torch.float64)
    x = images(3, 1, 4, 4)
    code = jacobian_spectral(lambda x: gain[:, None] * model.encode(x).mean, x, generator=generator())
    torch.testing.assert_close(code, 2 * gain, rtol=1e-3, atol=0)
    output = jacobian_spectral(lambda x: model(x).likelihood.mean, x, generator=generator())
    torch.testing.assert_close(output, torch.ones_like(gain), rtol=1e-6, atol=0)


def test_spectral_waits_for_the_slowest_row() -> None:
    """diag(1, 0.9) needs many more steps than diag(1, 0), and gets them in the same batch."""
    scale = torch.tensor([[1.0, 0.0], [1.0, 0.9]], dtype=torch.float64)
    norms = jacobian_spectral(lambda x: scale * x, images(2, 2), generator=generator(), tolerance=1e-9)
    torch.testing.assert_close(norms, torch.ones(2, dtype=torch.float64), rtol=1e-7, atol=0)


def test_spectral_rises_from_below_and_stops_when_told() -> None:
    scale = torch.linspace(0.5, 1, 20, dtype=torch.float64)

    def f(x: Tensor) -> Tensor:
        return scale * x

    def norm(**options) -> float:
        return jacobian_spectral(f, images(1, 20), generator=generator(), **options).item()

    steps = [norm(tolerance=0.0, max_iterations=n) for n in (1, 2, 4, 8, 200)]
    assert steps == sorted(steps)
    assert steps[0] < 0.99 < steps[-1] <= 1 + 1e-12
    assert steps[1] < norm(tolerance=1e-3) < norm(tolerance=1e-6) < norm(tolerance=0.0)


@pytest.mark.parametrize(
    "f",
    [lambda x: 0 * x, torch.round, lambda x: torch.ones(len(x), 2, dtype=x.dtype)],
    ids=["zero", "round", "constant"],
)
def test_a_zero_jacobian_has_norm_zero(f) -> None:
    x = images(3, 1, 2, 2)
    assert jacobian_spectral(f, x, generator=generator()).tolist() == [0, 0, 0]
    assert jacobian_frobenius(f, x, projections=2, generator=generator()).tolist() == [0, 0, 0]


def test_a_zero_row_does_not_keep_the_others_going() -> None:
    gain = torch.tensor([[0.0], [1.0]], dtype=torch.float64) * torch.linspace(0.5, 1, 20, dtype=torch.float64)

    def norms(tolerance: float) -> list[float]:
        return jacobian_spectral(lambda x: gain * x, images(2, 20), generator=generator(), tolerance=tolerance).tolist()

    assert norms(1e-3)[0] == 0
    assert 0.9 < norms(1e-3)[1] < norms(0.0)[1]


@pytest.mark.parametrize("gain", [1e-15, 1e15])
def test_spectral_of_tiny_and_huge_jacobians_in_float32(gain: float) -> None:
    norms = jacobian_spectral(lambda x: gain * x, images(2, 3, dtype=torch.float32), generator=generator())
    torch.testing.assert_close(norms / gain, torch.ones(2))


def test_a_zero_row_does_not_disturb_the_others() -> None:
    gain = torch.tensor([0.0, 2.0], dtype=torch.float64)
    norms = jacobian_spectral(lambda x: gain[:, None] * x, images(2, 3), generator=generator())
    torch.testing.assert_close(norms, gain)


def test_no_draws_and_no_iterations_are_refused() -> None:
    x = images(2, 3)
    with pytest.raises(InputError, match="projections is 0"):
        jacobian_frobenius(torch.sin, x, projections=0, generator=generator())
    with pytest.raises(InputError, match="max_iterations is 0"):
        jacobian_spectral(torch.sin, x, generator=generator(), max_iterations=0)


def test_nothing_is_kept_for_the_parameters_and_a_no_grad_caller_is_served(network: nn.Module) -> None:
    x = images(2, 1, 3, 4)

    def measure() -> list[Tensor]:
        return [
            input_gradient_norm(lambda x: network(x).sum(1), x),
            jacobian_frobenius(network, x, projections=2, generator=generator()),
            jacobian_spectral(network, x, generator=generator()),
        ]

    outside = measure()
    with torch.no_grad():
        inside = measure()
    for one, other in zip(outside, inside, strict=True):
        assert one.shape == (2,)
        assert not one.requires_grad
        assert (one > 0).all()
        torch.testing.assert_close(one, other, rtol=0, atol=0)
    assert all(parameter.grad is None for parameter in network.parameters())


def test_recurrent_cells_have_the_double_backward_it_takes() -> None:
    """DRAW's LSTMCell, in float32: J u by the derivative of v -> J'v."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        cell, head = nn.LSTMCell(6, 5), nn.Linear(5, 4)

    def f(x: Tensor) -> Tensor:
        h = c = x.new_zeros(len(x), 5)
        for _ in range(3):
            h, c = cell(x, (h, c))
        return head(h)

    x = images(3, 6, dtype=torch.float32)
    exact = torch.linalg.matrix_norm(exact_jacobians(f, x), ord=2)
    torch.testing.assert_close(jacobian_spectral(f, x, generator=generator()), exact, rtol=1e-3, atol=0)


def test_norms_where_torch_func_refuses(network: nn.Module) -> None:
    """Rounded to eighths with the identity's gradient: the norms of the network itself at the rounded images."""
    x = images(4, 1, 3, 4)
    rounded = (8 * x).round() / 8
    measures = (
        lambda f, x: input_gradient_norm(lambda moving: f(moving).sum(1), x),
        lambda f, x: jacobian_frobenius(f, x, generator=generator()),
        lambda f, x: jacobian_spectral(f, x, generator=generator(), tolerance=1e-8),
    )
    with pytest.raises(RuntimeError, match="setup_context"):
        torch.func.vjp(StraightThrough.apply, x)
    for measure in measures:
        found = measure(lambda moving: network(StraightThrough.apply(moving)), x)
        torch.testing.assert_close(found, measure(network, rounded))
        assert not found.requires_grad


def test_a_backward_pass_without_a_graph_gives_no_spectral_norm(network: nn.Module) -> None:
    """Where only a part of it has none, the derivative of v -> J'v is another one than J."""
    x = images(4, 1, 3, 4)
    for f in (
        lambda moving: network(Undifferentiable.apply(moving)),
        lambda moving: network(Undifferentiable.apply(moving)) + network(moving),
    ):
        with pytest.raises(RuntimeError):
            jacobian_spectral(f, x, generator=generator())
    assert jacobian_frobenius(lambda moving: network(Undifferentiable.apply(moving)), x, generator=generator()).all()


def test_the_spectral_norm_of_attention() -> None:
    """Fused attention has no second derivative; the plain one is taken in its place."""
    x = torch.randn(2, 1, 6, 8, generator=torch.Generator().manual_seed(0))

    def attend(x: Tensor) -> Tensor:
        return torch.nn.functional.scaled_dot_product_attention(x, 0.5 * x, x)

    found = jacobian_spectral(attend, x, generator=torch.Generator().manual_seed(0))
    with sdpa_kernel(SDPBackend.MATH):
        for row, value in zip(x, found, strict=True):
            whole: Any = torch.autograd.functional.jacobian(lambda one: attend(one[None])[0], row)
            assert value == pytest.approx(torch.linalg.matrix_norm(whole.reshape(48, 48), 2).item(), rel=1e-3)
