"""Attacks through few levels of grey: against hand-worked optima, and against the search that follows a gradient."""

import io

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from scipy.fft import dctn, idctn
from torch import Tensor

import doubleback
from doubleback.attacks import Attack, Damage, Output
from doubleback.attacks.flips import flipped
from doubleback.defences import defended
from doubleback.models import VAE, Surviving, channel
from doubleback.models.channel import _compressed, rounding_of
from doubleback.models.rounding import Compressed, Levels, Rounding
from doubleback.settings import Budget, Search

X = torch.rand(3, 1, 5, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def rounded(x: Tensor, levels: int) -> Tensor:
    return x + ((x * levels).round() / levels - x).detach()


@pytest.mark.parametrize("levels", [1, 3])
def test_of_a_linear_loss_the_pixels_that_gain_most_for_their_cost_are_moved(levels: int) -> None:
    """L = w . round(x): from levels exactly, every pixel's threshold is as far, so the largest |w| go first."""
    source = (X * levels).round() / levels
    w = torch.randn(25, generator=torch.Generator().manual_seed(1), dtype=torch.float64)

    def loss(x: Tensor, pair: Tensor, noise: Tensor | None) -> Tensor:
        return rounded(x, levels).flatten(1) @ w

    step = 0.501 / levels
    radii = torch.full((3, 1), 3**0.5 * step * 1.01, dtype=torch.float64)  # three pixels
    found = flipped(loss, source, X.roll(1, 0), Levels(levels), radii)[:, 0]
    gained = (loss(source, torch.arange(3), None) - loss(found, torch.arange(3), None)).detach()
    possible = torch.where(w > 0, source.flatten(1) > 0, source.flatten(1) < 1)
    best = torch.where(possible, w.abs(), 0).topk(3, dim=1).values.sum(1) / levels
    assert torch.allclose(gained, best)
    assert ((found - source).flatten(1).norm(dim=1) <= radii[:, 0]).all()


@pytest.mark.parametrize(("channel", "rounding"), [("quantize:2", Levels(3)), ("jpeg:20", Compressed(20))])
def test_a_path_stays_in_the_box_and_within_every_radius(channel: str, rounding: Rounding) -> None:
    model = Surviving(VAE((1, 5, 5), hidden=(8,), latent=3).double().eval(), [channel], straight=True)
    radii = torch.tensor([[0.2, 0.5, 1.0]] * 3, dtype=torch.float64)
    for goal in (Output(), Damage()):
        found = flipped(goal.loss(model, X, X.roll(1, 0)), X, X.roll(1, 0), rounding, radii)
        assert (found >= 0).all()
        assert (found <= 1).all()
        assert ((found - X[:, None]).flatten(2).norm(dim=2) <= radii + 1e-9).all()
        assert (found != X[:, None]).flatten(1).any(1).all()


@pytest.fixture(scope="module")
def digits() -> tuple[VAE, doubleback.ImageData]:
    images = doubleback.load_images("digits")
    torch.manual_seed(0)
    model = VAE(images.image_shape, hidden=(64,), latent=8)
    doubleback.fit(model, images, epochs=30, batch_size=64, learning_rate=3e-3, progress=False)
    return model.eval(), images


@pytest.mark.parametrize(("channel", "less"), [("quantize:1", 0.05), ("jpeg:10", 0.005)])
def test_a_coarse_rounding_protects_less_than_a_gradient_says(
    channel: str, less: float, digits: tuple[VAE, doubleback.ImageData]
) -> None:
    """The sweep alone, as it is at the start of a curve, against the whole attack."""
    model, images = digits
    found = doubleback.audit(defended(model, [channel]), images, pairs=8, coefficients=8, progress=False)
    points = found.points["output"]
    swept = doubleback.metrics.curve.auddc
    alone = [swept(u[:9], v[:9]) for u, v in zip(points.distortion, points.adversarial_distance, strict=True)]
    whole = found.auddc("output")
    assert whole.mean() < sum(alone) / len(alone) - less


def test_a_budget_finds_it_too(digits: tuple[VAE, doubleback.ImageData]) -> None:
    model, images = digits
    behind, x = defended(model, ["quantize:1"]), images.test.images[:8].float() / 255
    attack = Attack(Output(), Budget("L2", (0.4,), relative=True), Search(steps=20))
    found = attack(behind, x, x.roll(1, 0))
    radius = 0.4 * (x - x.roll(1, 0)).flatten(1).norm(dim=1)
    assert ((found.x_adv[:, 0] - x).flatten(1).norm(dim=1) <= radius * (1 + 1e-5)).all()
    loss = Output().loss(behind, x, x.roll(1, 0))
    path = flipped(Output().loss(behind.surrogate, x, x.roll(1, 0)), x, x.roll(1, 0), Levels(1), radius[:, None])[:, 0]
    with torch.no_grad():
        assert (found.objective[:, 0] <= loss(path, torch.arange(8), None) + 1e-6).all()


def test_the_coarsest_step_counts_and_a_fine_one_does_not() -> None:
    model = VAE((1, 5, 5), hidden=(8,), latent=3)
    assert rounding_of(model) is None
    assert rounding_of(defended(model, ["quantize:8"])) is None
    assert rounding_of(defended(model, ["quantize:2", "smooth:0.1"])) == Levels(3)
    assert rounding_of(defended(model, ["smooth:0.1", "quantize:3", "quantize:1"])) == Levels(1)
    assert rounding_of(defended(model, ["hmc:3"])) is None
    assert rounding_of(defended(model, ["jpeg:90", "smooth:0.1", "jpeg:30"])) == Compressed(30)
    assert rounding_of(defended(model, ["jpeg:90", "quantize:1"])) == Levels(1)


# -- JPEG's coefficients ---------------------------------------------------------------------------------------------

SHAPES = [(1, 16, 24), (1, 13, 9), (3, 16, 32), (3, 15, 17)]


def smooth_picture(shape: tuple[int, ...]) -> Tensor:
    """Two pictures without a sharp edge, away from black and white."""
    small = torch.rand(2, shape[0], 3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return 0.3 + 0.4 * F.interpolate(small, size=shape[1:], mode="bicubic").clamp(0, 1)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("quality", [10, 75])
def test_the_rounded_coefficients_make_what_a_file_makes(shape: tuple[int, ...], quality: int) -> None:
    x, rounding = smooth_picture(shape), Compressed(quality)
    c = rounding.coordinates(x)
    assert torch.allclose(rounding.moved(x, c - c), x)
    ours, files = rounding.moved(x, c.round() - c), _compressed(x, quality, straight=False)
    assert (ours - files).abs().mean() < (0.003 if shape[0] == 1 else 0.012)  # Pillow smooths the colours
    assert (x - files).abs().mean() > 2 * (ours - files).abs().mean() or quality > 50


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_gradient_of_coefficients_is_the_adjoint_of_their_change(shape: tuple[int, ...]) -> None:
    x, rounding, random = torch.full((2, *shape), 0.5).double(), Compressed(40), torch.Generator().manual_seed(0)
    change = 1e-3 * torch.randn(rounding.coordinates(x).shape, generator=random, dtype=torch.float64)
    g = torch.randn(x.shape, generator=random, dtype=torch.float64)
    there, back = ((rounding.moved(x, change) - x) * g).sum(), (change * rounding.pulled(g)).sum()
    assert torch.allclose(there, back)


@pytest.mark.parametrize("shape", [(1, 16, 8), (3, 16, 16)], ids=str)
def test_coefficients_are_coordinates_and_have_their_lengths(shape: tuple[int, ...]) -> None:
    x, rounding = torch.full((1, *shape), 0.5).double(), Compressed(60)
    c, lengths = rounding.coordinates(x), rounding.lengths(x)
    for place in torch.randperm(c.shape[1], generator=torch.Generator().manual_seed(0))[:20].tolist():
        change = torch.zeros_like(c)
        change[0, place] = 0.5
        moved = rounding.moved(x, change)
        assert torch.allclose(rounding.coordinates(moved) - c, change, atol=1e-9)
        assert torch.allclose((moved - x).norm() / 0.5, lengths[0, place])


def test_the_gradient_through_jpeg_follows_the_coefficients_that_are_near_a_threshold() -> None:
    """One grey block, by scipy's cosine transform: dL/dx = T' (w * S' g), w by hand."""
    x = torch.rand(1, 1, 8, 8, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    g = torch.randn(1, 1, 8, 8, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    table = np.array(Image.open(io.BytesIO(_jpeg(40))).quantization[0]).reshape(8, 8)
    c = dctn(255 * x[0, 0].numpy() - 128, norm="ortho") / table
    slope = dctn(g[0, 0].numpy() / 255, norm="ortho") * table
    d = c - c.round()
    w = ((2 * d) ** 2 + 0.06) * np.where(d * slope < 0, 1, 0.5)
    behind = x.clone().requires_grad_()
    value = _compressed(behind, 40, straight=True)
    (gradient,) = torch.autograd.grad((value * g).sum(), behind)
    assert np.allclose(gradient[0, 0].numpy(), 255 * idctn(w * slope / table, norm="ortho"))
    assert torch.allclose(value, _compressed(x, 40, straight=False))


@pytest.mark.parametrize(("quality", "times"), [(30, 1.2), (75, 1.04)])
def test_a_budget_behind_jpeg_does_more_than_by_the_gradient_of_the_identity(
    quality: int, times: float, digits: tuple[VAE, doubleback.ImageData], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, images = digits
    behind, x = defended(model, [f"jpeg:{quality}"]), images.test.images[:8].float() / 255
    attack = Attack(Damage(), Budget("Linf", ["8/255"]), Search(steps=60))
    found = attack(behind, x, x.roll(1, 0)).objective.mean()
    monkeypatch.setattr(channel, "followed", lambda rounding, x, value: x + (value - x).detach())
    assert found < times * attack(behind, x, x.roll(1, 0)).objective.mean() < 0


def _jpeg(quality: int) -> bytes:
    file = io.BytesIO()
    Image.new("L", (8, 8)).save(file, "JPEG", quality=quality)
    return file.getvalue()
