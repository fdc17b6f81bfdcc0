"""The figures of a model whose Jacobians and reconstructions are known."""

import math
from contextlib import nullcontext

import pytest
import torch
from torch import Tensor

from doubleback.data import Split
from doubleback.errors import InputError
from doubleback.evaluation import classification_quality, evaluate, evaluating, reconstruct, reconstruction_quality
from doubleback.models import MLP, VAE, Reconstruction
from doubleback.tensors import placed
from tests.problems import LinearAutoencoder, Undifferentiable


@pytest.fixture(scope="module")
def images() -> Tensor:
    return torch.randint(256, (40, 1, 4, 4), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


def test_figures_of_the_linear_autoencoder(images: Tensor) -> None:
    """x_hat projects x - 1/2 on 3 of 16 dimensions, so every figure has a closed form."""
    model = LinearAutoencoder()
    found = evaluate(model, images)
    x = images.double().flatten(1) / 255
    J = (model.V @ model.W).detach()
    x_hat = (x - 0.5) @ J.mT + 0.5
    error = x_hat - x
    square = error.square()
    assert found["images"] == 40
    assert found["reconstruction_l2"] == pytest.approx(square.sum(1).sqrt().mean().item())
    assert found["reconstruction_psnr"] == pytest.approx((-10 * square.mean(1).log10()).mean().item(), rel=1e-5)
    nll = 0.5 * (square / 0.02 + math.log(2 * math.pi * 0.02)).sum(1).mean().item()
    assert found["reconstruction_nll"] == pytest.approx(nll)
    codes = (x - 0.5) @ model.W.detach().mT
    assert found["kl"] == pytest.approx(0.5 * codes.square().sum(1).mean().item())
    gradient = error @ J / 0.02  # the target held fixed, whatever the likelihood
    assert found["input_gradient_norm"] == pytest.approx(gradient.norm(dim=1).mean().item(), abs=1e-9)
    assert found["output_jacobian"]["spectral"] == pytest.approx(1, rel=1e-3)
    assert found["output_jacobian"]["frobenius"] == pytest.approx(3**0.5, rel=0.05)
    assert found["latent_jacobian"]["spectral"] == pytest.approx(2, rel=1e-3)
    assert found["latent_jacobian"]["frobenius"] == pytest.approx((1 + 1.5**2 + 4) ** 0.5, rel=0.05)


def test_batches_do_not_matter(images: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    model = VAE((1, 4, 4), hidden=(8,), latent=2)
    whole = reconstruction_quality(model, images), reconstruct(model, placed(model, images))
    monkeypatch.setattr("doubleback.tensors.BATCH_VALUES", 7 * 16)
    parts = reconstruction_quality(model, images), reconstruct(model, placed(model, images))
    assert parts[0] == pytest.approx(whole[0])
    assert torch.allclose(parts[1], whole[1])


def test_one_noise_for_all(images: Tensor) -> None:
    torch.manual_seed(0)
    model = VAE((1, 4, 4), hidden=(8,), latent=2)
    x, noise = placed(model, images), torch.randn(2)
    expected = model(x, noise.expand(40, 2)).likelihood.mean
    assert torch.allclose(reconstruct(model, x, noise), expected)
    assert not torch.allclose(reconstruct(model, x), expected)


@pytest.mark.parametrize("fails", [False, True])
def test_evaluation_mode_is_lent_to_each_part(fails: bool) -> None:
    """A frozen layer stays frozen, also where what is evaluated fails."""
    model = VAE((1, 4, 4), hidden=(8,)).train()
    model.decoder.eval()
    with pytest.raises(ZeroDivisionError) if fails else nullcontext(), evaluating(model):
        assert not any(part.training for part in model.modules())
        _ = 1 // (not fails)
    assert model.training
    assert model.encoder.training
    assert not any(part.training for part in model.decoder.modules())
    with evaluating(Thresholds()):
        pass


class Thresholds:
    """Scores (0, 10 m, 20 m - 10) of an image of mean m: classes 0 < 1 < 2, ties at m = 0 and m = 1."""

    classes = (0, 1, 2)

    def __call__(self, x: Tensor) -> Tensor:
        m = x.mean((1, 2, 3))
        return torch.stack([0 * m, 10 * m, 20 * m - 10], 1)


def flat_images(*values: int) -> Tensor:
    return torch.tensor(values, dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 1, 4, 4).contiguous()


def test_a_classifier_by_hand() -> None:
    """m = 0 ties 0 with 1 and goes to 0, m = 1 ties 1 with 2 and goes to 1; 0.4 is a clear 1."""
    split = Split(flat_images(0, 255, 102, 102), torch.tensor([0, 2, 1, 0]))
    found = classification_quality(Thresholds(), split)
    scores = torch.tensor([[0, 0, -10], [0, 10, 10], [0, 4, -2], [0, 4, -2]], dtype=torch.float64)
    expected = torch.logsumexp(scores, 1) - scores[torch.arange(4), split.labels]
    assert found == {"accuracy": 0.5, "cross_entropy": pytest.approx(expected.mean().item(), rel=1e-6)}


def test_batches_do_not_matter_to_a_classifier(images: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last batch is smaller: a mean of means would weigh it wrongly."""
    torch.manual_seed(0)
    model, split = MLP((1, 4, 4), (0, 1, 2), hidden=(8,)), Split(images, torch.arange(40) % 3)
    whole = classification_quality(model, split)
    monkeypatch.setattr("doubleback.tensors.BATCH_VALUES", 7 * 16)
    assert classification_quality(model, split) == pytest.approx(whole)
    doubled = classification_quality(model.double(), split)
    assert doubled == pytest.approx(whole, rel=1e-5)


@pytest.mark.usefixtures("unchecked")
def test_a_classifier_needs_labels(images: Tensor) -> None:
    with pytest.raises(InputError, match="no labels"):
        classification_quality(Thresholds(), Split(images))


def test_what_a_model_does_not_allow_is_none_with_its_reason(images: Tensor) -> None:
    class Rounded(LinearAutoencoder):
        def forward(self, x: Tensor, noise: Tensor | None = None) -> Reconstruction:
            return super().forward(Undifferentiable.apply(x), noise)

    found, plain = evaluate(Rounded(), images), evaluate(LinearAutoencoder(), images)
    assert found["latent_jacobian"] == plain["latent_jacobian"]
    assert found["output_jacobian"]["frobenius"] == pytest.approx(plain["output_jacobian"]["frobenius"])
    assert found["output_jacobian"]["spectral"] is None
    assert found["not_measured"].keys() == {"output_jacobian.spectral"}
    assert "RuntimeError" in found["not_measured"]["output_jacobian.spectral"]
    assert found["input_gradient_norm"] > 0
    assert "not_measured" not in plain
