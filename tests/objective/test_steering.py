"""The targeted and the spectral penalty, and blends: against hand-worked values, linear algebra and real modules."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

import doubleback
from doubleback.errors import InputError
from doubleback.models import AutoencoderAdapter
from doubleback.objective import Objective, spectral_penalty, targeted_penalty
from doubleback.objective.penalties.spectral import spectral_penalty_by_differences
from doubleback.objective.penalties.taken import PenaltyTaken
from doubleback.objective.penalties.targeted import targeted_penalty_by_differences
from doubleback.settings import Penalty
from tests.objective.models import images, no_projection, small_vae
from tests.problems import LinearAutoencoder

EVERY = ("reconstruction", "output", "latent", "targeted", "spectral", "targeted+spectral")
WITH_MARGIN = ("targeted", "spectral", "targeted+spectral")


@pytest.mark.parametrize("margin", [0.0, 0.3])
def test_the_targeted_penalty_of_a_linear_autoencoder(margin: float) -> None:
    """d ||x_hat - t|| / dx = J'(x_hat - t) / ||x_hat - t||."""
    model, x, target = no_projection(LinearAutoencoder()), images(), images(seed=1)
    J = (model.V @ model.W).detach()
    apart = (x.flatten(1) @ model.W.mT + model.b) @ model.V.mT + model.c - target.flatten(1)
    slope = (apart @ J).norm(dim=1) / apart.norm(dim=1)
    _, penalty = targeted_penalty(model, x, None, target, margin=margin)
    assert torch.allclose(penalty, (slope - margin).relu().square())
    assert penalty.max() > 0
    _, near = targeted_penalty_by_differences(model, x, None, target, margin=margin, step=1e-6)
    assert torch.allclose(near, penalty, rtol=1e-4)


def test_the_spectral_penalty_of_a_linear_autoencoder() -> None:
    """(sigma_max(V W) - m)^2 and its gradient in the weights, once the power iteration has converged."""
    model, x = LinearAutoencoder(), images(2)
    torch.nn.init.normal_(model.V, generator=torch.Generator().manual_seed(1))  # of a projection all values are equal
    v = torch.randn(x.shape, dtype=x.dtype, generator=torch.Generator().manual_seed(0))
    largest = torch.linalg.matrix_norm(model.V @ model.W, 2)
    wanted = (largest - 0.5).square()
    _, penalty = spectral_penalty(model, x, None, v, margin=0.5, power_steps=300)
    assert torch.allclose(penalty, wanted.expand(2))
    _, near = spectral_penalty_by_differences(model, x, None, v, margin=0.5, power_steps=300, step=1e-3)
    assert torch.allclose(near, wanted.expand(2), rtol=1e-6)
    parameters = [model.V, model.W]
    expected = torch.autograd.grad(wanted, parameters)
    for values in (penalty, near):
        for one, other in zip(expected, torch.autograd.grad(values.mean(), parameters), strict=True):
            assert torch.allclose(one, other, rtol=1e-5, atol=1e-8)


def test_one_step_of_power_iteration_is_a_lower_bound() -> None:
    model, x = small_vae("gaussian"), images(3)
    v = torch.randn(x.shape, dtype=x.dtype, generator=torch.Generator().manual_seed(0))
    J = torch.stack([torch.func.jacrev(lambda one: model(one[None]).likelihood.mean[0])(row) for row in x])
    largest = torch.linalg.matrix_norm(J.view(3, 16, 16), 2)
    few, many = (spectral_penalty(model, x, None, v, margin=0.0, power_steps=steps)[1].sqrt() for steps in (1, 60))
    assert (few <= largest * (1 + 1e-9)).all()
    assert (many >= 0.95 * largest).all()


@pytest.mark.parametrize("penalty", EVERY)
@pytest.mark.parametrize("estimator", ["exact", "finite-difference"])
def test_nothing_is_penalised_where_the_slope_is_free(penalty: str, estimator: str) -> None:
    model, x = LinearAutoencoder(), images(4)
    margin = {"margin": 9.0} if penalty in WITH_MARGIN else {}
    values = doubleback.penalty(model, penalty, estimator=estimator, at="blends", **margin)(x)
    assert values.shape == (2,)
    assert bool(values.any()) == (penalty not in WITH_MARGIN)


@pytest.mark.parametrize("estimator", ["exact", "finite-difference"])
def test_the_sum_is_that_of_its_parts(estimator: str) -> None:
    model, x = small_vae("gaussian"), images(6)
    both, targeted, spectral = (
        PenaltyTaken(model, Penalty(name, estimator=estimator, difference_step=1e-4, power_steps=2, margin=0.0))  # type: ignore[arg-type]
        for name in ("targeted+spectral", "targeted", "spectral")
    )
    site = both.site(x, None, torch.Generator().manual_seed(0))
    assert site.target is not None
    assert site.directions is not None
    parts = [one(site)[1] for one in (targeted, spectral)]
    torch.testing.assert_close(both(site)[1], parts[0] + 0.3 * parts[1])
    assert all(bool(part.any()) for part in parts)
    own = [Penalty("targeted+spectral").changed(penalty=name).slope for name in ("targeted", "spectral")]
    assert own == [0.5, 1.0]


# -- where it is taken ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 2, 5, 8])
def test_every_image_goes_into_a_blend(count: int) -> None:
    """Each blend lies on the segment between two images of the batch, and carries the noise of the first."""
    x, noise = images(count), torch.arange(3.0 * count, dtype=torch.float64).view(count, 3)
    taken = PenaltyTaken(small_vae(), Penalty(penalty="targeted"))
    site = taken.site(x, noise, torch.Generator().manual_seed(0))
    half = (count + 1) // 2
    assert site.x.shape == (half, 1, 4, 4)
    assert site.target is not None
    assert torch.equal(site.noise, noise[:half])
    ways = site.target - x[:half]
    shares = (site.x - x[:half]).flatten(1).norm(dim=1) / ways.flatten(1).norm(dim=1).clamp_min(1e-12)
    assert torch.allclose(site.x, x[:half] + shares.view(-1, 1, 1, 1) * ways)
    assert torch.equal(site.target, x[-half:])  # with the first half, that is every image
    assert (shares >= 0).all()
    assert (shares <= 1).all()


def test_at_the_images_the_target_is_the_next_image() -> None:
    x = images(3)
    site = PenaltyTaken(small_vae(), Penalty(penalty="targeted", at="images")).site(x, None, torch.Generator())
    assert torch.equal(site.x, x)
    assert site.target is not None
    assert torch.equal(site.target, x[[1, 2, 0]])


@pytest.mark.parametrize("penalty", EVERY)
def test_processes_share_the_blends(penalty: str) -> None:
    """Two halves of a batch have, together, the penalties of the whole."""
    objective, x = Objective(small_vae(), penalty=penalty, at="blends"), images(8)
    draws = [
        objective.draw(x, torch.Generator().manual_seed(3), mine) for mine in (slice(0, None, 2), slice(1, None, 2))
    ]
    whole = PenaltyTaken(objective.model, objective.settings)
    noise = torch.randn(8, 3, generator=(generator := torch.Generator().manual_seed(3)), dtype=torch.float64)
    expected = whole(whole.site(x, noise, generator, 2))[1]
    found = torch.stack([objective(x[place::2], *draw)["penalty"] for place, draw in enumerate(draws)], dim=1)
    assert torch.allclose(found.flatten(), expected)


def test_the_objective_adds_it_to_the_elbo_of_the_images() -> None:
    objective, x = Objective(small_vae(), penalty="spectral", penalty_weight=2.0), images(4)
    noise, directions, at, noise_there, _ = objective.draw(x, torch.Generator().manual_seed(0))
    terms = objective(x, noise, directions, at, noise_there)
    assert {name: len(values) for name, values in terms.items()} == {"reconstruction": 4, "kl": 4, "penalty": 2}
    assert at is not None
    assert directions is not None
    assert torch.equal(terms["penalty"], spectral_penalty(objective.model, at, noise_there, directions[0])[1])
    plain = objective(x, noise, penalised=False)
    assert torch.equal(objective.total(terms, 2.0), objective.total(plain, 0.0) + 2 * terms["penalty"].mean())


# -- what real models are made of ------------------------------------------------------------------------------------


class _Doubled(torch.autograd.Function):
    @staticmethod
    def forward(ctx: object, x: Tensor) -> Tensor:
        return 2 * x

    @staticmethod
    def backward(ctx: object, g: Tensor) -> Tensor:
        return 2 * g


class _Function(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return _Doubled.apply(x) / 2


class _Checkpointed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Sequential(nn.Linear(6, 6), nn.Tanh())

    def forward(self, x: Tensor) -> Tensor:
        return checkpoint(self.inner, x, use_reentrant=False)


class _Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(6, 2, 8, dropout=0.0, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x.view(len(x), 1, 6)).flatten(1)


MIDDLES: dict[str, Callable[[], nn.Module]] = {
    "a function of its own": _Function,
    "checkpointing": _Checkpointed,
    "attention": _Attention,
    "BatchNorm": lambda: nn.BatchNorm1d(6),
    "dropout": lambda: nn.Dropout(0.5),
}


def strange(middle: str) -> AutoencoderAdapter:
    torch.manual_seed(0)
    encoder = nn.Sequential(nn.Flatten(), nn.Linear(16, 6), MIDDLES[middle](), nn.Linear(6, 3))
    decoder = nn.Sequential(nn.Linear(3, 16), nn.Sigmoid(), nn.Unflatten(1, (1, 4, 4)))
    return AutoencoderAdapter(encoder, decoder, latent=3).double()


@pytest.mark.parametrize("penalty", EVERY)
@pytest.mark.parametrize("middle", MIDDLES)
def test_real_modules_have_an_exact_penalty(middle: str, penalty: str) -> None:
    """In training mode it is that of evaluation mode, row by row; its gradient reaches the weights; buffers stay."""
    model, x = strange(middle), images(4)
    margin = {"margin": 0.0} if penalty in WITH_MARGIN else {}
    objective = Objective(model, penalty=penalty, at="images", **margin).train()
    buffers = [buffer.clone() for buffer in model.buffers()]
    noise, directions, at, there, target = objective.draw(x, torch.Generator().manual_seed(0))
    values = PenaltyTaken(model, objective.settings)
    site = values.site(x, noise, torch.Generator().manual_seed(0))
    _, penalty_values = values(site)
    assert all(part.training for part in model.modules())
    assert all(torch.equal(one, other) for one, other in zip(buffers, model.buffers(), strict=True))
    model.eval()
    for row in range(4):
        assert torch.allclose(values(site.rows(slice(row, row + 1)))[1], penalty_values[row : row + 1])
    (gradient,) = torch.autograd.grad(penalty_values.sum(), [model.encoder[1].weight])  # type: ignore[union-attr, index]
    assert gradient.abs().max() > 0
    objective.train()
    assert "penalty" in objective(x, noise, directions, at, there, target)


@pytest.mark.parametrize("middle", MIDDLES)
def test_they_can_be_trained(middle: str, tiny: doubleback.ImageData) -> None:
    encoder = nn.Sequential(nn.Flatten(), nn.Linear(64, 6), MIDDLES[middle](), nn.Linear(6, 3))
    decoder = nn.Sequential(nn.Linear(3, 64), nn.Sigmoid(), nn.Unflatten(1, (1, 8, 8)))
    model = AutoencoderAdapter(encoder, decoder, latent=3)
    history = doubleback.fit(
        Objective(model, penalty="spectral", penalty_start=0.0), tiny, epochs=2, batch_size=40, progress=False
    )
    assert history.rows[-1]["penalty"] is not None


class _NoisyInTraining(nn.Module):
    """Noise, and a buffer that moves, by no module that torch knows."""

    seen: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        self.seen += 1
        return torch.nn.functional.dropout(x, 0.5)


def test_the_penalty_of_somebody_elses_model_is_that_of_evaluation_mode() -> None:
    noisy = _NoisyInTraining()
    encoder = nn.Sequential(nn.Flatten(), nn.Linear(16, 6), noisy, nn.Linear(6, 3))
    decoder = nn.Sequential(nn.Linear(3, 16), nn.Sigmoid(), nn.Unflatten(1, (1, 4, 4)))
    model, x = AutoencoderAdapter(encoder, decoder, latent=3).double().train(), images(4)
    objective = Objective(model, "spectral", margin=0.0)
    site = objective.penalty.site(x, torch.zeros(4, 3), torch.Generator().manual_seed(0))
    first, second = (objective.penalty(site)[1] for _ in range(2))
    assert torch.equal(first, second)
    assert noisy.seen == 0


@pytest.mark.parametrize("penalty", ["spectral", "targeted", "output", "noise"])
def test_draws_meet_images_that_lie_elsewhere(penalty: str) -> None:
    """`meta` stands for a GPU: what a CPU generator draws has to follow the images there."""
    taken = PenaltyTaken(small_vae(), Penalty().changed(penalty=penalty))
    x, noise = images(4).to("meta"), torch.zeros(4, 3, device="meta")
    site = taken.site(x, noise, torch.Generator().manual_seed(0))
    assert site.x.device.type == "meta"
    assert all(part is None or part.device.type == "meta" for part in site.to(x))


def test_the_latent_penalty_of_a_code_with_a_shape() -> None:
    """The Frobenius norm of a linear encoder whose code is a picture."""
    conv = nn.Conv2d(1, 2, 1, bias=False)
    model = AutoencoderAdapter(conv, nn.Conv2d(2, 1, 1), latent=(2, 4, 4)).double()
    x = images(3)
    objective = Objective(model, "latent", projections=400)
    site = objective.penalty.site(x, torch.zeros(3, 2, 4, 4), torch.Generator().manual_seed(0))
    _, found = objective.penalty(site)
    wanted = 16 * conv.weight.square().sum()
    assert torch.allclose(found, wanted.expand(3), rtol=0.1)


# -- for a loop of one's own -----------------------------------------------------------------------------------------


def test_a_penalty_for_a_loop_of_ones_own() -> None:
    model = small_vae()
    of = doubleback.penalty(model, Penalty(penalty="targeted", margin=0.0))
    x = images(6)
    assert of(x).shape == (3,)
    of(x).mean().backward()
    assert any(parameter.grad is not None and parameter.grad.abs().max() > 0 for parameter in model.parameters())
    torch.manual_seed(1)
    first = of(x)
    torch.manual_seed(1)
    assert torch.equal(of(x), first)
    assert of((x * 255).byte()).shape == (3,)


@pytest.mark.parametrize(
    ("penalty", "changes", "says"),
    [
        ("none", {}, "there is no penalty to give"),
        ("reconstruction", {"estimator": "perturbed"}, "take the estimator exact"),
        ("spectral", {"margin": -1.0}, "margin is -1"),
        ("spectral", {"power_steps": 0}, "power steps is 0"),
        ("spectral", {"at": "corners"}, "choose one of images, blends"),
        ("spectral", {"estimator": "perturbed"}, "cannot be perturbed"),
        ("reconstruction", {"estimator": "perturbed", "at": "blends"}, "needs the penalty at images"),
    ],
)
def test_settings_that_cannot_be(penalty: str, changes: dict[str, object], says: str) -> None:
    with pytest.raises(InputError, match=says):
        doubleback.penalty(small_vae(), penalty, **changes)
