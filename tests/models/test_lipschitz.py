"""The autoencoder with a proven Lipschitz constant, and the certificate that follows from it."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import doubleback
from doubleback.data import ImageData, Split
from doubleback.defences import defended
from doubleback.errors import InputError
from doubleback.metrics.certificate import certified_auddc
from doubleback.metrics.curve import DistortionCurve
from doubleback.models import LipschitzAE
from doubleback.models.lipschitz import SemiOrthogonal, SortedPairs

SHAPE = (1, 6, 6)


def made(slope: float = 1.5) -> LipschitzAE:
    torch.manual_seed(0)
    return LipschitzAE(SHAPE, hidden=(16, 8), latent=6, slope=slope).eval()


def trained(slope: float) -> tuple[LipschitzAE, torch.Tensor]:
    model = made(slope)
    x = (torch.rand(64, *SHAPE, generator=torch.Generator().manual_seed(0)).round() * 255).byte()
    doubleback.fit(model, ImageData("own", Split(x), Split(x), Split(x)), epochs=15, batch_size=16, progress=False)
    return model.eval(), x


def test_the_constant_is_that_of_the_weights_after_training_too() -> None:
    model, _ = trained(1.5)
    assert model.lipschitz == pytest.approx(1.5, rel=1e-5)
    with torch.no_grad():  # weights that are no longer orthogonal, as those of another file could be
        layer = model.decoder[-1]
        nn.utils.parametrize.remove_parametrizations(layer, "weight")
        layer.weight.mul_(3)
    assert model.lipschitz == pytest.approx(4.5, rel=1e-5)


def test_no_change_is_stretched_by_more_and_some_by_nearly_as_much() -> None:
    model, x = trained(1.5)
    x = x.float() / 255
    J = torch.stack([torch.func.jacrev(lambda one: model(one[None]).likelihood.mean[0])(row) for row in x[:8]])
    largest = torch.linalg.matrix_norm(J.view(8, 36, 36), 2)
    assert (largest <= 1.5 + 1e-4).all()
    assert (largest > 1.2).any()


@settings(deadline=None)
@given(n=st.integers(1, 12), m=st.integers(1, 12), size=st.floats(0, 30), seed=st.integers(0, 99))
def test_any_matrix_becomes_one_that_keeps_lengths(n: int, m: int, size: float, seed: int) -> None:
    W = size * torch.randn(n, m, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    Q = SemiOrthogonal()(W)
    tall = Q if n >= m else Q.T
    assert torch.allclose(tall.T @ tall, torch.eye(min(n, m), dtype=torch.float64), atol=1e-9)


def test_a_square_matrix_is_the_cayley_transform_of_torch() -> None:
    layer = nn.Linear(6, 6, dtype=torch.float64)
    torch.nn.utils.parametrizations.orthogonal(layer, orthogonal_map="cayley", use_trivialization=False)
    given = layer.parametrizations.weight.original.detach()  # of which torch reads the part under the diagonal
    lower = given.tril(-1)
    assert torch.allclose(SemiOrthogonal()(lower / -2), layer.weight, atol=1e-12)


def test_lengths_are_kept_in_bf16_training_too() -> None:
    model = made()
    with torch.autocast("cpu", torch.bfloat16):
        Q = model.decoder[-1].weight
    assert Q.dtype == torch.float32
    assert torch.allclose(Q.T @ Q, torch.eye(Q.shape[1]), atol=1e-5)


def test_its_gradient_is_right() -> None:
    W = torch.randn(5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0), requires_grad=True)
    assert torch.autograd.gradcheck(SemiOrthogonal(), W)
    assert torch.autograd.gradgradcheck(SemiOrthogonal(), W)


def test_units_sort_two_by_two_and_keep_lengths() -> None:
    x = torch.tensor([[1.0, 3.0, 2.0, -1.0]])
    assert SortedPairs()(x).tolist() == [[3.0, 1.0, 2.0, -1.0]]


@given(
    lipschitz=st.floats(0.1, 10), apart=st.floats(0.1, 5), floor=st.floats(0, 2), gain=st.floats(0.05, 5)
)  # fmt: skip
def test_the_certificate_is_the_area_under_the_lowest_curve_that_is_possible(
    lipschitz: float, apart: float, floor: float, gain: float
) -> None:
    u = np.linspace(0, 1, 20_001)
    lowest = (np.maximum(floor + gain - lipschitz * apart * u, 0) - floor) / gain
    wanted = np.trapezoid(lowest, u) if hasattr(np, "trapezoid") else np.trapz(lowest, u)
    found = certified_auddc(lipschitz, *(np.array([one]) for one in (apart, floor + gain, floor)))
    assert found[0] == pytest.approx(wanted, abs=1e-6 * max(1, lipschitz * apart / gain))


def test_no_attack_comes_below_the_certificate() -> None:
    model, x = trained(1.5)
    found = doubleback.audit(model, x, pairs=6, coefficients=8, steps=80, progress=False)
    measured = found.auddc("worst_case")
    kept = ~found.flagged
    assert kept.sum() >= 3
    assert (measured[kept] >= found.certified[kept] - 1e-4).all()
    assert found.results()["certified"]["mean"] == pytest.approx(found.certified[kept].mean())
    assert "certified" in found.summary()
    assert isinstance(found.curves("worst_case")[int(np.flatnonzero(kept)[0])], DistortionCurve)


def test_what_is_proven_of_a_model_is_not_proven_of_a_defence_about_it() -> None:
    assert getattr(defended(made(), ["smooth:0.1"]), "lipschitz", None) is None
    assert getattr(doubleback.VAE(SHAPE), "lipschitz", None) is None


@pytest.mark.parametrize(
    ("settings", "said"),
    [({"hidden": (5,)}, "even widths"), ({"slope": 0.0}, "slope"), ({"likelihood": "bernoulli"}, "takes gaussian"),
     ({"latent": 0}, "latent"), ({"variational": True}, "no KL")],
)  # fmt: skip
def test_what_cannot_be_proven_is_refused(settings: dict[str, object], said: str) -> None:
    with pytest.raises(InputError, match=said):
        LipschitzAE(SHAPE, **settings)  # type: ignore[arg-type]


def test_an_audit_works_its_weights_out_once(monkeypatch: pytest.MonkeyPatch) -> None:
    model, x = trained(1.5)
    worked: list[int] = []
    layer = model.encoder[0].parametrizations.weight[0]
    own = type(layer).forward
    monkeypatch.setattr(type(layer), "forward", lambda self, *given: worked.append(1) or own(self, *given))
    doubleback.audit(model, x, pairs=2, coefficients=3, steps=10, progress=False)
    assert 0 < len(worked) < 100


def test_its_weights_come_back_from_a_file() -> None:
    model, other = made(), made(2.0)
    for one in other.parameters():
        nn.init.normal_(one)
    other.load_state_dict(model.state_dict())
    x = torch.rand(2, *SHAPE)
    assert torch.equal(made()(x).likelihood.mean, model(x).likelihood.mean)
    other.slope = model.slope
    assert torch.allclose(other(x).likelihood.mean, model(x).likelihood.mean, atol=1e-6)
