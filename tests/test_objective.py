"""The penalties against hand-worked values on the linear autoencoder and against float64 autograd."""

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from doubleback.errors import InputError
from doubleback.models import DRAW, VAE, AutoencoderAdapter, ConvVAE
from doubleback.objective import (
    Objective,
    Terms,
    gradient_penalty,
    gradient_penalty_by_differences,
    jacobian_penalty,
    jacobian_penalty_by_differences,
    reconstruction_loss,
)
from tests.problems import LinearAutoencoder

PENALTIES = ("reconstruction", "output", "latent")


def no_projection(model: LinearAutoencoder) -> LinearAutoencoder:
    """With another decoder: the error of a projection is orthogonal to it, and J'(x_hat - x) would be zero."""
    with torch.no_grad():
        model.V.mul_(0.8)
    return model


def images(count: int = 3, size: int = 4, seed: int = 0) -> Tensor:
    return torch.rand(count, 1, size, size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def small_vae(likelihood: str = "bernoulli") -> VAE:
    torch.manual_seed(0)
    return VAE((1, 4, 4), hidden=(8,), latent=3, likelihood=likelihood).double()


# -- hand-worked values ---------------------------------------------------------------------------------------------


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


@pytest.mark.parametrize("penalty", ["output", "latent"])
def test_projections_average_to_the_frobenius_norm(penalty: str) -> None:
    model, x = LinearAutoencoder(), images(1)
    objective = Objective(model, penalty=penalty, projections=20_000)  # type: ignore[arg-type]
    noise, projections = objective.draw(x, torch.Generator().manual_seed(0))
    found = objective(x, noise, projections).penalty.item()
    J = model.V @ model.W if penalty == "output" else model.W
    assert found == pytest.approx(J.square().sum().item(), rel=0.03)


def test_terms_are_the_elbos() -> None:
    model, x = small_vae(), images()
    noise = torch.randn(3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    terms = Objective(model)(x, noise)
    r = model(x, noise)
    assert torch.equal(terms.reconstruction, -r.likelihood.log_prob(x))
    assert torch.equal(terms.kl, r.posterior.kl_to_standard())
    assert torch.equal(terms.penalty, torch.zeros(3, dtype=torch.float64))


# -- derivatives ----------------------------------------------------------------------------------------------------

SMALL: dict[str, Callable[[], nn.Module]] = {
    "vae": lambda: VAE((1, 6, 6), hidden=(5,), latent=2, likelihood="gaussian"),
    "vae, learned variance": lambda: VAE((1, 6, 6), hidden=(5,), latent=2, likelihood="gaussian-learned"),
    "conv-vae": lambda: ConvVAE((2, 6, 7), filters=(3, 2), hidden=4, latent=2),
    "ae": lambda: VAE((1, 6, 6), hidden=(5,), latent=2, variational=False),
    "conv-ae": lambda: ConvVAE((1, 6, 6), filters=(3,), hidden=4, latent=2, likelihood="gaussian", variational=False),
    "draw": lambda: DRAW((1, 4, 5), steps=2, hidden=3, latent=2),
    "draw, attention": lambda: DRAW(
        (2, 5, 4), steps=2, hidden=3, latent=2, read_size=2, write_size=3, likelihood="gaussian"
    ),
}


def small(name: str) -> tuple[nn.Module, Tensor]:
    """A small instance of each model in float64, and images for it."""
    torch.manual_seed(0)
    model = SMALL[name]().double()
    shape: tuple[int, ...] = model.image_shape  # type: ignore[assignment]
    return model, torch.rand(2, *shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize("name", SMALL)
def test_each_models_penalty_is_that_of_its_jacobian(name: str, penalty: str) -> None:
    """The value against the whole Jacobian, row by row, by float64 autograd; gradcheck of d L2 / d theta."""
    model, x = small(name)
    objective = Objective(model, penalty=penalty, projections=2, through_target=True)  # type: ignore[arg-type]
    noise, projections = objective.draw(x, torch.Generator().manual_seed(0))
    values = objective(x, noise, projections).penalty

    def differentiated(row: Tensor, draw: Tensor) -> Tensor:
        r = model(row[None], draw[None])
        if penalty == "reconstruction":
            return reconstruction_loss(r, row[None])
        return (r.likelihood.mean if penalty == "output" else r.posterior.mean).flatten()

    for i in range(len(x)):
        J = torch.autograd.functional.jacobian(lambda row, i=i: differentiated(row, noise[i]), x[i]).flatten(1)
        v = J.new_ones(1, 1) if projections is None else projections[:, i].flatten(1)
        assert torch.allclose(values[i], (v @ J).square().sum(1).mean())

    held = ("model.pixels.log_var",) if penalty == "reconstruction" else ()  # the penalty does not move it
    names, parameters = zip(*((n, p) for n, p in objective.named_parameters() if n not in held), strict=True)

    def loss(*given: Tensor) -> Tensor:
        call = dict(zip(names, given, strict=True))
        return torch.func.functional_call(objective, call, (x, noise, projections)).penalty

    leaves = tuple(p.detach().clone().requires_grad_() for p in parameters)
    assert torch.autograd.gradcheck(loss, leaves, fast_mode=True)


@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize("name", SMALL)
def test_each_models_finite_differences(name: str, penalty: str) -> None:
    """`reconstruction`: the exact penalty and its gradient. `output`, `latent`: ||J w||^2, by float64 autograd."""
    model, x = small(name)
    objective = Objective(
        model,
        penalty=penalty,  # type: ignore[arg-type]
        estimator="finite-difference",
        difference_step=1e-6,
        projections=2,
    )
    noise, projections = objective.draw(x, torch.Generator().manual_seed(0))
    near = objective(x, noise, projections).penalty
    if penalty == "reconstruction":
        exact = gradient_penalty(model, x, noise)[1]
    else:

        def differentiated(moving: Tensor) -> Tensor:
            r = model(moving, noise)
            return r.likelihood.mean if penalty == "output" else r.posterior.mean

        assert projections is not None
        moved = [torch.autograd.functional.jvp(differentiated, x, w, create_graph=True)[1] for w in projections]
        exact = torch.stack([change.flatten(1).square().sum(1) for change in moved]).mean(0)
    assert torch.allclose(near, exact, rtol=1e-4)
    parameters = list(model.parameters())
    for one, other in zip(
        torch.autograd.grad(near.sum(), parameters, allow_unused=True, materialize_grads=True),
        torch.autograd.grad(exact.sum(), parameters, allow_unused=True, materialize_grads=True),
        strict=True,
    ):
        assert torch.allclose(one, other, rtol=1e-3, atol=1e-3 * (1 + other.abs().max().item()))


@pytest.mark.parametrize("through_target", [False, True])
@pytest.mark.parametrize("name", sorted(SMALL.keys() - {"vae, learned variance"}))
def test_each_models_perturbed_penalty_is_the_exact_one_to_first_order(name: str, through_target: bool) -> None:
    """The same values; and d/d weight of the gradient in the parameters, at 0, is that of L2."""
    model, x = small(name)
    noise, _ = Objective(model).draw(x, torch.Generator().manual_seed(0))
    parameters, small_weight = list(model.parameters()), 1e-5

    def trained(estimator: str, weight: float) -> tuple[Terms, list[Tensor]]:
        objective = Objective(
            model,
            penalty="reconstruction",
            penalty_weight=weight,
            kl_weight=0.0,
            estimator=estimator,  # type: ignore[arg-type]
            through_target=through_target,
        )
        terms = objective(x, noise)
        loss = objective.total(terms, weight)
        return terms, list(torch.autograd.grad(loss, parameters, allow_unused=True, materialize_grads=True))

    exact, near = trained("exact", small_weight), trained("perturbed", small_weight)
    for one, other in zip(exact[0], near[0], strict=True):
        assert torch.allclose(one, other, rtol=1e-12)
    unpenalised = trained("exact", 0.0)[1]
    largest = max(
        (one - without).abs().max().item() / small_weight for one, without in zip(exact[1], unpenalised, strict=True)
    )
    assert largest > 0
    for without, one, other in zip(unpenalised, exact[1], near[1], strict=True):
        slope, its = (one - without) / small_weight, (other - without) / small_weight
        assert torch.allclose(slope, its, rtol=0, atol=1e-3 * largest)


def test_the_perturbed_gradient_is_that_of_the_loss_at_the_moved_images() -> None:
    """By hand for a linear autoencoder: from x + 2 k lambda2 J'(x_hat - x) / var to x."""
    model, x = no_projection(LinearAutoencoder()), images()
    objective = Objective(
        model,
        penalty="reconstruction",
        penalty_weight=1e-3,
        penalty_every=2,
        estimator="perturbed",
        through_target=False,
    )
    terms = objective(x, None)
    objective.total(terms, 2e-3).backward()
    found = [p.grad.clone() for p in model.parameters() if p.grad is not None]
    J = (model.V @ model.W).detach()
    x_hat = (x.flatten(1) @ model.W.mT + model.b) @ model.V.mT + model.c
    gradient = (((x_hat - x.flatten(1)) / model.variance) @ J).view_as(x).detach()
    assert torch.allclose(terms.reconstruction, reconstruction_loss(model(x, None), x))
    assert torch.allclose(terms.kl, model(x, None).posterior.kl_to_standard())
    assert torch.allclose(terms.penalty, gradient.flatten(1).square().sum(1))
    moved = x + 2 * 2e-3 * gradient
    model.zero_grad()
    there = model(moved, None)
    (-there.likelihood.log_prob(x) + there.posterior.kl_to_standard()).mean().backward()
    for one, other in zip(found, (p.grad for p in model.parameters()), strict=True):
        assert other is not None
        assert torch.allclose(one, other)


@pytest.mark.parametrize("estimator", ["exact", "finite-difference"])
def test_a_learned_variance_is_not_moved_by_the_penalty(estimator: str) -> None:
    """Else it would grow, to make the gradient small: d L2 / d log_var = -2 L2 where it is not held."""
    model, x = small("vae, learned variance")
    objective = Objective(model, penalty="reconstruction", estimator=estimator)  # type: ignore[arg-type]
    objective(x, torch.zeros(2, 2, dtype=torch.float64)).penalty.sum().backward()
    assert model.pixels.log_var.grad is None
    assert model.encoder[0].weight.grad is not None


def test_the_default_weight_goes_with_the_variance() -> None:
    """The penalty over the loss falls as 1 / variance, so the weight that serves rises with it."""
    model = VAE((1, 4, 4), hidden=(5,), latent=2, likelihood="gaussian", variance=0.2)
    assert Objective(model, penalty="reconstruction").full_penalty_weight == pytest.approx(0.1)


@pytest.mark.parametrize("name", ["ae", "conv-ae"])
def test_a_plain_autoencoder_has_no_kl(name: str) -> None:
    model, x = small(name)
    terms = Objective(model)(x, torch.randn(2, 2, dtype=torch.float64))
    assert torch.equal(terms.kl, torch.zeros(2, dtype=torch.float64))
    assert not torch.equal(model.encode(x).kl_to_standard(), terms.kl)


@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian"])
@pytest.mark.parametrize("penalty", PENALTIES)
def test_gradcheck_in_the_parameters(penalty: str, likelihood: str) -> None:
    """d L2 / d theta, the double backward itself, against finite differences."""
    model = small_vae(likelihood)
    objective = Objective(model, penalty=penalty, projections=2)  # type: ignore[arg-type]
    x = images(2)
    noise, projections = objective.draw(x, torch.Generator().manual_seed(0))
    names, parameters = zip(*objective.named_parameters(), strict=True)

    def loss(*values: Tensor) -> Tensor:
        given = dict(zip(names, values, strict=True))
        terms = torch.func.functional_call(objective, given, (x, noise, projections))
        return terms.penalty

    assert torch.autograd.gradcheck(
        loss, tuple(p.detach().clone().requires_grad_() for p in parameters), fast_mode=True
    )


@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian"])
def test_gradgradcheck_of_the_loss_in_the_input(likelihood: str) -> None:
    model, x = small_vae(likelihood), images(2)
    noise = torch.randn(2, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))

    def loss(moving: Tensor) -> Tensor:
        return reconstruction_loss(model(moving, noise), moving)

    assert torch.autograd.gradcheck(loss, x.requires_grad_())
    assert torch.autograd.gradgradcheck(loss, x)


@pytest.mark.parametrize("penalty", PENALTIES)
def test_each_examples_penalty_is_its_own(penalty: str) -> None:
    """Rows never interact: a batch gives what its rows give alone."""
    objective = Objective(small_vae(), penalty=penalty)  # type: ignore[arg-type]
    x = images(3)
    noise, projections = objective.draw(x, torch.Generator().manual_seed(0))
    together = objective(x, noise, projections).penalty
    for i in range(3):
        one = slice(i, i + 1)
        alone = objective(x[one], noise[one], None if projections is None else projections[:, one]).penalty
        assert torch.allclose(alone, together[one])


@pytest.mark.parametrize("through_target", [False, True])
def test_finite_differences_agree_with_double_backpropagation(through_target: bool) -> None:
    """The value and its gradient in the parameters, for a small step in float64."""
    model, x = small_vae(), images()
    noise = torch.randn(3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    gradients = []
    for penalty, settings in ((gradient_penalty, {}), (gradient_penalty_by_differences, {"step": 1e-6})):
        value = penalty(model, x, noise, through_target=through_target, **settings)[1]  # type: ignore[operator]
        gradients.append(
            (value.detach(), torch.autograd.grad(value.sum(), list(model.parameters()), allow_unused=True))
        )
    (exact, exact_gradient), (near, near_gradient) = gradients
    assert torch.allclose(near, exact, rtol=1e-4)
    for one, other in zip(exact_gradient, near_gradient, strict=True):
        if one is not None and other is not None:
            assert torch.allclose(other, one, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("of", ["output", "latent"])
def test_jacobian_differences_are_those_of_the_linear_map(of: str) -> None:
    model, x = LinearAutoencoder(), images()
    w = torch.randn(2, *x.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    _, penalty = jacobian_penalty_by_differences(model, x, None, w, of=of)  # type: ignore[arg-type]
    J = model.V @ model.W if of == "output" else model.W
    assert torch.allclose(penalty, (w.flatten(2) @ J.mT).square().sum(2).mean(0))


# -- compile --------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    ("penalty", "estimator"), [*((penalty, "exact") for penalty in PENALTIES), ("reconstruction", "perturbed")]
)
@pytest.mark.filterwarnings("ignore")  # torch's own, about its internals
@pytest.mark.usefixtures("unchecked")  # run-time checks cannot be traced
def test_compiled_gradients_are_the_eager_ones(penalty: str, estimator: str) -> None:
    objective = Objective(small_vae().float(), penalty=penalty, estimator=estimator)  # type: ignore[arg-type]
    x = images(3).float()
    noise, projections = objective.draw(x, torch.Generator().manual_seed(0))

    def gradients(module: torch.nn.Module) -> list[Tensor]:
        objective.zero_grad()
        terms: Terms = module(x, noise, projections, True)
        sum(term.mean() for term in terms).backward()  # type: ignore[union-attr]
        return [p.grad.clone() for p in objective.parameters() if p.grad is not None]

    eager, compiled = gradients(objective), gradients(torch.compile(objective))  # type: ignore[arg-type]
    for one, other in zip(eager, compiled, strict=True):
        assert torch.allclose(one, other, rtol=1e-4, atol=1e-5)


# -- schedule, defaults, bad settings -------------------------------------------------------------------------------


@given(steps=st.integers(1, 500), start=st.floats(0, 1), every=st.integers(1, 9), weight=st.floats(0, 10))
def test_schedule(steps: int, start: float, every: int, weight: float) -> None:
    """Off before the switch; after it the mean weight is lambda2, up to what does not fill a whole period."""
    objective = Objective(
        small_vae(), penalty="output", penalty_weight=weight, penalty_start=start, penalty_every=every
    )
    weights = [objective.penalty_weight(step, steps) for step in range(steps)]
    switch = math.ceil(start * steps)
    assert all(value == 0 for value in weights[:switch])
    assert all(value in (0, every * weight) for value in weights)
    whole = (steps - switch) // every * every
    assert sum(weights[switch : switch + whole]) == pytest.approx(whole * weight)


def test_default_weights() -> None:
    for likelihood, weight in (("bernoulli", 0.03), ("gaussian", 0.01)):
        assert Objective(small_vae(likelihood), penalty="reconstruction").full_penalty_weight == weight
    assert Objective(small_vae(), penalty_weight=5).full_penalty_weight == 0
    assert Objective(small_vae(), penalty="latent", penalty_weight=0.0).full_penalty_weight == 0


def test_the_default_weight_needs_a_likelihood() -> None:
    adapter = AutoencoderAdapter(torch.nn.Flatten(), torch.nn.Unflatten(1, (1, 2, 2)), latent=4)
    assert Objective(adapter, penalty="reconstruction").full_penalty_weight == 0.01
    del adapter.likelihood
    with pytest.raises(InputError, match="give penalty_weight"):
        _ = Objective(adapter, penalty="reconstruction").full_penalty_weight
    assert Objective(adapter, penalty="reconstruction", penalty_weight=0.5).full_penalty_weight == 0.5


def test_a_learned_variance_is_not_perturbed() -> None:
    Objective(small_vae("gaussian-learned"), estimator="perturbed")
    with pytest.raises(InputError, match="take the estimator exact"):
        Objective(small_vae("gaussian-learned"), penalty="reconstruction", estimator="perturbed")


def test_draws_depend_on_the_generator_alone() -> None:
    objective = Objective(small_vae(), penalty="latent", projections=2)
    x = images()
    one, other = (objective.draw(x, torch.Generator().manual_seed(7)) for _ in range(2))
    assert torch.equal(one[0], other[0])
    assert one[1] is not None
    assert one[1].shape == (2, 3, 3)
    assert other[1] is not None
    assert torch.equal(one[1], other[1])


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"penalty": "jacobian"}, "penalty is 'jacobian'"),
        ({"estimator": "guess"}, "estimator is 'guess'"),
        ({"penalty_weight": -1.0}, "penalty_weight is -1.0"),
        ({"penalty_weight": math.nan}, "penalty_weight is nan"),
        ({"kl_weight": -0.5}, "kl_weight is -0.5"),
        ({"projections": 0}, "projections is 0"),
        ({"penalty_every": 0}, "penalty_every is 0"),
        ({"penalty_start": 1.5}, "penalty_start is 1.5"),
        ({"difference_step": 0.0}, "difference_step is 0.0"),
        ({"penalty": "output", "estimator": "perturbed"}, "the output penalty cannot be perturbed"),
    ],
)
def test_bad_settings(settings: dict[str, object], said: str) -> None:
    with pytest.raises(InputError, match=said):
        Objective(small_vae(), **settings)  # type: ignore[arg-type]
