"""A whole audit: its figures follow from its points, whatever the chunks; flagged pairs are left out."""

import copy
import json
import math
import weakref
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import doubleback
from doubleback.attacks import Attack, Latent, Output
from doubleback.auditing import Audited, audit
from doubleback.auditing.filling import EACH, FILL
from doubleback.auditing.record import GRID
from doubleback.auditing.sheet import BUDGETS, MOVING, SHOWN, STOPS, shrunk
from doubleback.data import ImageData
from doubleback.distributions import Gaussian
from doubleback.errors import InputError
from doubleback.metrics.curve import DistortionCurve, auddc, distortion
from doubleback.models import VAE, Reconstruction
from doubleback.randomness import Stream, generator
from doubleback.settings import Auditing, Price, Search
from doubleback.tensors import as_unit
from doubleback.trust import Judged
from tests.problems import LinearAutoencoder

QUICK: dict[str, Any] = {"coefficients": (0.0, 0.05), "steps": 10, "progress": False}


@pytest.fixture(scope="module")
def found(vae: VAE, tiny: ImageData) -> Audited:
    attacks = ("latent", "output", "untargeted")
    return audit(vae, tiny, attacks=attacks, pairs=12, coefficients=8, steps=30, progress=False)


@pytest.fixture
def unjudged(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the checks out, which attack again and for longer: tests/auditing/test_trust.py is about them."""
    monkeypatch.setattr("doubleback.auditing.plan.audit_checks", lambda *_, **__: Judged())
    monkeypatch.setattr("doubleback.auditing.plan.findings_of", lambda *_, **__: iter(()))


def test_figures_follow_from_the_points(found: Audited) -> None:
    results = found.results()
    kept = ~found.flagged
    assert results["pairs"] == {"requested": 12, "used": int(kept.sum()), "flagged": int(found.flagged.sum())}
    ceiling = np.array([c.area() for c in found.curves("blend") if c is not None])
    assert results["ceiling"]["mean"] == pytest.approx(ceiling.mean())
    for name in ("latent", "output", "untargeted"):
        u, v = found.points[name].distortion[kept], found.points[name].adversarial_distance[kept]
        for convention, columns in (("envelope", 9 + FILL), ("reference", 9)):  # the published code fills no holes
            mean = np.mean([auddc(*pair, convention) for pair in zip(u[:, :columns], v[:, :columns], strict=True)])
            figure = results["attacks"][name]["auddc"][convention]
            assert figure["mean"] == pytest.approx(mean)
            assert figure["ci95"][0] <= mean <= figure["ci95"][1]
        envelope = results["attacks"][name]["auddc"]["envelope"]["mean"]
        assert results["attacks"][name]["share_of_ceiling"] == pytest.approx(envelope / ceiling.mean())
    json.dumps(results, allow_nan=False)


def test_the_worst_case_is_the_lowest_curve_everywhere(found: Audited) -> None:
    grid = np.linspace(0, 1, 331)
    every = zip(*(found.curves(name) for name in ("worst_case", "latent", "output", "blend")), strict=True)
    for worst, *others in every:
        assert worst is not None
        lowest = np.min([curve.at(grid) for curve in others if curve is not None], axis=0)
        assert np.allclose(worst.at(grid), lowest, atol=1e-9)
    assert (found.auddc("worst_case") <= found.auddc("ceiling") + 1e-12).all()


def test_arrays_are_those_of_the_run_directory(found: Audited) -> None:
    arrays = found.arrays()
    assert arrays["coefficients"].shape == (9,)
    for name in ("latent", "output", "untargeted"):
        assert arrays[f"{name}/distortion"].shape == arrays[f"{name}/adversarial_distance"].shape == (12, 9 + FILL)
        assert arrays[f"{name}/auddc"].shape == (12,)
    for name in ("latent", "output", "untargeted", "blend", "worst_case"):
        assert arrays[f"{name}/envelope"].shape == (12, len(GRID))
    assert arrays["worst_case/auddc"].shape == arrays["ceiling/auddc"].shape == (12,)
    assert all(array.dtype.kind in "bfiu" for array in arrays.values())
    curve = found.curves("latent")[0]
    assert isinstance(curve, DistortionCurve)
    assert np.array_equal(arrays["latent/envelope"][0], curve.at(GRID))


def test_the_gallery_keeps_its_budgets(found: Audited, tiny: ImageData) -> None:
    gallery = found.gallery
    assert gallery["source"].shape == (SHOWN, 1, 8, 8)
    assert (gallery["source"] == tiny.test.images[found.source_index[:SHOWN]].numpy()).all()
    for name in ("latent", "output"):
        u, v = gallery[f"{name}/distortion"], gallery[f"{name}/adversarial_distance"]
        assert gallery[f"{name}/x_adv"].shape == (SHOWN, len(BUDGETS), 1, 8, 8)
        assert (u <= np.array(BUDGETS)).all()
        assert (np.diff(v, axis=1) <= 1e-12).all()  # a larger budget reaches no less
        points = found.points[name]
        for pair in range(SHOWN):
            for q, budget in enumerate(BUDGETS):
                within = points.distortion[pair] <= budget
                assert v[pair, q] == points.adversarial_distance[pair][within].min()


def test_pictures_at_every_stop_of_the_slider_lie_on_the_curve(found: Audited, vae: VAE) -> None:
    gallery = found.gallery
    assert gallery["stops"].tolist() == list(STOPS)
    for name in ("latent", "output", "untargeted"):
        u, v = gallery[f"{name}/stops/distortion"], gallery[f"{name}/stops/adversarial_distance"]
        x_adv = as_unit(torch.from_numpy(gallery[f"{name}/stops/x_adv"]).flatten(0, 1)).unflatten(0, (MOVING, -1))
        assert x_adv.shape == (MOVING, len(STOPS), 1, 8, 8)
        for pair in range(MOVING):
            curve = found.curves(name)[pair]
            assert curve is not None
            assert np.allclose(np.minimum(v[pair], 1), curve.at(u[pair]), atol=1e-9)
            assert (u[pair] <= gallery["stops"]).all()
        source, target = (as_unit(torch.from_numpy(gallery[end][:MOVING])) for end in ("source", "target"))
        assert np.allclose(distortion(x_adv, source, target), u, atol=0.02), "the pictures are those of the numbers"
        reconstruction = vae(x_adv.flatten(0, 1)).likelihood.mean.detach().view_as(x_adv)
        shown = as_unit(torch.from_numpy(gallery[f"{name}/stops/reconstruction"]).flatten(0, 1)).view_as(x_adv)
        assert (reconstruction - shown).abs().max() < 0.03
    for budget in set(BUDGETS) & set(STOPS):
        place, stop = BUDGETS.index(budget), STOPS.index(budget)
        assert (gallery["latent/x_adv"][:MOVING, place] == gallery["latent/stops/x_adv"][:, stop]).all()


@pytest.mark.parametrize(
    ("size", "small"),
    [((3, 40, 128), (3, 40, 128)), ((1, 256, 200), (1, 128, 100)), ((1, 300, 2), (1, 100, 1))],
)
def test_large_pictures_are_shrunk(size: tuple[int, ...], small: tuple[int, ...]) -> None:
    pictures = torch.rand(2, 5, *size, generator=torch.Generator().manual_seed(0))
    found = shrunk(pictures)
    assert found.shape == (2, 5, *small)
    tall, wide = size[1] // small[1], size[2] // small[2]
    assert torch.allclose(found[1, 4, 0, 3, 0], pictures[1, 4, 0, 3 * tall : 4 * tall, :wide].mean())


@pytest.mark.usefixtures("unjudged")
def test_chunks_bound_the_memory_and_do_not_matter(vae: VAE, tiny: ImageData, monkeypatch: pytest.MonkeyPatch) -> None:
    """More pairs than a chunk holds: the same curves, to what the starting noise of 1e-8 leaves."""
    sizes: list[int] = []

    class Watching(Output):
        def loss(self, model, source, target):  # type: ignore[no-untyped-def]
            sizes.append(len(source))
            return super().loss(model, source, target)

    settings: dict[str, Any] = {"attacks": [Watching()], "pairs": 7, "coefficients": 8, "steps": 30, "progress": False}
    whole = audit(vae, tiny, **settings)
    monkeypatch.setattr("doubleback.auditing.plan.CHUNK", 3)
    parts = audit(vae, tiny, **settings)
    assert 7 in sizes[: sizes.index(3)]
    later = sizes[sizes.index(3) :]
    assert max(later) <= 3 * EACH  # every hole of a pair's curve is filled as a pair of its own
    assert np.allclose(whole.auddc("output"), parts.auddc("output"), atol=0.02)
    assert (whole.source_index == parts.source_index).all()


@pytest.mark.usefixtures("unjudged")
def test_the_same_seed_gives_the_same_audit(vae: VAE, tiny: ImageData) -> None:
    one, other = (audit(vae, tiny, pairs=3, seed=4, restarts=1, samples=2, **QUICK) for _ in range(2))
    assert all(np.array_equal(array, other.arrays()[name], equal_nan=True) for name, array in one.arrays().items())
    assert one.results()["attacks"]["latent"]["converged"] is None


@pytest.mark.usefixtures("unjudged")
def test_flagged_pairs_are_left_out() -> None:
    """Pairs 0 and 2 of the linear autoencoder reconstruct to the same image: no meaningful curve."""
    model = LinearAutoencoder()
    images = torch.randint(256, (30, 1, 4, 4), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    with torch.no_grad():
        model.W[:, :12] = 0  # sees only the last four pixels
        model.V.copy_(torch.linalg.pinv(model.W))
        model.b.copy_(-model.W @ model.c)
    images[::2, 0, 3] = 128  # these differ only where the model is blind
    found = audit(model, images, pairs=30, **QUICK)
    blind = (found.source_index % 2 == 0) & (found.target_index % 2 == 0)
    assert blind.any()
    assert found.flagged[blind].all()
    assert not found.flagged.all()
    assert np.isnan(found.points["latent"].distortion[found.flagged]).all()
    assert np.isnan(found.auddc("worst_case")[found.flagged]).all()
    results = found.results()
    assert results["pairs"]["flagged"] == found.flagged.sum()
    assert results["pairs"]["used"] == (~found.flagged).sum()
    assert results["attacks"]["latent"]["auddc"]["envelope"]["mean"] == pytest.approx(np.nanmean(found.auddc("latent")))
    assert math.isfinite(results["reconstruction_l2"])


def test_a_model_that_says_nothing_has_no_figures() -> None:
    model = LinearAutoencoder()
    with torch.no_grad():
        model.V.zero_()
    images = torch.randint(256, (9, 1, 4, 4), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    results = audit(model, images, pairs=5, **QUICK).results()
    assert results["pairs"] == {"requested": 5, "used": 0, "flagged": 5}
    assert results["attacks"]["worst_case"] == {
        "auddc": {"envelope": {"mean": None, "ci95": None}},
        "share_of_ceiling": None,
        "resolution": None,
    }
    assert results["damage"]["area"] == {"mean": None, "ci95": None}


@pytest.mark.usefixtures("unjudged")
def test_a_projection_cannot_be_fooled_beyond_blending() -> None:
    """x_hat = P (x - 1/2) + 1/2 moves with its input, one to one: attacks gain what P throws away, no more.

    On images in P's range the best an attack can do is to blend, so the latent AUDDC is the ceiling.
    """
    model = LinearAutoencoder()
    generator = torch.Generator().manual_seed(0)
    codes = torch.randn(12, 3, generator=generator, dtype=torch.float64)
    exact = (0.5 + 0.05 * codes @ model.W.detach()).view(12, 1, 4, 4)
    images = (exact * 255).round().byte()
    found = audit(model, images, pairs=6, coefficients=50, steps=300, progress=False)
    assert np.allclose(found.auddc("worst_case"), found.auddc("ceiling"), atol=0.03)


@pytest.mark.usefixtures("unjudged")
def test_one_pair_has_no_interval_and_leaves_each_part_of_the_model_in_its_mode(vae: VAE, tiny: ImageData) -> None:
    """Also the parts that differ: a frozen layer stays frozen."""
    model = copy.deepcopy(vae).train()
    model.decoder.eval()
    results = audit(model, tiny, pairs=1, **QUICK).results()
    assert results["ceiling"]["ci95"] is None
    assert model.encoder.training
    assert not model.decoder.training


def test_noise_that_scores_is_none_that_an_attack_has_seen() -> None:
    """Streams of one seed share no draw, nor do neighbouring seeds."""
    draws = {
        (seed, stream): tuple(torch.randn(4, generator=generator(seed, stream)).tolist())
        for seed in (0, 1, 2**32 - 1)
        for stream in Stream
    }
    assert len(set(draws.values())) == len(draws)


@pytest.mark.usefixtures("unjudged")
def test_tensors_go_through_the_public_name(vae: VAE, tiny: ImageData) -> None:
    one = doubleback.audit(vae, tiny.test.images, tiny.test.labels, pairs=2, **QUICK)
    other = doubleback.audit(vae, tiny, pairs=2, **QUICK)
    assert np.array_equal(one.auddc("latent"), other.auddc("latent"))


@pytest.mark.usefixtures("unjudged")
def test_settings_are_given_whole_or_by_name(vae: VAE, tiny: ImageData) -> None:
    whole = Auditing().changed(pairs=2, coefficients=3, steps=5, seed=7)
    by_name = audit(vae, tiny, pairs=2, coefficients=3, steps=5, seed=7, progress=False)
    both = audit(vae, tiny, None, whole.changed(steps=9), steps=5, progress=False)
    assert (
        by_name.attacks == both.attacks == [Attack(goal, Price(3), Search(5, seed=7)) for goal in (Latent(), Output())]
    )
    assert np.array_equal(by_name.source_index, both.source_index)
    assert len(both.source_index) == 2
    with pytest.raises(TypeError, match="there is no setting step;"):
        audit(vae, tiny, step=3)


@pytest.mark.usefixtures("unjudged")
def test_attacks_may_differ_in_their_coefficients(vae: VAE, tiny: ImageData) -> None:
    """Each has its own columns; what they say is C stands beside each, not once for all."""
    attacks = [
        Attack(Output(), Price((0.0, 0.5, 8.0)), Search(steps=4)),
        Attack(Latent(), Price(5), Search(steps=3, restarts=1)),
        Attack(Latent("l2"), Price(5), Search(steps=3), name="l2"),
    ]
    found = audit(vae, tiny, pairs=3, attacks=attacks, progress=False)
    arrays = found.arrays()
    assert "coefficients" not in arrays
    assert arrays["output/coefficients"].tolist() == [0.0, 0.5, 8.0]
    assert len(arrays["latent/coefficients"]) == len(arrays["l2/coefficients"]) == 6
    for name, count in (("output", 3), ("latent", 6), ("l2", 6)):
        assert arrays[f"{name}/distortion"].shape == arrays[f"{name}/adversarial_distance"].shape == (3, count + FILL)
        assert np.isfinite(arrays[f"{name}/distortion"]).all()
    assert set(found.results()["attacks"]) == {"output", "latent", "l2", "worst_case"}
    same = audit(vae, tiny, pairs=1, attacks=attacks[1:], progress=False).arrays()
    assert "latent/coefficients" not in same
    assert len(same["coefficients"]) == 6


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"attacks": ("latnt",)}, "attack latnt is unknown; choose from latent"),
        ({"attacks": ()}, "attack is missing"),
        ({"attacks": ["output", Attack(Output(), Price(3))]}, "two attacks are called output"),
        ({"attacks": [Attack(Output(), name="blend")]}, "no attack can be called blend"),
        ({"attacks": [Attack(Output(), name="worst_case")]}, "no attack can be called worst_case"),
        ({"attacks": [Attack(Output(), name="ceiling")]}, "no attack can be called ceiling"),
        ({"pairs": 0}, "pairs is 0"),
        ({"pairs": 41}, "pairs is 41, but there are 40"),
        ({"steps": 0}, "steps is 0"),
        ({"coefficients": 0}, "coefficients is 0"),
        ({"target_label": "cat"}, "class 'cat' is unknown"),
    ],
)
def test_bad_settings(vae: VAE, tiny: ImageData, settings: dict[str, object], said: str) -> None:
    with pytest.raises(InputError, match=said):
        audit(vae, tiny, **{**QUICK, **settings})


def test_images_of_another_shape_are_refused(vae: VAE) -> None:
    with pytest.raises(InputError, match="takes images of 1 channel and 8x8 pixels, these are 3 channels and 8x8"):
        audit(vae, torch.zeros(4, 3, 8, 8, dtype=torch.uint8), pairs=1)


def test_few_curves_are_there_at_a_time(found: Audited, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many pairs: one of each attack, of blending, and what becomes of them."""
    alive: weakref.WeakSet[DistortionCurve] = weakref.WeakSet()
    most, made = 0, 0

    init = DistortionCurve.__init__

    def noticed(self: DistortionCurve, u: Any, v: Any) -> None:
        nonlocal most, made
        init(self, u, v)
        alive.add(self)
        most, made = max(most, len(alive)), made + 1

    monkeypatch.setattr(DistortionCurve, "__init__", noticed)
    plain = dict(found.arrays())
    found.results()
    assert made > 100
    assert most <= 2 * (len(found.attacks) + 2)
    assert all(np.array_equal(plain[name], array, equal_nan=True) for name, array in found.arrays().items())


def test_a_pair_that_an_attack_breaks_is_flagged_and_the_others_count() -> None:
    """Near the first source, but not at it, the reconstruction is NaN: blending passes there."""

    class Breaks(LinearAutoencoder):
        def forward(self, x: Tensor, noise: Tensor | None = None) -> Reconstruction:
            found = super().forward(x, noise)
            near = ((x[:, 0, 0, 0] - 0.5).abs() < 0.1) & (x[:, 0, 0, 0] != 0.5)
            mean = found.likelihood.mean + torch.where(near, torch.nan, 0.0)[:, None, None, None]
            return Reconstruction(found.posterior, Gaussian(mean, found.likelihood.log_var))

    x = torch.rand(12, 1, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x[:, 0, 0, 0] = 0.9
    x[:3, 0, 0, 0] = 0.5
    found = audit(Breaks(), x, pairs=8, attacks=["latent"], coefficients=3, steps=20, progress=False)
    broken = found.unmeasured
    assert 0 < broken.sum() < 8
    assert (found.flagged >= broken).all()
    results = found.results()
    assert results["pairs"]["flagged"] == found.flagged.sum()
    assert results["not_measured"]["pairs"].startswith(f"after an attack, the reconstruction of {broken.sum()} pairs")
    assert np.isnan(found.points["blend"].distortion[broken]).all()
    assert results["attacks"]["worst_case"]["auddc"]["envelope"]["mean"] is not None


def test_settings_that_whole_attacks_would_not_read_are_refused(vae: VAE, tiny: ImageData) -> None:
    whole = Attack(Latent(), Price((0.0,)), Search(steps=2))
    for name, value in {"steps": 3, "coefficients": 4, "restarts": 1, "samples": 1}.items():
        with pytest.raises(InputError, match=f"{name} has no effect on whole attacks"):
            audit(vae, tiny, attacks=[whole], pairs=2, progress=False, **{name: value})
    audit(vae, tiny, attacks=[whole, "output"], pairs=2, steps=2, coefficients=1, progress=False)
    audit(vae, tiny, attacks=[whole], pairs=2, seed=3, progress=False)


def test_labels_beside_a_data_set_are_refused(vae: VAE, tiny: ImageData) -> None:
    with pytest.raises(InputError, match="the data set brings its own"):
        audit(vae, tiny, tiny.test.labels, pairs=2, progress=False)
