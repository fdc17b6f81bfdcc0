"""An audit within budgets: its record, its worst case, its measures, its checks; damage beside AUDDC; holes filled."""

import json
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import doubleback
from doubleback.attacks import Attack, Damage, Latent, Output, Own, Rate, Scores
from doubleback.attacks.goals import Layers
from doubleback.auditing import Audited, audit, check
from doubleback.data import ImageData
from doubleback.distributions import DiagonalGaussian, Gaussian
from doubleback.errors import InputError
from doubleback.metrics.curve import DistortionCurve, holes, resolution
from doubleback.metrics.images import ms_ssim
from doubleback.models import VAE, Reconstruction, Surviving
from doubleback.settings import Budget, Search
from doubleback.tensors import as_unit
from doubleback.trust import Judged

QUICK: dict[str, Any] = {"steps": 8, "progress": False}


@pytest.fixture(scope="module")
def found(vae: VAE, tiny: ImageData) -> Audited:
    return audit(vae, tiny, pairs=6, norm="Linf", eps=["8/255", 0.1], queries=20, **QUICK)


def test_the_record_has_every_eps_as_it_was_typed(found: Audited, vae: VAE, tiny: ImageData) -> None:
    results = json.loads(json.dumps(found.results(), allow_nan=False))
    names = [attack.name for attack in found.attacks]
    assert names == ["untargeted", *names[1:-1], "scores"]
    x = as_unit(tiny.test.images[found.source_index])
    for name in names:
        of = results["attacks"][name]["budgets"]["Linf"]
        assert list(of) == ["8/255", "0.1"]
        for column, typed in enumerate(of):
            values = found.points[name].further["damage"][:, column]
            assert of[typed]["mean"] == pytest.approx(values.mean())
            assert of[typed]["ci95"][0] <= of[typed]["mean"] <= of[typed]["ci95"][1]
            assert {"psnr", "ms_ssim", "ms_ssim_input", "kl_symmetric", "adversarial_distance"} <= set(of[typed])
        assert results["attacks"][name]["auddc"]["envelope"]["mean"] is None
    shown = as_unit(torch.from_numpy(found.gallery["untargeted/eps/x_adv"][:, 1]))
    assert ((shown - x).abs().flatten(1).amax(1) <= 0.1 + 1 / 255).all()
    with torch.no_grad():
        moved = (vae(shown).likelihood.mean - vae(x).likelihood.mean).flatten(1).norm(dim=1)
    assert np.allclose(moved, found.points["untargeted"].further["damage"][:, 1], rtol=0.05)  # its pixels are rounded


def test_the_worst_is_taken_image_by_image(found: Audited) -> None:
    every = np.stack([found.points[attack.name].further["damage"] for attack in found.attacks])
    worst = found.results()["damage"]["Linf"]
    assert [worst[eps]["mean"] for eps in ("8/255", "0.1")] == pytest.approx(every.max(0).mean(0).tolist())


def test_budgets_attack_pairs_that_have_no_curve_too(tiny: ImageData) -> None:
    torch.manual_seed(0)
    flat = VAE(tiny.image_shape, hidden=(8,), latent=2).eval()  # untrained: every reconstruction is alike
    results = audit(flat, tiny, pairs=5, eps="8/255", attacks=["untargeted"], **QUICK).results()
    assert results["pairs"]["flagged"] == 5
    assert results["damage"]["Linf"]["8/255"]["mean"] > 0


def test_relative_budgets_have_a_curve(vae: VAE, tiny: ImageData) -> None:
    levels = ["0.1", "0.3", "0.6", "1"]
    given = {"norm": "L2", "eps": levels, "relative": True}
    results = audit(vae, tiny, pairs=4, attacks=["output"], **given, **QUICK).results()
    assert 0 < results["attacks"]["output"]["auddc"]["envelope"]["mean"] < 1
    assert list(results["attacks"]["output"]["budgets"]["L2 relative"]) == levels
    assert list(results["damage"]) == ["area", "relative", "L2 relative"]


def test_every_audit_has_a_damage_curve(vae: VAE, tiny: ImageData) -> None:
    found = audit(vae, tiny, pairs=4, coefficients=3, **QUICK)
    damage = found.results()["damage"]
    share = found.points["damage"].further["damage"] / found.way[:, None]
    share = np.maximum.accumulate(share[~found.flagged], axis=1)
    u = np.array([0, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1])
    area = [np.trapezoid(np.r_[0, row], u) for row in share]
    assert damage["area"]["mean"] == pytest.approx(np.mean(area))
    assert [one["mean"] for one in damage["relative"].values()] == pytest.approx(share.mean(0).tolist())
    assert "damage, area over the distortion" in str(found)


def test_holes_are_filled(vae: VAE, tiny: ImageData) -> None:
    """Few coefficients and many find the same area; of a reward without a minimiser the curve has points where it is
    steep."""
    few, many = (audit(vae, tiny, pairs=4, coefficients=c, steps=60, progress=False, attacks=["output", "untargeted"])
                 for c in (2, 25))  # fmt: skip
    for name in ("output", "untargeted"):
        assert np.allclose(few.auddc(name), many.auddc(name), atol=0.02)
        assert (few.resolution(name) < 0.06).all()
    used = ~many.flagged
    u = many.points["untargeted"].distortion[used]
    assert (((u > 0.02) & (u < 0.4)).sum(1) >= 3).all()


def test_the_resolution_bounds_what_is_not_known() -> None:
    assert holes([1.5], [0.2]) == [(0.0, 1.5, 0.8)]
    assert resolution(([1.5], [0.2])) == pytest.approx(0.8, abs=0.01)  # nothing is known within u <= 1
    rng = np.random.default_rng(0)
    for _ in range(20):
        u = np.sort(rng.random(30))
        v = 1 - u ** rng.uniform(0.3, 3)
        whole = DistortionCurve.envelope(u, v).area()
        some = np.r_[rng.permutation(29)[:6], 29]  # C = 0 gives the lowest that is to be had
        drawn = DistortionCurve.envelope(u[some], v[some])
        assert drawn.area() - whole <= resolution((u[some], v[some])) + 0.01


def test_a_function_is_a_goal(vae: VAE, tiny: ImageData) -> None:
    def darker(out: Reconstruction, x: Tensor) -> Tensor:
        """Makes the reconstruction dark."""
        del x
        return out.likelihood.mean.flatten(1).mean(1)

    found = audit(vae, tiny, pairs=3, eps=0.1, attacks=[darker], **QUICK)
    assert found.results()["attacks"]["darker"]["about"] == "Makes the reconstruction dark."
    x = as_unit(tiny.test.images[:3])
    x_adv = Attack(Own(darker), Budget("Linf", [0.1]), Search(steps=20))(vae, x, x).x_adv[:, 0]
    with torch.no_grad():
        assert (darker(vae(x_adv), x_adv) < darker(vae(x), x)).all()
    with pytest.raises(InputError, match="give one number each"):
        audit(vae, tiny, pairs=3, eps=0.1, attacks=[lambda out, x: x], **QUICK)


def test_a_rate_is_asked_of_a_codec_only(vae: VAE, tiny: ImageData) -> None:
    with pytest.raises(InputError, match="this model has no rate"):
        audit(vae, tiny, pairs=3, eps=0.1, attacks=["rate"], **QUICK)

    class Codec(VAE):
        """Its bits are those of a code of unit bins."""

        def forward(self, x, noise=None):  # type: ignore[no-untyped-def]
            made = super().forward(x, noise)
            bits = made.posterior.mean.abs().flatten(1).sum(1)
            return Reconstruction(made.posterior, made.likelihood, rate=bits / x[0, 0].numel())

    codec = Codec(tiny.image_shape, hidden=(64,), latent=8).eval()
    codec.load_state_dict(vae.state_dict())
    x = as_unit(tiny.test.images[:4])
    free, held = (
        Attack(Rate(hold), Budget("Linf", [0.1]), Search(steps=40))(codec, x, x).x_adv[:, 0] for hold in (0.0, 1e-3)
    )
    with torch.no_grad():
        rate = [codec(z).rate.mean().item() for z in (x, held, free)]
        moved = [(codec(z).likelihood.mean - codec(x).likelihood.mean).square().mean().item() for z in (held, free)]
    assert rate[0] < rate[1] < rate[2]
    assert moved[0] < moved[1]


class Rounded(nn.Module):
    """A VAE whose encoder sees few grey levels: no gradient reaches the input."""

    def __init__(self, vae: VAE, how: str) -> None:
        super().__init__()
        self.vae, self.how = vae, how
        self.noise_shape = vae.noise_shape

    def _seen(self, x: Tensor) -> Tensor:
        if self.how == "rounds":
            return (x * 15).round() / 15
        if self.how == "saturates":
            return torch.sigmoid(200 * (x - 0.5))
        if self.how == "noisy":
            return (x + 0.1 * torch.randn_like(x)).clamp(0, 1)
        return x.detach() + 0 * x if self.how == "silent" and not self.training else x

    def encode(self, x, noise=None):  # type: ignore[no-untyped-def]
        return self.vae.encode(self._seen(x), noise)

    def forward(self, x, noise=None):  # type: ignore[no-untyped-def]
        return self.vae(self._seen(x), noise)


@pytest.mark.parametrize(
    ("how", "flags"),
    [
        ("rounds", {"vanishing_gradients"}),
        ("silent", {"vanishing_gradients"}),
        ("saturates", {"black_box_beats_white_box", "noise_beats_gradient", "more_steps_help", "vanishing_gradients"}),
        ("noisy", {"single_noise", "deterministic"}),
        ("honest", set()),
    ],
)
def test_planted_masks_are_flagged_and_an_honest_model_is_not(
    vae: VAE, tiny: ImageData, how: str, flags: set[str]
) -> None:
    model = Rounded(vae, how).eval()
    results = audit(model, tiny, pairs=8, norm="Linf", eps=[0.1], steps=40, attacks=["untargeted"], progress=False)
    raised = set(results.results()["flags"])
    assert bool(raised & flags) if flags else not raised, raised


def test_what_survives_is_attacked_and_scored_behind_the_channel(vae: VAE, tiny: ImageData) -> None:
    x = as_unit(tiny.test.images[:6])
    behind = Surviving(vae, ["quantize:3"])
    eps = 0.05
    naive = Attack(Damage(), Budget("Linf", [eps]), Search(steps=30))(vae, x, x).x_adv[:, 0]
    through = Attack(Damage(), Budget("Linf", [eps]), Search(steps=30))(behind, x, x).x_adv[:, 0]
    with torch.no_grad():
        before = behind(x).likelihood.mean
        moved = [(behind(z).likelihood.mean - before).flatten(1).norm(dim=1).mean() for z in (naive, through)]
    assert moved[1] >= moved[0]
    found = audit(vae, tiny, pairs=4, eps=[eps], attacks=["untargeted"], survive=["quantize:8", "jpeg:60"], **QUICK)
    assert found.results()["damage"]["Linf"]["0.05"]["mean"] > 0


def test_a_whole_attack_has_its_own_budget(vae: VAE, tiny: ImageData) -> None:
    attacks = [Attack(Damage(), Budget("L2", [0.5]), name="l2"), Attack(Output(), Budget("Linf", [0.1]))]
    results = audit(vae, tiny, pairs=3, attacks=[*attacks, Attack(Latent())], progress=False).results()
    assert list(results["damage"])[2:] == ["L2", "Linf"]
    assert results["attacks"]["latent"]["auddc"]["envelope"]["mean"] is not None
    assert results["attacks"]["worst_case"]["auddc"]["envelope"]["mean"] is not None
    with pytest.raises(InputError, match="eps has no effect on whole attacks"):
        audit(vae, tiny, pairs=3, attacks=attacks, eps=[0.1], **QUICK)


def test_checks_take_budgets(vae: VAE, tiny: ImageData) -> None:
    findings = check(vae, tiny, settings=doubleback.settings.Auditing().changed(eps=["8/255"], queries=30))
    assert any(finding.name == "gradient_untargeted" for finding in findings)
    assert all(finding.ok for finding in findings)


def test_scores_of_signals_are_refused_before_the_first_attack(monkeypatch: pytest.MonkeyPatch) -> None:
    net = nn.Module()
    net.encoder, net.decoder = nn.Linear(12, 4), nn.Linear(4, 12)
    attacked: list[str] = []
    monkeypatch.setattr("doubleback.auditing.plan.Plan.run", lambda *_, **__: attacked.append("too late"))
    signals = torch.rand(8, 12, generator=torch.Generator().manual_seed(0))
    with pytest.raises(InputError, match="Square searches pictures"):
        audit(doubleback.wrap(net), signals, pairs=2, eps=[0.1], queries=20, **QUICK)
    assert not attacked


class Coded(nn.Module):
    """A rate, and two layers, that all hang on the noise; with an output of the image alone, or of the noise, too."""

    noise_shape = (9,)

    def __init__(self, share: float) -> None:
        super().__init__()
        self.layer, self.share = nn.Linear(9, 9), share

    def encode(self, x, noise=None):  # type: ignore[no-untyped-def]
        mean = self.layer(x.flatten(1) + (0 if noise is None else self.share * noise))
        return DiagonalGaussian(mean, torch.zeros_like(mean))

    def forward(self, x, noise=None):  # type: ignore[no-untyped-def]
        q = self.encode(x, noise)
        return Reconstruction(q, Gaussian(q.mean.view_as(x), torch.zeros(())), rate=x.flatten(1).sum(1))


@pytest.mark.parametrize("goal", [Layers("equal"), Rate(hold=1.0), Damage()])
def test_a_source_is_no_nearer_to_its_goal_for_its_noise(goal: Layers | Rate | Damage) -> None:
    """Before and after have the same draw: at the source nothing is moved, whatever the noise does to the answer."""
    x = torch.rand(3, 1, 3, 3, generator=torch.Generator().manual_seed(0))
    noise = torch.randn(3, 9, generator=torch.Generator().manual_seed(1))
    pair = torch.tensor([2, 0, 1])
    nothing = -x[pair].flatten(1).sum(1) if isinstance(goal, Rate) else torch.zeros(3)
    with torch.no_grad():
        loss = goal.loss(Coded(1.0), x, x)
        assert torch.allclose(loss(x[pair], pair, noise), nothing, atol=1e-6)
        assert torch.allclose(loss(x[pair], pair, None), nothing, atol=1e-6)
        assert (loss(x, pair, noise) != nothing).all()


def test_layers_need_a_module(vae: VAE, tiny: ImageData) -> None:
    x = as_unit(tiny.test.images[:3])

    class Plain:
        noise_shape = vae.noise_shape
        encode, __call__ = staticmethod(vae.encode), staticmethod(vae.__call__)

    with pytest.raises(InputError, match="has no layers"):
        Attack(Layers(), Budget("Linf", [0.1]))(Plain(), x, x)  # type: ignore[arg-type]
    weights = Attack(Layers(), Budget("Linf", [0.1]), Search(steps=10))(vae, x, x)
    assert (weights.objective < 0).all()


def test_ms_ssim_is_one_of_the_same_and_falls_with_noise() -> None:
    for side in (8, 28, 64, 180):
        x = torch.rand(2, 1, side, side, generator=torch.Generator().manual_seed(0))
        noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(1))
        values = [ms_ssim((x + scale * noise).clamp(0, 1), x) for scale in (0.0, 0.05, 0.2)]
        assert torch.allclose(values[0], torch.ones(2))
        assert (values[0] > values[1]).all()
        assert (values[1] > values[2]).all()


def test_scores_without_a_budget_are_refused(vae: VAE, tiny: ImageData) -> None:
    with pytest.raises(InputError, match="give a budget"):
        audit(vae, tiny, pairs=3, attacks=[Attack(Damage(), knowledge=Scores(5))], progress=False)


def test_more_pairs_than_are_shown_or_attacked_at_once(
    vae: VAE, tiny: ImageData, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("doubleback.auditing.plan.CHUNK", 10)
    monkeypatch.setattr("doubleback.auditing.plan.audit_checks", lambda *_, **__: Judged())
    found = audit(vae, tiny, pairs=25, eps=[0.1], attacks=["untargeted"], **QUICK)
    assert np.isfinite(found.points["untargeted"].further["damage"]).all()
    assert found.gallery["untargeted/eps/x_adv"][7].any()


def test_images_that_an_attack_breaks_are_said(vae: VAE, tiny: ImageData) -> None:
    class Breaks(nn.Module):
        """Its answer is not finite for an image that is brighter than any of the data."""

        noise_shape = vae.noise_shape

        def __init__(self) -> None:
            super().__init__()
            self.inside = vae

        def encode(self, x, noise=None):  # type: ignore[no-untyped-def]
            return self.inside.encode(x, noise)

        def forward(self, x, noise=None):  # type: ignore[no-untyped-def]
            made = self.inside(x, noise)
            bad = torch.where(x.flatten(1).mean(1) > limit, torch.inf, 1.0).view(-1, 1, 1, 1)
            return Reconstruction(made.posterior, Gaussian(made.likelihood.mean * bad, torch.zeros(())))

    limit = as_unit(tiny.test.images).flatten(1).mean(1).median() + 0.05

    def brighter(out: Reconstruction, x: Tensor) -> Tensor:
        del out
        return -x.flatten(1).mean(1)

    results = audit(Breaks().eval(), tiny, pairs=6, eps=[0.1], attacks=[brighter], **QUICK).results()
    assert "is not finite" in results["flags"]["not_finite"]
    assert "damage" in results["not_measured"]


def test_flagged_pairs_alone_have_no_relative_figures(tiny: ImageData) -> None:
    torch.manual_seed(0)
    flat = VAE(tiny.image_shape, hidden=(8,), latent=2).eval()
    results = audit(flat, tiny, pairs=4, norm="L2", eps=["0.5"], relative=True, attacks=["output"], **QUICK).results()
    assert results["damage"]["L2 relative"]["0.5"]["mean"] is None
