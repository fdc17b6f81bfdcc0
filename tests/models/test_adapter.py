"""Someone else's encoder and decoder: their range and normalisation inside, images in [0, 1] outside."""

import pytest
import torch
from torch import Tensor, nn

from doubleback.attacks import latent_attack
from doubleback.errors import InputError
from doubleback.models import Autoencoder, AutoencoderAdapter


def test_encoder_sees_its_own_range() -> None:
    """Bounds -1..1, then a normalisation by channel."""
    seen: list[Tensor] = []

    def encoder(x: Tensor) -> Tensor:
        seen.append(x)
        return x.flatten(1)

    model = AutoencoderAdapter(
        encoder, lambda z: z.view(-1, 2, 1, 1), latent=2, bounds=(-1, 1), mean=(0.5, 0.0), std=(0.5, 2.0)
    )
    x = torch.tensor([0.25, 1.0]).view(1, 2, 1, 1)
    r = model(x)
    assert seen[0].flatten().tolist() == [(-0.5 - 0.5) / 0.5, 1.0 / 2.0]
    assert torch.allclose(r.likelihood.mean, x)


def test_variational_and_plain_codes() -> None:
    x = torch.rand(3, 1, 2, 2)
    plain = AutoencoderAdapter(nn.Flatten(), nn.Unflatten(1, (1, 2, 2)), latent=4)
    assert torch.equal(plain.encode(x).log_var, torch.zeros(3, 4))
    assert torch.equal(plain(x, torch.randn(3, 4)).likelihood.mean, x)
    pair = AutoencoderAdapter(
        lambda x: (x.flatten(1), x.flatten(1) - 1), nn.Unflatten(1, (1, 2, 2)), latent=4, variational=True
    )
    assert torch.equal(pair.encode(x).log_var, x.flatten(1) - 1)
    assert not torch.allclose(pair(x, torch.randn(3, 4)).likelihood.mean, x)


@pytest.mark.parametrize("variational", [False, True])
def test_an_encoder_of_the_other_kind(variational: bool) -> None:
    encoder = nn.Flatten() if variational else lambda x: (x.flatten(1), x.flatten(1))
    model = AutoencoderAdapter(encoder, nn.Unflatten(1, (1, 2, 2)), latent=4, variational=variational)
    with pytest.raises(InputError, match=f"pass variational={not variational}"):
        model.encode(torch.rand(1, 1, 2, 2))


def test_it_can_be_attacked_and_its_modules_are_found() -> None:
    model = AutoencoderAdapter(
        nn.Sequential(nn.Flatten(), nn.Linear(4, 2)),
        nn.Sequential(nn.Linear(2, 4), nn.Unflatten(1, (1, 2, 2))),
        latent=2,
    ).eval()
    assert isinstance(model, Autoencoder)
    assert len(list(model.parameters())) == 4
    source, target = torch.rand(2, 2, 1, 2, 2, generator=torch.Generator().manual_seed(0))
    found = latent_attack(model, source, target, coefficients=torch.tensor([0.0]), steps=100)
    start = model.encode(source).kl(model.encode(target))
    assert (found.objective[:, 0] < 0.5 * start).all()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"bounds": (1.0, 0.0)}, "bounds are"),
        ({"latent": 0}, "latent is 0"),
        ({"std": (0.0,)}, "std"),
        ({"variance": -1.0}, "variance -1.0"),
    ],
)
def test_bad_settings(settings: dict[str, object], said: str) -> None:
    with pytest.raises(InputError, match=said):
        AutoencoderAdapter(nn.Flatten(), nn.Flatten(), **{"latent": 4, **settings})  # type: ignore[arg-type]
