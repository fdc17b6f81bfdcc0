"""The loss of an autoencoder that learns classes, too: against the softmax and its gradient by hand."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import doubleback
from doubleback.errors import InputError
from doubleback.models import DRAW, VAE
from doubleback.objective import ELBO, Labelled
from doubleback.objective.labelled import SMOOTHING, shifted

SHAPE = (1, 4, 4)


def objective(**settings: Any) -> Labelled:
    torch.manual_seed(0)
    return Labelled(VAE(SHAPE, hidden=(8,), latent=3).double(), 4, 2.0, **settings).double()


X = torch.rand(5, *SHAPE, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
Y = torch.tensor([0, 1, 2, 3, 1])
NOISE = torch.randn(5, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def cross_entropy(one: Labelled, x: torch.Tensor) -> torch.Tensor:
    """By hand: the share of the labels that is smoothed goes to all classes alike."""
    logs = one.reading(one.model(x, NOISE).posterior.sample(NOISE)).log_softmax(1)
    right = logs[torch.arange(5), Y]
    return -(1 - SMOOTHING) * right - SMOOTHING * logs.mean(1)


def test_the_terms_by_hand() -> None:
    one = objective(gradient_weight=0.5)
    terms = one(X, Y, NOISE)
    assert list(terms) == list(one.terms)
    assert torch.allclose(terms["cross_entropy"], cross_entropy(one, X))
    for name, value in ELBO()(one.model, X, NOISE).items():
        assert torch.allclose(terms[name], value)
    step = 1e-6
    for place in range(16):  # the slope along each pixel, by central differences
        e = torch.zeros(16, dtype=torch.float64)
        e[place] = step
        e = e.view(1, *SHAPE)
        slope = (cross_entropy(one, X + e) - cross_entropy(one, X - e)) / (2 * step)
        terms["penalty"] = terms["penalty"] - slope.detach().square()
    assert torch.allclose(terms["penalty"], torch.zeros(5, dtype=torch.float64), atol=1e-7)


def test_the_total_weighs_them() -> None:
    one = objective(gradient_weight=0.5)
    terms = one(X, Y, NOISE)
    mean = {name: value.mean() for name, value in terms.items()}
    told = mean["reconstruction"] + mean["kl"] + 2 * (mean["cross_entropy"] + 0.5 * mean["penalty"])
    assert torch.allclose(one.total(terms, 0.0), told)


def test_the_penalty_has_a_gradient_of_its_own_and_can_be_left_out() -> None:
    one = objective()
    one(X, Y, NOISE)["penalty"].sum().backward()
    assert one.reading.weight.grad is not None
    assert any(p.grad is not None and p.grad.any() for p in one.model.parameters())
    assert not objective(gradient_weight=0)(X, Y, NOISE)["penalty"].any()


def test_the_steps_of_draw_are_one_code() -> None:
    model = DRAW(SHAPE, hidden=8, latent=3, steps=2)
    noise = torch.randn(5, *model.noise_shape, generator=torch.Generator().manual_seed(1))
    one, x = Labelled(model, 4, 2.0), X.float()
    codes = [q.sample(noise[:, step]) for step, (q, _) in enumerate(model.trajectory(x, noise))]
    logs = one.reading(torch.cat(codes, 1)).log_softmax(1)
    by_hand = -(1 - SMOOTHING) * logs[torch.arange(5), Y] - SMOOTHING * logs.mean(1)
    terms = one(x, Y, noise)
    assert torch.allclose(terms["cross_entropy"], by_hand, atol=1e-6)
    terms["penalty"].sum().backward()


def test_it_compiles() -> None:
    one = objective()
    compiled = torch.compile(one, backend="aot_eager")
    terms, again = one(X, Y, NOISE), compiled(X, Y, NOISE)
    for name, value in terms.items():
        assert torch.allclose(again[name], value)
    again["penalty"].sum().backward()
    assert one.reading.weight.grad is not None


def test_what_is_watched_is_the_reading_of_the_mean_code() -> None:
    one = objective()
    seen = one.validated(doubleback.Split((255 * X).byte(), Y))
    x = (255 * X).byte().double() / 255
    told = one.reading(one.model.encode(x).mean).argmax(1)
    assert seen["accuracy"] == pytest.approx((told == Y).double().mean().item())
    assert seen["l2"] == pytest.approx((one.model(x).likelihood.mean - x).flatten(1).norm(dim=1).mean().item())
    assert one.validated(doubleback.Split((255 * X).byte()))["accuracy"] is None


@given(st.integers(0, 3), st.integers(0, 2**31))
def test_every_image_is_moved_by_its_own_number_of_pixels(most: int, seed: int) -> None:
    by = torch.randint(-most, most + 1, (5, 2), generator=torch.Generator().manual_seed(seed))
    moved = shifted(X, by, most)
    for image, found, (down, right) in zip(X, moved, by.tolist(), strict=True):
        for i in range(4):
            for j in range(4):
                assert found[0, i, j] == image[0, min(max(i - down, 0), 3), min(max(j - right, 0), 3)]


def test_half_of_the_images_are_inverted_if_that_is_asked_for() -> None:
    share = objective(invert=True).share(X.repeat(40, 1, 1, 1), Y.repeat(40), torch.Generator(), slice(None))
    inverted = (share[0] == 1 - X.repeat(40, 1, 1, 1)).flatten(1).all(1)
    as_it_was = (share[0] == X.repeat(40, 1, 1, 1)).flatten(1).all(1)
    assert (inverted ^ as_it_was).all()
    assert 70 < inverted.sum() < 130


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Labelled(VAE(SHAPE), 1, 1.0), "classes is 1"),
        (lambda: Labelled(VAE(SHAPE), 2, -1.0), "weight is -1"),
        (lambda: Labelled(VAE(SHAPE), 2, 1.0, shift=-1), "shift is -1"),
        (lambda: Labelled(VAE(SHAPE, variational=False), 2, 1.0), "no variational code"),
        (lambda: objective().share(X, None, torch.Generator(), slice(None)), "no labels to learn"),
        (lambda: objective().share(X, Y + 1, torch.Generator(), slice(None)), "labels reach from 1 to 4"),
    ],
)
def test_what_it_cannot_take(make: Callable[[], Any], says: str) -> None:
    with pytest.raises(InputError, match=says):
        make()


def test_labels_shape_the_code() -> None:
    """On digits, the mixture of a code that has learned the classes tells more of them apart."""
    images = doubleback.load_images("digits")
    shares = []
    for weight in (0.0, 300.0):
        torch.manual_seed(0)
        model = VAE(images.image_shape, hidden=(32,), latent=8)
        doubleback.fit(
            Labelled(model, 10, weight, gradient_weight=0.1, shift=1), images, epochs=12, batch_size=64, progress=False
        )
        classifier = doubleback.LatentMixtureClassifier.fit(
            model, images.train.images, images.train.labels, components=1
        )
        told = torch.tensor(classifier.predict(images.test.images))
        shares.append(float((told == images.test.labels).double().mean()))
    assert shares[1] > shares[0] + 0.03
