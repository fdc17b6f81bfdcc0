"""Anyone's model as a victim: shapes inferred, ranges kept apart, left as it was found, asked as it is deployed."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import doubleback
from doubleback.auditing.filling import FILL
from doubleback.data import ImageData
from doubleback.errors import InputError
from doubleback.evaluation import reconstruction_quality
from doubleback.models import Autoencoder, Wrapped, wrap
from doubleback.models.base import attacked
from doubleback.settings import Range
from doubleback.state import at_work

X = torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))


class Conv(nn.Module):
    """A convolutional VAE with a code (2, 4, 4), over [-1, 1]."""

    def __init__(self) -> None:
        super().__init__()
        self.down, self.up = nn.Conv2d(1, 4, 2, 2), nn.ConvTranspose2d(2, 1, 2, 2)

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_var = self.down(x).chunk(2, 1)
        return mean, log_var

    def decode(self, z: Tensor) -> dict[str, Tensor]:
        return {"sample": self.up(z).tanh(), "z": z}

    def forward(self, x: Tensor) -> Tensor:
        return self.decode(self.encode(x)[0])["sample"]


def shown(victim: Autoencoder, x: Tensor = X) -> Tensor:
    with at_work(victim), torch.no_grad():
        return victim(x).likelihood.mean


def test_a_module_with_encode_and_decode() -> None:
    net = Conv()
    victim = wrap(net, input=(-1, 1))
    assert isinstance(victim, Autoencoder)
    victim.meet(X)
    assert (victim.noise_shape, victim.variational) == ((2, 4, 4), True)
    with torch.no_grad():
        torch.testing.assert_close(shown(victim), (net(2 * X - 1) + 1) / 2)
        noise = torch.randn(4, 2, 4, 4)
        mean, log_var = net.encode(2 * X - 1)
        drawn = net.decode(mean + (log_var / 2).exp() * noise)["sample"]
        torch.testing.assert_close(victim(X, noise).likelihood.mean, ((drawn + 1) / 2).clamp(0, 1))


def test_input_and_output_have_ranges_of_their_own() -> None:
    """An encoder that normalises, and a decoder that ends in a sigmoid: its output is scaled once, by nothing."""
    seen: list[Tensor] = []

    def encode(x: Tensor) -> Tensor:
        seen.append(x)
        return x.flatten(1)

    def decode(z: Tensor) -> Tensor:
        return z.view(-1, 1, 8, 8).sigmoid()

    kept = shown(wrap(encode=encode, decode=decode, mean=(0.4,), std=(0.2,)))
    torch.testing.assert_close(seen[-1], (X - 0.4) / 0.2)
    torch.testing.assert_close(kept, ((X - 0.4) / 0.2).sigmoid())
    bytes_out = shown(wrap(encode=encode, decode=lambda z: 255 * decode(z), output=Range(0, 255)))
    torch.testing.assert_close(bytes_out, X.sigmoid())
    unit = {"encode": nn.Flatten(), "decode": nn.Unflatten(1, (1, 8, 8))}
    same = wrap(**unit, input=(-1, 1), mean=(0.5,), std=(0.25,), output="normalised")
    torch.testing.assert_close(shown(same), X)
    torch.testing.assert_close(shown(wrap(**unit, output=lambda y: y / 2)), X / 2)


def test_what_comes_out_is_clamped_as_it_would_be_shown_and_both_are_known() -> None:
    victim = wrap(encode=nn.Flatten(), decode=lambda z: (3 * z - 1).view(-1, 1, 8, 8))
    torch.testing.assert_close(shown(victim), (3 * X - 1).clamp(0, 1))
    torch.testing.assert_close(victim.unclamped(X).likelihood.mean, 3 * X - 1)
    x = X.clone().requires_grad_()
    (exact,) = torch.autograd.grad(victim(x).likelihood.mean.sum(), x)
    (followed,) = torch.autograd.grad(attacked(victim)(x).likelihood.mean.sum(), x)
    assert set(exact.unique().tolist()) == {0.0, 3.0}
    assert set(followed.unique().tolist()) == {3.0}
    found = doubleback.audit(victim, X, pairs=2, coefficients=2, steps=2, progress=False)
    assert found.results()["reconstruction_l2_unclamped"] > found.results()["reconstruction_l2"]


def test_forward_alone_has_an_output_and_no_code() -> None:
    victim = wrap(nn.Conv2d(1, 1, 3, padding=1))
    found = doubleback.audit(victim, X, pairs=2, coefficients=2, steps=2, progress=False).results()
    assert set(found["attacks"]) == {"output", "worst_case"}
    with pytest.raises(InputError, match="has no code"):
        doubleback.audit(victim, X, pairs=2, attacks=["latent"], progress=False)


def test_encode_alone_has_a_code_and_no_output() -> None:
    victim = wrap(encode=nn.Sequential(nn.Flatten(), nn.Linear(64, 5)))
    found = doubleback.audit(victim, X, pairs=3, coefficients=6, steps=40, progress=False)
    results = found.results()
    assert set(results["attacks"]) == {"latent", "worst_case"}
    assert results["attacks"]["latent"]["auddc"]["envelope"]["mean"] < results["ceiling"]["mean"]
    assert results["reconstruction_l2"] is None
    with pytest.raises(InputError, match="has no decoder"):
        doubleback.audit(victim, X, pairs=2, attacks=["output"], progress=False)


@pytest.mark.parametrize("shape", [(24, 7), (24, 2, 16), (24, 3, 4, 4)])
def test_signals_of_any_shape(shape: tuple[int, ...]) -> None:
    size = torch.Size(shape[1:]).numel()
    net = nn.Sequential(nn.Flatten(), nn.Linear(size, 4), nn.Linear(4, size), nn.Unflatten(1, shape[1:]))
    victim = wrap(encode=net[:2], decode=net[2:])
    x = torch.rand(shape)
    found = doubleback.audit(victim, x, pairs=2, coefficients=3, steps=10, progress=False)
    assert found.points["output"].distortion.shape == (2, 4 + FILL)
    assert all(finding.ok for finding in doubleback.check(victim, x) if finding.name == "runs")


def test_a_rounded_code_is_attacked_as_its_straight_through_twin() -> None:
    """Levels of a quarter: the values are the same, and so is every curve."""

    def encode(x: Tensor) -> Tensor:
        return 4 * x.flatten(1)

    def image(z: Tensor) -> Tensor:
        return z.view(-1, 1, 8, 8) / 4

    rounding = wrap(encode=encode, decode=lambda z: image(z.round()))
    twin = wrap(encode=encode, decode=lambda z: image(z + (z.round() - z).detach()))
    areas = []
    for victim in (rounding, twin):
        found = doubleback.audit(victim, X, pairs=3, coefficients=8, steps=40, progress=False)
        areas.append(found.auddc("output"))
        assert "vanishing_gradients" not in found.results()["attacks"]["output"]["flags"]
    assert areas[0] == pytest.approx(areas[1], abs=1e-6)
    assert torch.equal(shown(rounding), shown(twin))


def test_what_hides_its_gradient_otherwise_is_flagged_whatever_is_attacked_beside_it() -> None:
    victim = wrap(encode=lambda x: 8 * x.flatten(1), decode=lambda z: (z.long().float() / 8).view(-1, 1, 8, 8))
    results = doubleback.audit(victim, X, pairs=3, coefficients=3, steps=5, progress=False).results()
    assert "vanishing_gradients" in results["attacks"]["output"]["flags"]
    assert "vanishing_gradients" not in results["attacks"]["latent"]["flags"]
    assert {"vanishing_gradients", "gradient_output"} <= set(results["flags"])
    assert (
        "! vanishing_gradients"
        in doubleback.audit(victim, X, pairs=3, coefficients=3, steps=5, progress=False).summary()
    )


def test_a_surrogate_is_attacked_and_the_real_one_is_scored() -> None:
    asked: list[str] = []

    def named(name: str) -> Any:
        def forward(x: Tensor) -> Tensor:
            asked.append(f"{name} {x.requires_grad}")
            return x.square() if name == "real" else x

        return forward

    victim = wrap(named("real"), surrogate=named("twin"))
    attack = doubleback.Attack(doubleback.Output(), doubleback.Price((1.0,)), doubleback.Search(steps=3))
    attack(victim, X[:1], X[1:2])
    assert {"twin True"} <= set(asked)
    assert "real True" not in asked
    torch.testing.assert_close(shown(victim), X.square())


def test_everything_is_left_as_it_was_found() -> None:
    net = nn.ModuleDict(
        {
            "e": nn.Sequential(nn.Conv2d(1, 4, 2, 2), nn.BatchNorm2d(4), nn.Flatten(), nn.Dropout(0.5)),
            "d": nn.Sequential(nn.Unflatten(1, (4, 4, 4)), nn.ConvTranspose2d(4, 1, 2, 2), nn.Sigmoid()),
        }
    )
    net.train()
    net["d"].eval()
    net["e"][0].weight.requires_grad_(False)
    victim = wrap(encode=lambda x: net["e"](x), decode=lambda z: net["d"](z))
    before = {name: value.clone() for name, value in net.state_dict().items()}
    modes, state = [part.training for part in net.modules()], torch.get_rng_state()
    found = doubleback.audit(victim, X, pairs=3, coefficients=2, steps=3, progress=False)
    assert "rows" not in found.results()["flags"]
    assert [part.training for part in net.modules()] == modes
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert not net["e"][0].weight.requires_grad
    assert all(parameter.grad is None for parameter in net.parameters())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_a_model_works_in_its_own_precision(dtype: torch.dtype) -> None:
    seen: list[torch.dtype] = []
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 64)).to(dtype)
    net[1].register_forward_pre_hook(lambda _, given: seen.append(given[0].dtype))
    victim = wrap(encode=net, decode=nn.Unflatten(1, (1, 8, 8)))
    found = doubleback.audit(victim, X, pairs=2, coefficients=2, steps=3, progress=False)
    assert set(seen) == {dtype}
    wide = torch.float64 if dtype == torch.float64 else torch.float32
    assert victim.takes[1] == wide
    assert found.points["output"].distortion.dtype == "float64"


def test_sides_that_are_no_multiple_are_padded_inside() -> None:
    seen: list[torch.Size] = []

    def forward(x: Tensor) -> Tensor:
        seen.append(x.shape)
        return x

    x = torch.rand(2, 1, 9, 14)
    torch.testing.assert_close(shown(wrap(forward, multiple=8), x), x)
    assert seen[-1] == (2, 1, 16, 16)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"net": 3}, "a int cannot be called"),
        ({"net": None}, "cannot be called"),
        ({"decode": nn.Identity()}, "decode is given without encode"),
        ({"net": nn.Identity(), "encode": "embed"}, "encode is 'embed', which cannot be called"),
        ({"net": nn.Identity(), "input": (1, 0)}, "low below high"),
        ({"net": nn.Identity(), "input": 1}, "give Range"),
        ({"net": nn.Identity(), "output": (0, float("inf"))}, "low below high"),
        ({"net": nn.Identity(), "std": (0.0,)}, "positive std"),
        ({"net": nn.Identity(), "bitstreams": True}, "bitstreams is not a setting"),
    ],
)
def test_what_wrap_refuses(given: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says):
        wrap(**given)


@pytest.mark.parametrize(
    ("victim", "says"),
    [
        (wrap(nn.Linear(3, 3)), "the model fails on an image of shape"),
        (wrap(nn.Conv2d(1, 1, 3)), "no tensor of the images' shape"),
        (wrap(encode=lambda x: (x, x, x), decode=nn.Identity()), "ambiguous or unknown"),
        (wrap(encode=nn.Flatten(), decode=lambda z: SimpleNamespace(a=z)), "no tensor of the images' shape"),
        (wrap(nn.Identity(), mean=(0.1, 0.2, 0.3)), "mean or std has 3 numbers"),
    ],
)
def test_what_does_not_fit_is_said_before_the_first_attack(victim: Wrapped, says: str) -> None:
    with pytest.raises(InputError, match=says):
        doubleback.audit(victim, X, pairs=2, progress=False)


def test_a_script_and_an_exported_program() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.Sigmoid(), nn.Unflatten(1, (1, 8, 8))).eval()
    with torch.no_grad():
        plain = net(X)
    torch.testing.assert_close(shown(wrap(torch.export.export(net, (X[:3],)))), plain)  # batches of three, no other
    assert wrap(torch.export.export(net, (X[:3],))).parts.batch == 3


@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")
def test_torchscript() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.Sigmoid(), nn.Unflatten(1, (1, 8, 8))).eval()
    torch.testing.assert_close(shown(wrap(torch.jit.trace(net, X))), net(X).detach())


def test_it_can_be_trained(tiny: ImageData) -> None:
    torch.manual_seed(0)
    victim = wrap(Conv(), input=(-1, 1))
    before = reconstruction_quality(victim, tiny.test.images)["reconstruction_l2"]
    doubleback.fit(victim, tiny.train.images, epochs=5, progress=False)
    after = reconstruction_quality(victim, tiny.test.images)["reconstruction_l2"]
    assert before is not None
    assert after is not None
    assert after < before
