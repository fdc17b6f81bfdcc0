"""The autoencoder's objective: its terms and their gradients for every model, its schedule and its defaults."""

import json
import math
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from doubleback.errors import InputError
from doubleback.models import VAE, AutoencoderAdapter
from doubleback.objective import Objective, Terms, gradient_penalty, reconstruction_loss
from doubleback.settings import Penalty
from tests.objective.models import PENALTIES, SMALL, images, no_projection, small, small_vae
from tests.problems import LinearAutoencoder

TERMS = ([1.0, 3.0], [2.0, 4.0], [0.0, 8.0])  # of two examples, with the means 2, 3 and 4


def gradcheck(objective: Objective, share: tuple[Tensor | None, ...], held: Sequence[str] = ()) -> bool:
    """d L2 / d theta, the double backward itself, against finite differences, but for parameters that are held."""
    names, parameters = zip(*((n, p) for n, p in objective.named_parameters() if n not in held), strict=True)

    def loss(*given: Tensor) -> Tensor:
        terms: Terms = torch.func.functional_call(objective, dict(zip(names, given, strict=True)), share)
        return terms["penalty"]

    leaves = tuple(p.detach().clone().requires_grad_() for p in parameters)
    return torch.autograd.gradcheck(loss, leaves, fast_mode=True)


@pytest.mark.parametrize("penalty", ["output", "latent"])
def test_projections_average_to_the_frobenius_norm(penalty: str) -> None:
    """E ||v' J||^2 = ||J||^2 wherever E v v' = I: exactly for sqrt(n) e_1 ... sqrt(n) e_n; the draws are such a v."""
    model, x = LinearAutoencoder(), images(1)
    objective = Objective(model, penalty=penalty, projections=20_000)
    noise, drawn, *_ = objective.draw(x, torch.Generator().manual_seed(0))
    assert drawn is not None
    size = drawn[0].numel()
    assert torch.allclose(drawn.flatten(1).mT @ drawn.flatten(1) / len(drawn), torch.eye(size).double(), atol=0.05)
    axes = size**0.5 * torch.eye(size, dtype=x.dtype).view(size, *drawn.shape[1:])
    J = model.V @ model.W if penalty == "output" else model.W
    assert objective(x, noise, axes)["penalty"].item() == pytest.approx(J.square().sum().item())


def test_terms_are_the_elbos() -> None:
    model, x = small_vae(), images()
    noise = torch.randn(3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    terms = Objective(model)(x, noise)
    r = model(x, noise)
    assert torch.equal(terms["reconstruction"], -r.likelihood.log_prob(x))
    assert torch.equal(terms["kl"], r.posterior.kl_to_standard())
    assert list(terms) == ["reconstruction", "kl"], "the penalty is not taken"
    switched = Objective(model, penalty="output")
    assert list(switched(x, *switched.draw(x, torch.Generator()), False)) == ["reconstruction", "kl"]
    assert list(switched(x, *switched.draw(x, torch.Generator()), True)) == list(switched.terms)


@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize("name", SMALL)
def test_each_models_penalty_is_that_of_its_jacobian(name: str, penalty: str) -> None:
    """The value against the whole Jacobian, row by row, by float64 autograd; gradcheck of d L2 / d theta."""
    model, x = small(name)
    objective = Objective(model, penalty=penalty, projections=2, through_target=True)  # type: ignore[arg-type]
    noise, projections, *_ = objective.draw(x, torch.Generator().manual_seed(0))
    values = objective(x, noise, projections)["penalty"]

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
    assert gradcheck(objective, (x, noise, projections), held)


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
    noise, projections, *_ = objective.draw(x, torch.Generator().manual_seed(0))
    near = objective(x, noise, projections)["penalty"]
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
    noise, *_ = Objective(model).draw(x, torch.Generator().manual_seed(0))
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
    assert exact[0].keys() == near[0].keys()
    for name, value in exact[0].items():
        assert torch.allclose(value, near[0][name], rtol=1e-12)
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
        every=2,
        estimator="perturbed",
        through_target=False,
    )
    terms = objective(x, None)
    objective.total(terms, 2e-3).backward()
    found = [p.grad.clone() for p in model.parameters() if p.grad is not None]
    J = (model.V @ model.W).detach()
    x_hat = (x.flatten(1) @ model.W.mT + model.b) @ model.V.mT + model.c
    gradient = (((x_hat - x.flatten(1)) / model.variance) @ J).view_as(x).detach()
    assert torch.allclose(terms["reconstruction"], reconstruction_loss(model(x, None), x))
    assert torch.allclose(terms["kl"], model(x, None).posterior.kl_to_standard())
    assert torch.allclose(terms["penalty"], gradient.flatten(1).square().sum(1))
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
    objective(x, torch.zeros(2, 2, dtype=torch.float64))["penalty"].sum().backward()
    assert model.pixels.log_var.grad is None
    assert next(model.encoder.parameters()).grad is not None


def test_the_default_weight_goes_with_the_variance() -> None:
    """The penalty over the loss falls as 1 / variance, so the weight that serves rises with it."""
    model = VAE((1, 4, 4), hidden=(5,), latent=2, likelihood="gaussian", variance=0.2)
    assert Objective(model, penalty="reconstruction").full_penalty_weight == pytest.approx(0.1)


def test_a_plain_autoencoder_has_no_kl() -> None:
    """And its total is no other, whatever the weight of one."""
    model, x = small("ae")
    objective = Objective(model, kl_weight=7.0)
    terms = objective(x, torch.randn(2, 2, dtype=torch.float64))
    assert list(terms) == ["reconstruction"]
    assert objective.total(terms, 0.0) == terms["reconstruction"].mean()


def test_the_total_weighs_the_terms() -> None:
    """L = L0 + lambda1 L1 + lambda2 L2, by hand; the log says lambda2."""
    objective = Objective(small_vae(), penalty="output", kl_weight=0.5)
    terms = {name: torch.tensor(values) for name, values in zip(objective.terms, TERMS, strict=True)}
    assert objective.total(terms, 10.0).item() == 2 + 0.5 * 3 + 10 * 4
    del terms["penalty"]
    assert objective.total(terms, 10.0).item() == 2 + 0.5 * 3
    assert objective.logged(0.25) == {"penalty_weight": 0.25}


def test_gradcheck_with_the_target_held_fixed() -> None:
    """d L2 / d theta as above, in the default reading of the Bernoulli likelihood."""
    model, x = small_vae(), images(2)
    objective = Objective(model, penalty="reconstruction")
    noise, *_ = objective.draw(x, torch.Generator().manual_seed(0))
    assert gradcheck(objective, (x, noise))


@pytest.mark.parametrize("penalty", PENALTIES)
def test_each_examples_penalty_is_its_own(penalty: str) -> None:
    """Rows never interact: a batch gives what its rows give alone."""
    objective = Objective(small_vae(), penalty=penalty)  # type: ignore[arg-type]
    x = images(3)
    noise, projections, *_ = objective.draw(x, torch.Generator().manual_seed(0))
    together = objective(x, noise, projections)["penalty"]
    for i in range(3):
        one = slice(i, i + 1)
        alone = objective(x[one], noise[one], None if projections is None else projections[:, one])["penalty"]
        assert torch.allclose(alone, together[one])


# -- compile --------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_compiled_gradients_are_the_eager_ones() -> None:
    """Of all penalties, each as one graph."""
    command = [sys.executable, "-W", "ignore", "-m", "tests.objective.compiled"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2])
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert len(found) == 6
    assert max(found.values()) < 1, found


# -- schedule, defaults, bad settings -------------------------------------------------------------------------------


@given(steps=st.integers(1, 500), start=st.floats(0, 1), every=st.integers(1, 9), weight=st.floats(0, 10))
def test_schedule(steps: int, start: float, every: int, weight: float) -> None:
    """Off before the switch; after it the mean weight is lambda2, up to what does not fill a whole period."""
    objective = Objective(small_vae(), penalty="output", penalty_weight=weight, penalty_start=start, every=every)
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


def test_a_name_of_version_0_1_still_works_and_says_its_new_one() -> None:
    with pytest.warns(DeprecationWarning, match=r"penalty_every is now called every: Objective\(model, every=...\)"):
        objective = Objective(VAE(), penalty="output", penalty_every=3)
    assert objective.settings.every == 3


def test_settings_are_a_penalty_or_its_fields() -> None:
    """All of them are in `settings`; what a field refuses is refused here."""
    stored = Penalty(penalty="output", penalty_weight=0.25, projections=3)
    for objective in (
        Objective(small_vae(), stored, every=2),
        Objective(small_vae(), penalty="output", penalty_weight=0.25, projections=3, every=2),
    ):
        assert objective.settings == stored.changed(every=2, penalty_start=0.5)
    assert Objective(small_vae(), Penalty(penalty_start=0.0)).settings.penalty_start == 0.0
    with pytest.raises(TypeError, match="there is no setting penalty_each"):
        Objective(small_vae(), penalty_each=2)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"penalty": "jacobian"}, "penalty is 'jacobian'"),
        ({"every": 0}, "every is 0"),
        ({"kl_weight": -0.5}, "kl weight is -0.5"),
        ({"kl_weight": math.nan}, "kl weight is nan"),
    ],
)
def test_bad_settings(settings: dict[str, object], said: str) -> None:
    """One that is in `Penalty` by position, one by name (tests/settings has them all), and those that are not in it."""
    with pytest.raises(InputError, match=said):
        Objective(small_vae(), **settings)  # type: ignore[arg-type]
