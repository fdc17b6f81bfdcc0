"""Robust accuracies on models whose robustness is known, and flags on planted cases."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from doubleback.data import ImageData, Split
from doubleback.errors import InputError
from doubleback.mixture import LatentMixtureClassifier
from doubleback.models import MLP, LeNet
from doubleback.robustness import Withstood, robust_accuracy
from doubleback.robustness.measuring import gradient_norms, kind
from doubleback.settings import Threats
from doubleback.tensors import as_unit
from doubleback.training import fit
from tests.problems import LinearAutoencoder, StraightThrough

QUICK = Threats(eps=(0.02, 0.2), steps=10, queries=60)


class Linear(nn.Module):
    """Scores W x + b of three classes: the least epsilon that fools it is known."""

    classes = (0, 1, 2)

    def __init__(self, pixels: int = 16) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.W = torch.randn(3, pixels, generator=generator)

    def forward(self, x: Tensor) -> Tensor:
        return (x.flatten(1) - 0.5) @ self.W.T

    def least_eps(self, x: Tensor, y: Tensor) -> Tensor:
        """min over j of (s_y - s_j) / ||w_y - w_j||_1, where the box does not come into it."""
        scores = self(x)
        gaps = scores.gather(1, y[:, None]) - scores
        norms = (self.W[y][:, None] - self.W[None]).abs().sum(2)
        return (gaps / norms).where(norms > 0, math.inf).amin(1)


class Wrapped(nn.Module):
    """A model whose input or scores are tampered with."""

    def __init__(self, model: Any, before: Any = None, after: Any = None) -> None:
        super().__init__()
        self.model, self.classes = model, model.classes
        self.before, self.after = before or (lambda x: x), after or (lambda s: s)

    def forward(self, x: Tensor) -> Tensor:
        return self.after(self.model(self.before(x)))


def grey(count: int = 60, size: int = 4) -> Tensor:
    """Images far from the box's ends."""
    return 0.4 + 0.2 * torch.rand(count, 1, size, size, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def trained(tiny: ImageData) -> MLP:
    torch.manual_seed(0)
    model = MLP(tiny.image_shape, (0, 1), hidden=(16,))
    fit(model, tiny, epochs=20, batch_size=32, progress=False)
    return model.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def labelled(tiny: ImageData) -> tuple[Tensor, Tensor]:
    assert tiny.test.labels is not None
    return as_unit(tiny.test.images), tiny.test.labels


def test_a_linear_model_withstands_what_its_margins_allow() -> None:
    model, x = Linear(), grey()
    y = model(x).argmax(1)
    least = model.least_eps(x, y)
    eps = (float(least.quantile(0.3)), float(least.quantile(0.7)))
    found = robust_accuracy({"linear": model}, x, y, threats=Threats(eps=eps, steps=10, queries=0), progress=False)[
        "linear"
    ]
    exact = torch.stack([least > e for e in eps])
    assert found.clean.all()
    for name in ("fgsm", "pgd", "apgd"):
        assert int((found.attacks[name] != exact).sum()) <= 1
    assert int((found.worst_case != exact).sum()) <= 1
    assert not recorded_flags(found)


def recorded_flags(found: Any) -> dict[str, str]:
    return found.results([str(place) for place in range(len(found.worst_case))])["flags"]


@pytest.fixture(scope="module")
def lenet(tiny: ImageData) -> tuple[LeNet, Tensor, Tensor]:
    """Trained on the same images at twice their size."""

    def larger(split: Split) -> Split:
        return Split(split.images.repeat_interleave(2, 2).repeat_interleave(2, 3), split.labels)

    images = ImageData("tiny", larger(tiny.train), larger(tiny.validation), larger(tiny.test))
    torch.manual_seed(0)
    model = LeNet(images.image_shape, (0, 1))
    fit(model, images, epochs=20, batch_size=32, progress=False)
    assert images.test.labels is not None
    return model.eval().requires_grad_(False), as_unit(images.test.images), images.test.labels


@pytest.mark.slow
def test_nothing_fires_on_a_plain_mlp_and_lenet(
    trained: MLP, labelled: tuple[Tensor, Tensor], lenet: tuple[LeNet, Tensor, Tensor]
) -> None:
    threats = Threats(eps=(0.05, 0.2), steps=20, queries=60)
    for model, x, y in ((trained, *labelled), lenet):
        assert recorded_flags(robust_accuracy({"m": model}, x, y, threats=threats, progress=False)["m"]) == {}


def test_a_rounded_input_is_flagged(trained: MLP, labelled: tuple[Tensor, Tensor]) -> None:
    """Its gradient is zero, so every gradient attack fails, and what needs no gradient does not."""
    rounded = Wrapped(trained, before=lambda x: (4 * x).round() / 4)
    threats = Threats(eps=(0.3,), steps=10, queries=200)
    found = robust_accuracy({"m": rounded}, *labelled, threats=threats, progress=False)["m"]
    flags = recorded_flags(found)
    assert {"vanishing_gradients", "unbounded_attack_fails", "black_box_beats_white_box"} <= set(flags)


def test_a_saturated_softmax_is_flagged(trained: MLP, labelled: tuple[Tensor, Tensor]) -> None:
    saturated = Wrapped(trained, after=lambda s: (1e4 * s).softmax(1))
    found = robust_accuracy(
        {"m": saturated}, *labelled, threats=Threats(eps=(0.2,), steps=5, queries=0), progress=False
    )["m"]
    assert {"vanishing_gradients", "unbounded_attack_fails"} <= set(recorded_flags(found))


def test_a_model_that_is_noisy_when_asked_is_flagged(trained: MLP, labelled: tuple[Tensor, Tensor]) -> None:
    noisy = Wrapped(trained, before=lambda x: (x + 0.1 * torch.randn_like(x)).clamp(0, 1))
    found = robust_accuracy({"m": noisy}, *labelled, threats=QUICK, progress=False)["m"]
    assert "single_noise" in recorded_flags(found)
    averaged = Threats(eps=(0.2,), steps=3, queries=0, noise_samples=4)
    found = robust_accuracy({"m": noisy}, *labelled, threats=averaged, progress=False)["m"]
    assert "single_noise" not in recorded_flags(found)


def test_too_few_steps_are_flagged(trained: MLP, labelled: tuple[Tensor, Tensor]) -> None:
    """Where the slope turns with every small change, one step goes astray and four find the way; both count."""
    crooked = Wrapped(trained, before=lambda x: x + 0.02 * torch.sin(200 * x))
    one = Threats(attack=("pgd",), eps=(0.15, 0.25), steps=1, queries=0)
    found = robust_accuracy({"m": crooked}, *labelled, threats=one, progress=False)["m"]
    assert "more_steps_help" in recorded_flags(found)
    assert bool((found.worst_case <= found.attacks["longer"]).all())
    assert bool((found.worst_case.float().mean(1) < found.attacks["pgd"].float().mean(1)).any())


def test_noise_that_beats_the_gradient_is_flagged(trained: MLP, labelled: tuple[Tensor, Tensor]) -> None:
    rounded = Wrapped(trained, before=lambda x: (2 * x).round() / 2)
    found = robust_accuracy(
        {"m": rounded}, *labelled, threats=Threats(eps=(0.6,), steps=30, queries=0), progress=False
    )["m"]
    assert "noise_beats_gradient" in recorded_flags(found)


@pytest.fixture(scope="module")
def measured(trained: MLP, labelled: tuple[Tensor, Tensor]) -> dict[str, Withstood]:
    """A trained model beside another, which is a black box, too; and, as a black box, the trained one once more."""
    torch.manual_seed(1)
    other = MLP((1, 8, 8), (0, 1), hidden=(8,)).eval()
    return robust_accuracy(
        {"a": trained, "b": other}, *labelled, black_box={"c": other, "twin": trained}, threats=QUICK, progress=False
    )


def test_the_worst_case_is_image_by_image_and_counts_transferred_examples(measured: dict[str, Withstood]) -> None:
    a = measured["a"]
    assert set(measured) == {"a", "b"}
    assert set(a.transfer) == {"b", "c", "twin"}
    every = [*a.attacks.values(), *a.transfer.values()]
    assert torch.equal(a.worst_case, torch.stack(every).all(0))
    assert set(a.attacks) == {"fgsm", "pgd", "apgd", "noise", "square", "longer"}
    assert torch.equal(a.transfer["b"], a.transfer["c"])  # the same model under two names
    for rights in every:
        assert bool((rights[1] <= rights[0]).all())  # what a small ball holds, a larger one does
        assert bool((rights <= a.clean).all())


def test_examples_for_others_go_on_after_their_own_model_is_fooled(measured: dict[str, Withstood]) -> None:
    """The same weights again: what fools one by the full attack fools the other just so."""
    a = measured["a"]
    assert bool((a.transfer["twin"] <= a.attacks["pgd"]).float().mean() > 0.95)


def test_results_are_as_documented(measured: dict[str, Withstood]) -> None:
    found = measured["a"]
    results = found.results([0.02, "1/5"])
    assert results["kind"] == "mlp"
    assert set(results["worst_case"]) == set(results["robust_accuracy"]["apgd"]) == {"0.02", "1/5"}
    low, high = results["ci95"]["worst_case"]["1/5"]
    assert low <= results["worst_case"]["1/5"] <= high
    assert set(results["gradients"]) == {"score"}
    assert found.shown is not None
    assert found.shown.shape == (8, 2, 1, 8, 8)
    assert found.shown.dtype == np.uint8


def test_a_record_comes_back_from_its_arrays(measured: dict[str, Withstood]) -> None:
    """But for what others tried on the model: that is found anew."""
    one = measured["a"]
    back = Withstood.of_arrays(one.arrays())
    assert back.checks == one.checks
    assert back.gradients == one.gradients
    assert torch.equal(back.clean, one.clean)
    assert all(torch.equal(back.attacks[name], rights) for name, rights in one.attacks.items())
    assert not back.transfer


def test_gradient_norms_of_a_linear_code() -> None:
    """d z / d x = W, whose singular values reach from 1 to 2; d margin / d x is the chain of both."""
    autoencoder = LinearAutoencoder()
    x = torch.rand(40, 1, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    labels = (autoencoder.encode(x).mean[:, 0] > 0).long()
    model = LatentMixtureClassifier.fit(autoencoder, x, labels, components=1)
    found = gradient_norms(model, x, labels)
    assert found["latent"] == pytest.approx(2, rel=1e-3)
    assert found["mixture"] <= found["score"] <= 2 * found["mixture"]
    assert kind(model) == "mixture"


def test_what_was_not_measured_is_no_check(trained: MLP, labelled: tuple[Tensor, Tensor]) -> None:
    alone = Threats(eps=(0.1,), steps=2, queries=0)
    found = robust_accuracy({"a": trained}, *labelled, threats=alone, progress=False)["a"]
    assert "black_box_beats_white_box" not in found.results(["0.1"])["checks"]


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"attack": ("deepfool",)}, "deepfool"),
        ({"attack": ()}, "is missing"),
        ({"steps": 0}, "steps is 0"),
        ({"queries": -1}, "queries is -1"),
        ({"noise_samples": 0}, "noise samples is 0"),
        ({"norm": "L1"}, "L1"),
        ({"eps": ()}, "eps is empty"),
        ({"eps": (-0.1,)}, "-0.1"),
        ({"eps": ("a tenth",)}, "'a tenth' is not a number"),
        ({"eps": (math.nan,)}, "eps is nan"),
        ({"eps": (0.1, "1/10")}, "eps 1/10 is there twice"),
    ],
)
def test_bad_threats(given: dict[str, Any], says: str, unchecked: None) -> None:
    with pytest.raises(InputError, match=says):
        Threats(**given)


def test_epsilons_are_words_or_numbers() -> None:
    assert Threats(eps=(0.05, "0.1", "8/255")).radii == [0.05, 0.1, 8 / 255]


def test_models_that_cannot_be_measured_together(trained: MLP, labelled: tuple[Tensor, Tensor]) -> None:
    other = MLP((1, 8, 8), ("left", "right"))
    linear: Any = torch.nn.Linear(2, 2)
    with pytest.raises(InputError, match=r"b is a Linear, no classifier; give load_classifier\(...\).model"):
        robust_accuracy({"a": trained, "b": linear}, *labelled)
    with pytest.raises(InputError, match="no model"):
        robust_accuracy({}, *labelled, threats=QUICK, progress=False)
    with pytest.raises(InputError, match="both attacked and a black box"):
        robust_accuracy({"a": trained}, *labelled, black_box={"a": trained}, threats=QUICK, progress=False)
    with pytest.raises(InputError, match="different classes"):
        robust_accuracy({"a": trained, "b": other}, *labelled, threats=QUICK, progress=False)


def test_a_model_that_torch_func_refuses_keeps_its_results() -> None:
    """Straight through a rounding: the margin's gradient is that of the scores behind it."""
    linear, x = Linear(), grey()
    y = linear(x).argmax(1)
    found = robust_accuracy(
        {"rounded": Wrapped(linear, before=StraightThrough.apply).eval()}, x, y, threats=QUICK, progress=False
    )["rounded"]
    assert found.gradients["score"] == pytest.approx(gradient_norms(linear, (8 * x).round() / 8, y)["score"])
    assert "not_measured" not in found.gradients


def test_a_norm_that_cannot_be_had_is_none_and_the_attacks_count(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: Any, **__: Any) -> Tensor:
        raise NotImplementedError("no such derivative")

    monkeypatch.setattr("doubleback.robustness.measuring.input_gradient_norm", refused)
    linear, x = Linear(), grey()
    found = robust_accuracy({"linear": linear}, x, linear(x).argmax(1), threats=QUICK, progress=False)["linear"]
    assert found.clean.all()
    assert found.results(QUICK.eps)["gradients"] == {
        "score": None,
        "not_measured": {"score": "NotImplementedError: no such derivative"},
    }
    assert Withstood.of_arrays(found.arrays()).gradients == found.gradients
