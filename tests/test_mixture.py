"""Class mixtures: scikit-learn's densities, closed forms, derivatives, and where softmax has nothing to say."""

import math
import time
import warnings
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.mixture import GaussianMixture
from torch import Tensor, nn

from doubleback.attacks.classifiers import fgsm, margin
from doubleback.errors import InputError
from doubleback.mixture import LatentMixtureClassifier, LatentMixtures, fitted, sparse
from doubleback.mixture.classifier import encoded
from doubleback.models import AutoencoderAdapter, Classifier
from doubleback.settings import Mixture
from tests.problems import LinearAutoencoder

COVARIANCES = ("full", "diag", "tied")
CENTRES = torch.tensor(
    [[[0.2, 0.2, 0.3], [0.4, 0.3, 0.2]], [[0.8, 0.2, 0.7], [0.6, 0.3, 0.8]], [[0.2, 0.8, 0.8], [0.3, 0.6, 0.6]]],
    dtype=torch.float64,
)  # three classes of two blobs each


def itself(latent: int = 3) -> AutoencoderAdapter:
    """An autoencoder whose code is the image, (1, 1, D)."""
    return AutoencoderAdapter(nn.Flatten(), nn.Unflatten(1, (1, 1, latent)), latent=latent)


def images(count: int = 120, spread: float = 0.04, seed: int = 0) -> tuple[Tensor, Tensor]:
    """`count` of each class, (N, 1, 1, 3) in float64, shuffled, and their labels 0, 1, 2."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(3).repeat(count)
    blob = torch.randint(2, (3 * count,), generator=generator)
    noise = torch.randn(3 * count, 3, generator=generator, dtype=torch.float64)
    noise[:, 1] += 0.8 * noise[:, 0]
    codes = (CENTRES[labels, blob] + spread * noise).clamp(0, 1)
    return codes.view(-1, 1, 1, 3), labels


def fit(labels: Any = None, *, count: int = 120, **given: Any) -> LatentMixtureClassifier:
    x, y = images(count)
    return LatentMixtureClassifier.fit(itself(), x, y if labels is None else labels, **{"components": 2, **given})


def by_sklearn(x: Tensor, y: Tensor, covariance: str, regularization: float = 1e-3) -> list[GaussianMixture]:
    codes = x.flatten(1).numpy()
    mixture = {"covariance_type": covariance, "reg_covar": regularization, "max_iter": 300, "random_state": 0}
    return [GaussianMixture(2, **mixture).fit(codes[y.numpy() == label]) for label in range(3)]


@pytest.mark.parametrize("covariance", COVARIANCES)
def test_densities_are_sklearns(covariance: str) -> None:
    """Near, far, and very far: at 1e4 a log density is about -1e10, right to a part in 1e9."""
    x, y = images()
    model, theirs = fit(covariance=covariance), by_sklearn(x, y, covariance)
    near = np.random.default_rng(0).uniform(0, 1, (200, 3))
    for z, slack in (
        (near, {"atol": 1e-6, "rtol": 0}),
        (near * 1e2, {"rtol": 1e-9}),
        (1e4 * (near - 0.5), {"rtol": 1e-9}),
    ):
        expected = np.stack([mixture.score_samples(z) for mixture in theirs], 1)
        found = model.mixtures(torch.from_numpy(z))
        assert found.dtype == torch.float64
        assert found.isfinite().all()
        assert np.allclose(found.numpy(), expected, **slack)
    assert found.max() < -1e6


def test_densities_of_the_images_are_those_of_their_codes() -> None:
    """Codes of a linear autoencoder, in float32 images too."""
    autoencoder = LinearAutoencoder()
    x = torch.rand(200, 1, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    y = (x.mean((1, 2, 3)) > x.mean()).long()
    model = LatentMixtureClassifier.fit(autoencoder, x, y, components=3)
    codes = autoencoder.encode(x).mean.detach()
    for label in range(2):
        mixture = GaussianMixture(3, reg_covar=1e-3, max_iter=300, random_state=0).fit(codes[y == label].numpy())
        assert np.allclose(model.log_prob(x)[:, label].detach(), mixture.score_samples(codes.numpy()), atol=1e-6)
    assert torch.equal(model(x), model.log_prob(x))
    assert torch.equal(model.code(x), autoencoder.encode(x).mean)


def test_a_density_integrates_to_one() -> None:
    mixtures = LatentMixtures(
        torch.tensor([[0.3, 0.7]], dtype=torch.float64).log(),
        torch.tensor([[[-1.0], [2.0]]]),
        torch.tensor([[[[2.0]], [[0.5]]]]),
    )
    z = torch.linspace(-40, 40, 80_001, dtype=torch.float64)[:, None]
    assert torch.trapezoid(mixtures(z).exp().squeeze(1), z.squeeze(1)).item() == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize("shift", [1e2, 1e4, 1e6])
def test_where_the_codes_lie_does_not_matter(shift: float) -> None:
    """Codes and means moved together: an expanded square z'Pz - 2 z'P mu + mu'P mu would cancel its digits away."""
    near, codes = fit().mixtures, images()[0].flatten(1)
    far = LatentMixtures(near.log_weights, near.means + shift, near.whitening)
    assert torch.allclose(far(codes + shift), near(codes), rtol=0, atol=1e-4)


def test_one_gaussian_by_hand() -> None:
    """N(z; (1, 2), diag(4, 1)) at (3, 2): exp(-1/2) / (2 pi 2)."""
    mixtures = LatentMixtures(
        torch.zeros(1, 1), torch.tensor([[[1.0, 2.0]]]), torch.diag(torch.tensor([0.5, 1.0])).view(1, 1, 2, 2)
    )
    assert mixtures(torch.tensor([[3.0, 2.0]])).item() == pytest.approx(-0.5 - math.log(4 * math.pi))


@pytest.mark.parametrize("regularization", [0.0, 0.01])
def test_one_component_has_a_closed_form(regularization: float) -> None:
    """The mean of the codes, and their covariance plus the regularization."""
    x, y = images()
    model = fit(components=1, regularization=regularization)
    for label in range(3):
        codes = x.flatten(1)[y == label]
        covariance = torch.cov(codes.mT, correction=0) + regularization * torch.eye(3, dtype=torch.float64)
        L = model.mixtures.whitening[label, 0]
        assert torch.allclose(model.mixtures.means[label, 0], codes.mean(0))
        assert torch.allclose(L @ L.mT, covariance.inverse(), rtol=1e-8)
        assert model.mixtures.log_weights[label, 0].item() == pytest.approx(0)


@pytest.mark.parametrize("covariance", COVARIANCES)
def test_em_finds_well_separated_blobs(covariance: str) -> None:
    x, y = images(400, spread=0.01)
    model = LatentMixtureClassifier.fit(itself(), x, y, components=2, covariance=covariance, regularization=1e-6)  # type: ignore[arg-type]
    apart = (model.mixtures.means[:, :, None] - CENTRES[:, None]).norm(dim=-1)
    assert apart.amin(2).max() < 0.005
    assert apart.amin(1).max() < 0.005
    assert (model.mixtures.log_weights.exp() - 0.5).abs().max() < 0.1
    assert model.converged == (True, True, True)
    assert model.predict(x) == y.tolist()


def test_it_is_smooth() -> None:
    """In float64, twice: whoever hardens an encoder through its classifier takes a derivative of a derivative."""
    model, x = fit(), images(2)[0].requires_grad_()
    assert torch.autograd.gradcheck(model.log_prob, x)
    assert torch.autograd.gradcheck(model.predict_proba, x)
    assert torch.autograd.gradgradcheck(model.log_prob, x)
    weights = itself(), nn.Linear(3, 3).double()
    chained = LatentMixtureClassifier(
        AutoencoderAdapter(nn.Sequential(nn.Flatten(), weights[1]), weights[0].decoder, latent=3),
        model.mixtures,
        model.classes,
    )
    chained(x).sum().backward()
    assert weights[1].weight.grad is not None
    assert weights[1].weight.grad.abs().max() > 0


@given(seed=st.integers(0, 1000), scale=st.floats(0, 1e4))
@settings(deadline=None, max_examples=25)
def test_probabilities_sum_to_one(seed: int, scale: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    weights, means, roots = (
        torch.randn(4, 3, generator=generator),
        scale * torch.randn(4, 3, 2, generator=generator),
        torch.randn(4, 3, 2, 2, generator=generator).tril(-1) + torch.eye(2),
    )
    model = LatentMixtureClassifier(itself(2), LatentMixtures(weights.log_softmax(1), means, roots), range(4))
    x = torch.rand(5, 1, 1, 2, generator=generator)
    probabilities, scores = model.predict_proba(x), model.log_prob(x)
    assert torch.allclose(probabilities.sum(1), torch.ones(5, dtype=torch.float64))
    assert torch.equal(probabilities.argmax(1), scores.argmax(1))
    assert scores.isfinite().all()


def test_where_softmax_is_flat_the_margin_is_not() -> None:
    """Two tight classes, thousands of nats apart: exp(-1e3) is 0. Cross-entropy is blind, and fooling is easy."""
    x = torch.tensor([0.2, 0.21, 0.19, 0.8, 0.81, 0.79], dtype=torch.float64).view(-1, 1, 1, 1)
    y = torch.tensor([0, 0, 0, 1, 1, 1])
    model = LatentMixtureClassifier.fit(itself(1), x, y, components=1, regularization=1e-6)
    assert isinstance(model, Classifier)
    image = x[:1].clone().requires_grad_()
    assert model.predict_proba(image)[0, 1] == 0
    (flat,) = torch.autograd.grad(model(image).log_softmax(1)[0, 0], image)
    (steep,) = torch.autograd.grad(margin(model(image), y[:1]).sum(), image)
    assert flat.abs().max() == 0
    assert steep.abs().max() > 1e3
    assert not fgsm(model, x[:1], y[:1], eps=(0.35,), losses=("cross-entropy",)).fooled.any()
    assert fgsm(model, x[:1], y[:1], eps=(0.35,), losses=("margin",)).fooled.all()


@pytest.mark.parametrize(
    ("names", "classes"),
    [
        ((7, -3, 100), (-3, 7, 100)),
        (("cat", "ant", "bee"), ("ant", "bee", "cat")),
        (("2", 10, 2), (2, 10, "2")),
    ],
)
def test_labels_of_any_kind(names: tuple[str | int, ...], classes: tuple[str | int, ...]) -> None:
    """Sorted, numbers before names; the answers are the labels that were given."""
    x, y = images()
    labels = [names[label] for label in y.tolist()]
    model = fit(labels)
    assert model.classes == classes
    assert model.predict(x) == labels
    plain = fit()
    assert torch.allclose(model(x)[:, [classes.index(name) for name in names]], plain(x))


def test_labels_in_a_tensor() -> None:
    x, y = images()
    for dtype in (torch.int64, torch.int32, torch.int8):
        model = fit((10 * y - 3).to(dtype))
        assert model.classes == (-3, 7, 17)
        assert model.predict(x) == (10 * y - 3).tolist()


def test_images_of_bytes_are_scaled() -> None:
    x, y = images()
    pixels = (255 * x).round().byte()
    model = LatentMixtureClassifier.fit(itself(), pixels, y, components=2)
    assert torch.allclose(model.mixtures.means, fit().mixtures.means, atol=0.01)
    assert torch.allclose(encoded(itself(), pixels), pixels.flatten(1) / 255)


def test_codes_are_encoded_a_batch_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    x, _ = images(7)
    whole = encoded(LinearAutoencoder((1, 1, 3), latent=2), x.float())
    assert whole.dtype == torch.float64
    assert not whole.requires_grad
    monkeypatch.setattr("doubleback.tensors.BATCH_VALUES", 4 * 16)
    assert torch.allclose(encoded(LinearAutoencoder((1, 1, 3), latent=2), x.float()), whole)


def test_the_autoencoder_is_evaluated() -> None:
    autoencoder = AutoencoderAdapter(nn.Sequential(nn.Flatten(), nn.Dropout(0.5)), nn.Unflatten(1, (1, 1, 3)), latent=3)
    x, y = images()
    with_dropout = LatentMixtureClassifier.fit(autoencoder.eval(), x, y, components=1)
    assert torch.allclose(with_dropout.mixtures.means, fit(components=1).mixtures.means)
    autoencoder.train()
    fresh = LatentMixtureClassifier.fit(autoencoder, x, y, components=1)
    assert torch.allclose(fresh.mixtures.means, fit(components=1).mixtures.means)
    assert autoencoder.training
    assert torch.equal(fresh(x), with_dropout(x))  # it answers as in evaluation mode, whatever mode its parts are in
    assert not fresh.train().training


def test_a_state_dict_comes_back() -> None:
    model, x = fit(), images()[0]
    state = {name: value.clone() for name, value in model.state_dict().items()}
    other = fit(components=2, count=30, seed=5)
    assert not torch.equal(other(x), model(x))
    other.load_state_dict(state)
    assert torch.equal(other(x), model(x))
    parts = LatentMixtures(*(state[f"mixtures.{name}"] for name in ("log_weights", "means", "whitening")))
    assert torch.equal(LatentMixtureClassifier(itself(), parts, model.classes)(x), model(x))


def test_the_seed_decides() -> None:
    one, same = fit(components=5), fit(components=5)
    assert torch.equal(one.mixtures.means, same.mixtures.means)
    assert not torch.equal(one.mixtures.means, fit(components=5, seed=1).mixtures.means)


def test_settings_are_an_object_or_its_fields() -> None:
    x, y = images()
    whole = LatentMixtureClassifier.fit(itself(), x, y, Mixture(components=3, covariance="diag", seed=2))
    changed = LatentMixtureClassifier.fit(
        itself(), x, y, Mixture(components=2, covariance="diag"), components=3, seed=2
    )
    assert torch.equal(whole(x), changed(x))
    assert torch.equal(whole(x), fit(components=3, covariance="diag", seed=2)(x))


def test_rows_do_not_interact() -> None:
    model, x = fit(), images()[0]
    assert torch.allclose(torch.cat([model(image[None]) for image in x[:20]]), model(x)[:20], rtol=1e-10)


def test_em_that_does_not_converge_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """And no warning reaches the user."""
    original = GaussianMixture.fit

    def hasty(self: GaussianMixture, codes: np.ndarray) -> GaussianMixture:
        return original(self.set_params(max_iter=1), codes)

    monkeypatch.setattr(GaussianMixture, "fit", hasty)
    assert fit(components=8).converged == (False, False, False)


def test_the_filters_of_warnings_are_left_as_they_were(monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads that each save and restore the process's filters leave one another's behind."""
    original, calls = GaussianMixture.fit, []

    def slow(self: GaussianMixture, codes: np.ndarray) -> GaussianMixture:
        calls.append(0)
        time.sleep(0.1 * len(calls))  # the first to come leaves first
        return original(self, codes)

    monkeypatch.setattr(GaussianMixture, "fit", slow)
    monkeypatch.setattr("joblib._parallel_backends.cpu_count", lambda *_, **__: 3)
    before = list(warnings.filters)
    fit(components=1)
    assert warnings.filters == before


# ---- errors


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"components": 121}, "class 0 has 120 images for 121 components"),
        ({"components": 0}, "components is 0"),
        ({"components": -2}, "components is -2"),
        ({"regularization": -1e-3}, "regularization is -0.001"),
        ({"regularization": math.nan}, "regularization is nan"),
        ({"regularization": math.inf}, "regularization is inf"),
        ({"covariance": "spherical"}, "covariance is 'spherical'"),
        ({"labels": [5] * 360}, "classes are 5; give two or more"),
        ({"labels": [5] * 359 + [6]}, "class 6 has 1 images"),
        ({"labels": [0, 1, 2]}, "3 labels for 360 images"),
        ({"labels": torch.arange(361) % 3}, "361 labels for 360 images"),
        ({"seed": -1}, "seed is -1"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_bad_settings(given: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        fit(**given)


def test_bad_images_and_codes() -> None:
    x, y = images()
    with pytest.raises(InputError, match="images reach max"):
        LatentMixtureClassifier.fit(itself(), 2 * x, y)
    x[3] = math.nan
    with pytest.raises(InputError, match="images hold NaN"):
        LatentMixtureClassifier.fit(itself(), x, y)
    broken = AutoencoderAdapter(lambda x: (x - 0.5).flatten(1).sqrt(), nn.Unflatten(1, (1, 1, 3)), latent=3)
    with pytest.raises(InputError, match="a code is not finite"):
        LatentMixtureClassifier.fit(broken, images()[0], y)


def test_classes_for_every_mixture() -> None:
    mixtures = fit().mixtures
    with pytest.raises(InputError, match="2 classes for 3 mixtures"):
        LatentMixtureClassifier(itself(), mixtures, ("one", "two"))
    with pytest.raises(InputError, match="classes are one, two, one"):
        LatentMixtureClassifier(itself(), mixtures, ("one", "two", "one"))


def test_a_covariance_that_is_singular() -> None:
    """All images of a class alike, and nothing added to the diagonal."""
    codes, y = np.repeat([[0.1, 0.2], [0.3, 0.4]], 5, axis=0), np.repeat([0, 1], 5)
    mixtures, _ = fitted(codes, y, (0, 1), Mixture(components=1))
    assert torch.allclose(mixtures.whitening[:, 0], 1e-3**-0.5 * torch.eye(2, dtype=torch.float64))
    with pytest.raises(InputError, match="regularization"):
        fitted(codes, y, (0, 1), Mixture(components=1, regularization=0.0))


def test_hardly_more_codes_than_components_are_refused() -> None:
    """Two codes a Gaussian are the least that have a spread."""
    x, y = images(11)
    with pytest.raises(InputError, match=r"class 0 has 11 images for 10 components.*two a component"):
        LatentMixtureClassifier.fit(itself(), x, y, components=10)
    assert LatentMixtureClassifier.fit(itself(), x, y, components=5, covariance="diag").flags == {}


@pytest.mark.parametrize(("covariance", "needed"), [("full", 20), ("tied", 8), ("diag", 10)])
def test_fewer_codes_than_the_covariances_need_are_flagged(covariance: str, needed: int) -> None:
    """Five Gaussians in three dimensions: 5 (3 + 1) codes, 3 + 5 where they share one covariance, 5 * 2 variances."""
    mixture = Mixture(components=5, covariance=covariance)  # type: ignore[arg-type]
    assert sparse(np.array([needed, needed]), ("a", "b"), mixture, 3) == {}
    (says,) = sparse(np.array([needed, needed - 1]), ("a", "b"), mixture, 3).values()
    assert f"need {needed} codes, and 1 of 2 classes have fewer: b ({needed - 1})" in says


def test_a_fit_says_its_flags() -> None:
    assert fit(count=120).flags == {}
    assert "need 80 codes" in fit(count=40, components=20).flags["few_codes"]
