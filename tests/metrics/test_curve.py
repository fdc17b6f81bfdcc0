"""The curve, its area and the worst case of two: areas worked by hand, and invariants."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from doubleback.errors import InputError
from doubleback.metrics.curve import (
    CLEAR_SHARE,
    DistortionCurve,
    adversarial_distance,
    auddc,
    distortion,
    flag,
)
from tests.problems import KNOWN_CURVES, KnownCurve, LinearAutoencoder

CONVENTIONS = ("envelope", "reference")

# Points on a coarse enough grid that ties happen and that slopes stay finite.
_point = st.tuples(st.integers(0, 24).map(lambda n: n / 16), st.integers(-32, 128).map(lambda n: n / 64))
points = st.lists(_point, min_size=1, max_size=12)
GRID = np.linspace(0, 1, 97)


def envelope(pairs: list[tuple[float, float]]) -> DistortionCurve:
    return DistortionCurve.envelope(*zip(*pairs, strict=True))


# --- u, v and the flag -------------------------------------------------------------------------------------


def test_distances_by_hand() -> None:
    """Every norm of a 2 x 2 image of equal pixels is 2 |pixel|: u and v are ratios of pixel differences."""

    def images(*pixels: float) -> torch.Tensor:
        return torch.tensor(pixels)[:, None, None, None].expand(-1, 1, 2, 2)

    source, target = images(0.2, 0.5), images(0.7, 0.25)
    x_adv = torch.stack([images(0.2, 0.5), images(0.3, 0.75), images(0.7, 0.0)], dim=1)
    torch.testing.assert_close(distortion(x_adv, source, target), torch.tensor([[0.0, 0.2, 1.0], [0.0, 1.0, 2.0]]))
    rec_source, rec_target = images(0.3, 0.55), images(0.6, 0.3)
    rec_adv = torch.stack([images(0.3, 0.55), images(0.6, 0.3), images(0.7, 0.2)], dim=1)
    torch.testing.assert_close(
        adversarial_distance(rec_adv, rec_source, rec_target, target),
        torch.tensor([[1.0, 0.0, -0.1 / 0.3], [1.0, 0.0, 0.0]]),
    )


def test_distances_of_one_pair_ignore_the_others() -> None:
    generator = torch.Generator().manual_seed(0)
    source, target, rec_source, rec_target = torch.rand(4, 5, 3, 4, 4, generator=generator)
    x_adv, rec_adv = torch.rand(2, 5, 7, 3, 4, 4, generator=generator)
    u, v = distortion(x_adv, source, target), adversarial_distance(rec_adv, rec_source, rec_target, target)
    assert u.shape == v.shape == (5, 7)
    for p in range(5):
        one = slice(p, p + 1)
        torch.testing.assert_close(u[one], distortion(x_adv[one], source[one], target[one]))
        torch.testing.assert_close(
            v[one], adversarial_distance(rec_adv[one], rec_source[one], rec_target[one], target[one])
        )


def test_blending_through_a_linear_autoencoder_is_the_straight_curve() -> None:
    """With pairs inside the projection's image nothing is lost: x_hat = x, u = share, v = 1 - share."""
    model = LinearAutoencoder(latent=4)
    images = torch.rand(2, 3, 1, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        source, target = (model(x).likelihood.mean for x in images)
        share = torch.linspace(0, 1, 6, dtype=torch.float64)
        x_adv = torch.lerp(source[:, None], target[:, None], share.view(1, -1, 1, 1, 1))
        rec_adv = model(x_adv.flatten(0, 1)).likelihood.mean.unflatten(0, (3, 6))
    u, v = distortion(x_adv, source, target), adversarial_distance(rec_adv, source, target, target)
    torch.testing.assert_close(u, share.expand(3, 6))
    torch.testing.assert_close(v, 1 - share.expand(3, 6))
    assert not flag(source, target, source, target).any()


def test_flag() -> None:
    one = torch.ones(1, 1, 2, 2)
    target = torch.zeros(1, 1, 2, 2)

    def flagged(rec_source: float, rec_target: float, source: float = 1.0) -> bool:
        return bool(flag(source * one, target, rec_source * one, rec_target * one))

    assert not flagged(0.9, 0.1)
    assert not flagged(1.0, 1 - 1.1 * CLEAR_SHARE)
    assert flagged(1.0, 1 - 0.9 * CLEAR_SHARE)
    assert flagged(0.5, 0.5)
    assert flagged(0.0, 0.0)
    assert flagged(0.1, 0.9)
    assert flagged(0.9, 0.1, source=0.0)
    assert flagged(float("nan"), 0.1)


# --- the area ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("curve", KNOWN_CURVES, ids=lambda curve: curve.name)
@pytest.mark.parametrize("convention", CONVENTIONS)
def test_area_by_hand(curve: KnownCurve, convention: str) -> None:
    area = auddc(curve.distortion, curve.adversarial_distance, convention)
    assert area == pytest.approx(getattr(curve, convention), abs=1e-15)


@pytest.mark.parametrize(
    "kind",
    [
        list,
        np.array,
        lambda values: np.array(values, dtype=np.float32),
        lambda values: torch.tensor(values, requires_grad=True),
        lambda values: torch.tensor(values, dtype=torch.bfloat16),
    ],
)
@pytest.mark.parametrize("convention", CONVENTIONS)
def test_area_takes_any_kind_of_numbers(kind, convention: str) -> None:
    area = auddc(kind([1.0, 0.5]), kind([0.0, 0.5]), convention)
    assert isinstance(area, float)
    assert area == {"envelope": 0.5, "reference": 0.125}[convention]


def test_area_is_summed_in_float64() -> None:
    """100,000 points of v = 1/3 in float32: a float32 sum would be off in the fifth digit."""
    u = torch.linspace(0, 1, 100_000)
    assert auddc(u, torch.full_like(u, 1 / 3), "reference") == pytest.approx(float(np.float32(1 / 3)), abs=1e-12)


@pytest.mark.parametrize(
    ("u", "v", "convention", "message"),
    [
        ([], [], "envelope", "at least 1"),
        ([0.5], [0.5, 0.1], "envelope", "same length"),
        (np.ones((1, 1)), np.ones((1, 1)), "envelope", "two rows"),
        ([0.5, float("nan")], [0.5, 0.1], "envelope", "not finite"),
        ([0.5, 0.6], [0.5, float("inf")], "envelope", "not finite"),
        ([0.5, 2.0], [0.5, float("inf")], "reference", "not finite"),
        ([0.5, -0.1], [0.5, 0.1], "reference", "at least 0"),
        ([0.5], [0.5], "convex", "'envelope' or 'reference'"),
    ],
)
def test_unusable_points_are_refused(u: list, v: list, convention: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        auddc(u, v, convention)


@given(points, st.randoms(use_true_random=False))
def test_order_does_not_matter(pairs: list, random) -> None:
    shuffled = random.sample(pairs, len(pairs))
    for convention in CONVENTIONS:
        assert auddc(*zip(*pairs, strict=True), convention) == auddc(*zip(*shuffled, strict=True), convention)


@given(points)
def test_area_is_the_envelopes_and_within_its_bounds(pairs: list) -> None:
    u, v = zip(*pairs, strict=True)
    curve = envelope(pairs)
    assert auddc(u, v) == curve.area()
    lowest = min([1.0] + [v for u, v in pairs if u <= 1])
    assert lowest - 1e-12 <= curve.area() <= 1 + 1e-12


@given(points)
def test_envelope_is_a_falling_curve_over_all_distortions(pairs: list) -> None:
    curve = envelope(pairs)
    assert (curve.u[0], curve.u[-1]) == (0, 1)
    assert (np.diff(curve.u) > 0).all()
    assert (np.diff(curve.v) <= 0).all()
    assert curve.v[0] <= 1
    for budget in {u for u, _ in pairs if u <= 1}:
        assert curve.at(budget) == min([1.0] + [v for u, v in pairs if u <= budget])
    assert curve.area() == pytest.approx(np.trapezoid(curve.v, curve.u), abs=1e-12)


@given(points, _point)
def test_a_point_on_or_under_the_curve_never_raises_it(pairs: list, extra: tuple) -> None:
    u, v = extra
    before = envelope(pairs)
    if u <= 1:
        v = min(v, float(before.at(u)))
    after = envelope([*pairs, (u, v)])
    assert (after.at(GRID) <= before.at(GRID) + 1e-12).all()


@given(points, st.data())
def test_a_stronger_attack_never_raises_the_curve(pairs: list, data: st.DataObject) -> None:
    """The same distortions, every adversarial distance the same or lower."""
    gains = data.draw(st.lists(st.integers(0, 64).map(lambda n: n / 64), min_size=len(pairs), max_size=len(pairs)))
    stronger = [(u, v - gain) for (u, v), gain in zip(pairs, gains, strict=True)]
    assert (envelope(stronger).at(GRID) <= envelope(pairs).at(GRID) + 1e-12).all()


@given(points, st.integers(-32, 128))
def test_a_failed_attack_after_the_last_success_changes_nothing(pairs: list, v: int) -> None:
    before = envelope(pairs)
    last = max([0.0] + [u for u, _ in pairs if u <= 1])
    for u in (last + 1.25, (last + 1) / 2):
        failed = max(float(before.v[-1]), v / 64) if u <= 1 else v / 64
        assert envelope([*pairs, (u, failed)]).area() == pytest.approx(before.area(), abs=1e-12)


def test_a_failed_attack_between_two_can_delay_the_fall() -> None:
    """Why nothing stronger is promised: the running minimum makes (0.5, 0.9) a knot at v = 0.6."""
    assert auddc([0.25, 0.75, 0.5], [0.6, 0.2, 0.9]) > auddc([0.25, 0.75], [0.6, 0.2])


def test_at_interpolates() -> None:
    curve = DistortionCurve.envelope([0.5], [0.4])
    np.testing.assert_allclose(curve.at([0.0, 0.25, 0.5, 0.9, 1.0]), [1.0, 0.7, 0.4, 0.4, 0.4], atol=1e-15)
    assert curve.at(0.25) == pytest.approx(0.7)


# --- the worst case ----------------------------------------------------------------------------------------


def test_minimum_of_two_crossing_lines_by_hand() -> None:
    """1 - u against 1 down to 1/4 at u = 1/4, then flat: they cross at u = 3/4, v = 1/4."""
    blend = DistortionCurve.envelope([1.0], [0.0])
    attack = DistortionCurve.envelope([0.25], [0.25])
    worst = blend.minimum(attack)
    np.testing.assert_allclose(worst.u, [0, 0.25, 0.75, 1])
    np.testing.assert_allclose(worst.v, [1, 0.25, 0.25, 0])
    assert worst.area() == pytest.approx(5 / 32 + 1 / 8 + 1 / 32)
    assert attack.minimum(blend).area() == worst.area()


@given(points, points)
def test_minimum_is_the_pointwise_minimum(first: list, second: list) -> None:
    one, other = envelope(first), envelope(second)
    worst = one.minimum(other)
    u = np.union1d(GRID, worst.u)
    np.testing.assert_allclose(worst.at(u), np.minimum(one.at(u), other.at(u)), atol=1e-12)
    assert worst.area() <= min(one.area(), other.area()) + 1e-12
    assert (np.diff(worst.u) > 0).all()
    np.testing.assert_array_equal(one.minimum(one).at(u), one.at(u))
