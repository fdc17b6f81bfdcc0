"""A whole audit: its figures follow from its points, whatever the chunks; flagged pairs are left out."""

import json
import math

import numpy as np
import pytest
import torch
from torch import Tensor

import doubleback
from doubleback.auditing import Audit, audit
from doubleback.auditing.auditor import BUDGETS, SHOWN
from doubleback.auditing.record import GRID
from doubleback.data import ImageData
from doubleback.errors import InputError
from doubleback.metrics.curve import DistortionCurve, auddc
from doubleback.models import VAE
from doubleback.randomness import Stream, generator
from doubleback.training import fit
from tests.problems import LinearAutoencoder

QUICK = {"coefficients": 8, "steps": 30, "progress": False}


@pytest.fixture(scope="module")
def model(tiny: ImageData) -> VAE:
    torch.manual_seed(0)
    vae = VAE((1, 8, 8), hidden=(32,), latent=4)
    fit(vae, tiny, epochs=40, batch_size=32, progress=False)
    return vae


@pytest.fixture(scope="module")
def found(model: VAE, tiny: ImageData) -> Audit:
    return audit(model, tiny, attacks=("latent", "output", "untargeted"), pairs=12, **QUICK)  # type: ignore[arg-type]


def test_figures_follow_from_the_points(found: Audit) -> None:
    results = found.results()
    kept = ~found.flagged
    assert results["pairs"] == {"requested": 12, "used": int(kept.sum()), "flagged": int(found.flagged.sum())}
    ceiling = np.array([c.area() for c in found.curves("blend") if c is not None])
    assert results["ceiling"]["mean"] == pytest.approx(ceiling.mean())
    for name in ("latent", "output", "untargeted"):
        u, v = found.points[name].distortion[kept], found.points[name].adversarial_distance[kept]
        for convention in ("envelope", "reference"):
            mean = np.mean([auddc(*pair, convention) for pair in zip(u, v, strict=True)])
            figure = results["attacks"][name]["auddc"][convention]
            assert figure["mean"] == pytest.approx(mean)
            assert figure["ci95"][0] <= mean <= figure["ci95"][1]
        envelope = results["attacks"][name]["auddc"]["envelope"]["mean"]
        assert results["attacks"][name]["share_of_ceiling"] == pytest.approx(envelope / ceiling.mean())
    json.dumps(results, allow_nan=False)


def test_the_worst_case_is_the_lowest_curve_everywhere(found: Audit) -> None:
    grid = np.linspace(0, 1, 331)
    every = zip(*(found.curves(name) for name in ("worst_case", "latent", "output", "blend")), strict=True)
    for worst, *others in every:
        assert worst is not None
        lowest = np.min([curve.at(grid) for curve in others if curve is not None], axis=0)
        assert np.allclose(worst.at(grid), lowest, atol=1e-9)
    assert (found.auddc("worst_case") <= found.auddc("ceiling") + 1e-12).all()


def test_arrays_are_those_of_the_run_directory(found: Audit) -> None:
    arrays = found.arrays()
    assert arrays["coefficients"].shape == (9,)
    for name in ("latent", "output", "untargeted"):
        assert arrays[f"{name}/distortion"].shape == arrays[f"{name}/adversarial_distance"].shape == (12, 9)
        assert arrays[f"{name}/auddc"].shape == (12,)
    for name in ("latent", "output", "untargeted", "blend", "worst_case"):
        assert arrays[f"{name}/envelope"].shape == (12, len(GRID))
    assert arrays["worst_case/auddc"].shape == arrays["ceiling/auddc"].shape == (12,)
    assert all(array.dtype.kind in "bfiu" for array in arrays.values())


def test_the_gallery_keeps_its_budgets(found: Audit, tiny: ImageData) -> None:
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


def test_chunks_do_not_matter(model: VAE, tiny: ImageData, monkeypatch: pytest.MonkeyPatch) -> None:
    """More pairs than a chunk holds: the same curves, to what the starting noise of 1e-8 leaves."""
    whole = audit(model, tiny, pairs=7, **QUICK)  # type: ignore[arg-type]
    monkeypatch.setattr("doubleback.auditing.auditor.CHUNK", 3)
    parts = audit(model, tiny, pairs=7, **QUICK)  # type: ignore[arg-type]
    assert np.allclose(whole.auddc("output"), parts.auddc("output"), atol=0.02)
    assert (whole.source_index == parts.source_index).all()


def test_the_same_seed_gives_the_same_audit(model: VAE, tiny: ImageData) -> None:
    one, other = (audit(model, tiny, pairs=3, seed=4, restarts=1, samples=2, **QUICK) for _ in range(2))  # type: ignore[arg-type]
    assert all(np.array_equal(array, other.arrays()[name], equal_nan=True) for name, array in one.arrays().items())
    assert one.results()["attacks"]["latent"]["converged"] is None


def test_flagged_pairs_are_left_out() -> None:
    """Pairs 0 and 2 of the linear autoencoder reconstruct to the same image: no meaningful curve."""
    model = LinearAutoencoder()
    images = torch.randint(256, (30, 1, 4, 4), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    with torch.no_grad():
        model.W[:, :12] = 0  # sees only the last four pixels
        model.V.copy_(torch.linalg.pinv(model.W))
        model.b.copy_(-model.W @ model.c)
    images[::2, 0, 3] = 128  # these differ only where the model is blind
    found = audit(model, images, pairs=30, **QUICK)  # type: ignore[arg-type]
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
    results = audit(model, images, pairs=5, **QUICK).results()  # type: ignore[arg-type]
    assert results["pairs"] == {"requested": 5, "used": 0, "flagged": 5}
    assert results["attacks"]["worst_case"] == {
        "auddc": {"envelope": {"mean": None, "ci95": None}},
        "share_of_ceiling": None,
    }


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


def test_a_module_is_left_in_its_mode(model: VAE, tiny: ImageData) -> None:
    model.train()
    audit(model, tiny, pairs=1, **QUICK)  # type: ignore[arg-type]
    assert model.training
    model.eval()
    audit(model, tiny, pairs=1, **QUICK)  # type: ignore[arg-type]
    assert not model.training


def test_each_part_of_a_module_is_left_in_its_mode(model: VAE, tiny: ImageData) -> None:
    """A frozen layer stays frozen."""
    model.train()
    model.decoder.eval()
    audit(model, tiny, pairs=1, **QUICK)  # type: ignore[arg-type]
    assert model.encoder.training
    assert not model.decoder.training
    model.eval()


def test_noise_that_scores_is_none_that_an_attack_has_seen() -> None:
    """Streams of one seed share no draw, nor do neighbouring seeds."""
    draws = {
        (seed, stream): tuple(torch.randn(4, generator=generator(seed, stream)).tolist())
        for seed in (0, 1, 2**32 - 1)
        for stream in Stream
    }
    assert len(set(draws.values())) == len(draws)


def test_one_pair_has_no_interval(model: VAE, tiny: ImageData) -> None:
    results = audit(model, tiny, pairs=1, **QUICK).results()  # type: ignore[arg-type]
    assert results["ceiling"]["ci95"] is None


def test_tensors_go_through_the_public_name(model: VAE, tiny: ImageData) -> None:
    one = doubleback.audit(model, tiny.test.images, tiny.test.labels, pairs=2, **QUICK)
    other = doubleback.audit(model, tiny, pairs=2, **QUICK)
    assert np.array_equal(one.auddc("latent"), other.auddc("latent"))


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"attacks": ("latnt",)}, "attack latnt; choose from latent"),
        ({"attacks": ()}, "attack is missing"),
        ({"pairs": 0}, "pairs is 0"),
        ({"pairs": 41}, "pairs is 41, but there are 40"),
        ({"steps": 0}, "steps is 0"),
        ({"coefficients": 0}, "coefficients is 0"),
        ({"restarts": -1}, "restarts is -1"),
        ({"samples": -1}, "samples is -1"),
        ({"seed": -1}, "seed is -1"),
    ],
)
def test_bad_settings(model: VAE, tiny: ImageData, settings: dict[str, object], said: str) -> None:
    with pytest.raises(InputError, match=said):
        audit(model, tiny, **{**QUICK, **settings})  # type: ignore[arg-type]


def test_memory_is_bounded_by_chunks(model: VAE, tiny: ImageData, monkeypatch: pytest.MonkeyPatch) -> None:
    """No attack ever sees more pairs than a chunk."""
    sizes: list[int] = []

    def watching(model: VAE, source: Tensor, *args: object, **kwargs: object) -> object:
        sizes.append(len(source))
        return doubleback.latent_attack(model, source, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr("doubleback.auditing.auditor.ATTACKS", {"latent": watching})
    monkeypatch.setattr("doubleback.auditing.auditor.CHUNK", 4)
    audit(model, tiny, attacks=("latent",), pairs=10, **QUICK)  # type: ignore[arg-type]
    assert max(sizes) == 4


def test_envelopes_are_written_at_the_grid(found: Audit) -> None:
    envelope = found.arrays()["latent/envelope"][0]
    curve = found.curves("latent")[0]
    assert isinstance(curve, DistortionCurve)
    assert np.array_equal(envelope, curve.at(GRID))
