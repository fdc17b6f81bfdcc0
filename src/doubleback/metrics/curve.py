"""The distortion-distortion curve of an attacked pair, and the area under it (AUDDC).

    u = ||x_a - x_0|| / ||x_0 - x_t||                                                  distortion
    v = (||x^_a - x_t|| - ||x^_t - x_t||) / (||x^_0 - x_t|| - ||x^_t - x_t||)          adversarial distance

x_0 is the source, x_t the target, x_a the adversarial input, x^ a reconstruction; norms are 2-norms over an
image. v = 1: nothing gained; v = 0: as close to the target as the target's own reconstruction. One pair gives
one point (u, v) for each coefficient of the attack; a higher area is a more robust autoencoder.

Source: Gondim-Ribeiro, Tabacof & Valle, "Adversarial attacks on variational autoencoders", 2018
(arXiv 1806.04646); the "reference" convention is what their published code computes.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Float64
from numpy.typing import NDArray
from torch import Tensor

from doubleback.errors import InputError
from doubleback.tensors import norm

Images = Float[Tensor, "P C H W"]
Numbers = Sequence[float | int] | NDArray[Any] | Tensor

# A pair is kept if going from x^_0 to x^_t shortens the way to x_t by more than this share of it. v measures
# in units of that gain and can fall to 1 - way / gain: -19 at this share, without bound under it, where one
# pair could decide the mean over hundreds, and a nearly collapsed decoder would be scored on its rounding.
CLEAR_SHARE = 0.05


def distortion(x_adv: Float[Tensor, "P K C H W"], source: Images, target: Images) -> Float[Tensor, "P K"]:
    """u = ||x_a - x_0|| / ||x_0 - x_t||, for K adversarial inputs of each pair; u >= 0, no unit.

    Measure after the box: `x_adv` is what the model is shown. Where source = target u is not finite (`flag`).
    """
    return norm(x_adv - source[:, None], 2) / norm(source - target)[:, None]


def adversarial_distance(
    rec_adv: Float[Tensor, "P K C H W"], rec_source: Images, rec_target: Images, target: Images
) -> Float[Tensor, "P K"]:
    """v = (||x^_a - x_t|| - ||x^_t - x_t||) / (||x^_0 - x_t|| - ||x^_t - x_t||), no unit.

    1: nothing gained; 0: as close to the target as its own reconstruction; both ends can be passed. v means
    nothing where the denominator is not clearly positive: see `flag`.
    """
    floor = norm(rec_target - target)[:, None]
    start = norm(rec_source - target)[:, None]
    return (norm(rec_adv - target[:, None], 2) - floor) / (start - floor)


def flag(source: Images, target: Images, rec_source: Images, rec_target: Images) -> Bool[Tensor, "P"]:
    """The pairs without a meaningful curve, to be left out and counted.

    A pair is kept if u and v both have a denominator that is clearly positive,

        ||x_0 - x_t|| > 0   and   ||x^_0 - x_t|| - ||x^_t - x_t|| > CLEAR_SHARE ||x^_0 - x_t||,

    and flagged otherwise: also where a norm is NaN.
    """
    floor, start = norm(rec_target - target), norm(rec_source - target)
    return ~((norm(source - target) > 0) & (start - floor > CLEAR_SHARE * start))


def auddc(distortion: Numbers, adversarial_distance: Numbers, convention: str = "envelope") -> float:
    """The area under one pair's distortion-distortion curve over u in [0, 1], in float64.

    - "envelope": `DistortionCurve.envelope(...).area()`.
    - "reference": the points with u <= 1 in the order of u (at equal u the largest v first), then their
      (max u, min v) and (1, min v); trapezoids. What lies left of the smallest u counts nothing, so compare
      such figures only with published ones.

    Args:
        distortion: u, the pair's K points in any order; u >= 0.
        adversarial_distance: v of the same points.
        convention: "envelope" or "reference".

    Returns:
        The area, in [min(1, min v), 1] for the envelope. 1.0 in both conventions if no point has u <= 1:
        nothing was gained within the distortions that count.

    Raises:
        InputError: no points, unequal lengths, a value that is not finite, a negative distortion, or an
            unknown convention.

    >>> auddc([0.5, 1.0], [0.5, 0.0])
    0.5
    >>> auddc([0.5, 1.0], [0.5, 0.0], "reference")
    0.125
    """
    if convention == "envelope":
        return DistortionCurve.envelope(distortion, adversarial_distance).area()
    if convention != "reference":
        raise InputError(f"convention is {convention!r}; choose 'envelope' or 'reference'")
    u, v = _points_within_one(distortion, adversarial_distance)
    if u.size == 0:
        return 1.0
    order = np.lexsort((-v, u))
    return _trapezoid(np.r_[u[order], u.max(), 1.0], np.r_[v[order], v.min(), v.min()])


@dataclass(frozen=True, eq=False)
class DistortionCurve:
    """The adversarial distance that an attack reaches with a distortion of at most u.

    Piecewise linear and never rising; made by `envelope` and by `minimum`.

    Attributes:
        u: (N,), the knots' distortions, rising from 0 to 1.
        v: (N,), the curve there; at most 1.
    """

    u: Float64[np.ndarray, "N"]
    v: Float64[np.ndarray, "N"]

    @classmethod
    def envelope(cls, distortion: Numbers, adversarial_distance: Numbers) -> "DistortionCurve":
        """The running minimum over u of (0, 1) and one pair's points with u <= 1, flat from the last to 1.

        An attacker with more budget can always spend less, so the curve never rises. At equal u the smallest
        v counts. A point on or under the curve can only lower it; a point above it that stands between two
        others still becomes a knot of the running minimum, so it can delay the fall between them.

        Args and Raises: as in `auddc`.

        >>> DistortionCurve.envelope([0.75, 0.25, 0.5, 3.0], [0.25, 0.5, 0.75, 0.0])
        DistortionCurve(u=array([0.  , 0.25, 0.5 , 0.75, 1.  ]), v=array([1.  , 0.5 , 0.5 , 0.25, 0.25]))
        """
        u, v = _points_within_one(distortion, adversarial_distance)
        u, v = np.r_[0.0, u], np.r_[1.0, v]
        order = np.lexsort((v, u))
        u, v = u[order], np.minimum.accumulate(v[order])
        knots, first = np.unique(np.r_[u, 1.0], return_index=True)
        return cls(knots, np.r_[v, v[-1]][first])

    def at(self, u: Numbers | float) -> Float64[np.ndarray, "..."]:
        """The curve at the distortions u in [0, 1], any shape, by linear interpolation."""
        return np.asarray(np.interp(_float64(u), self.u, self.v))

    def area(self) -> float:
        """AUDDC in the envelope convention: the exact integral of the curve over [0, 1]."""
        return _trapezoid(self.u, self.v)

    def minimum(self, other: "DistortionCurve") -> "DistortionCurve":
        """min(self(u), other(u)) for every u, exactly: the worst case over two attacks, nowhere above either.

        Its knots are those of both curves and the points where they cross.
        """
        u = np.union1d(self.u, other.u)
        gap = self.at(u) - other.at(u)
        (i,) = np.nonzero(np.sign(gap[:-1]) * np.sign(gap[1:]) < 0)
        crossings = u[i] + (u[i + 1] - u[i]) * gap[i] / (gap[i] - gap[i + 1])
        u = np.union1d(u, crossings)
        return DistortionCurve(u, np.minimum(self.at(u), other.at(u)))


def holes(distortion: Numbers, adversarial_distance: Numbers) -> list[tuple[float, float, float]]:
    """What one pair's points leave open: the rectangles between neighbours on its envelope.

    The true curve never rises, so it runs inside them, and not under the lowest point: an attack to which distortion is
    free (C = 0) has gone as far as it can. The last may reach beyond u = 1, to such a point.

    Returns:
        (u, width, fall) of each, from the left: it begins at (u, v) and ends at (u + width, v - fall).

    >>> holes([0.5, 2.0], [0.5, 0.25])
    [(0.0, 0.5, 0.5), (0.5, 1.5, 0.25)]
    """
    u, v = _float64(distortion), _float64(adversarial_distance)
    u, v = np.r_[0.0, u], np.r_[1.0, v]
    order = np.lexsort((v, u))
    u, v = u[order], np.minimum.accumulate(v[order])
    knots, first = np.unique(u, return_index=True)
    v = v[first]
    steps = zip(knots[:-1], np.diff(knots), -np.diff(v), strict=True)
    return [(float(low), float(width), float(fall)) for low, width, fall in steps if low < 1 and fall > 0]


def resolution(*points: tuple[Numbers, Numbers]) -> float:
    """How much lower an area could be, at most, with more points: the drawn curve minus the lowest possible one.

    Args:
        points: u and v of one pair, of each attack; of several the lowest curve counts, wherever it comes from.

    >>> round(resolution(([0.5, 1.0], [0.5, 0.0])), 3)
    0.25
    """
    middles = (np.arange(1000) + 0.5) / 1000
    drawn = np.min([DistortionCurve.envelope(u, v).at(middles) for u, v in points], axis=0)
    lowest = np.min([_staircase(u, v, middles) for u, v in points], axis=0)
    return float((drawn - lowest).mean())


def _staircase(distortion: Numbers, adversarial_distance: Numbers, at: Float64[np.ndarray, "N"]) -> Any:
    """The lowest curve that never rises and passes through the envelope: it falls at once after each of its points."""
    lowest = np.ones_like(at)
    for low, width, fall in holes(distortion, adversarial_distance):
        start = DistortionCurve.envelope(distortion, adversarial_distance).at(low)
        lowest[(at > low) & (at <= low + width)] = start - fall
    every = DistortionCurve.envelope(distortion, adversarial_distance).at(at)
    return np.minimum(lowest, every)


def _trapezoid(u: Float64[np.ndarray, "N"], v: Float64[np.ndarray, "N"]) -> float:
    """sum_i (u_i+1 - u_i) (v_i + v_i+1) / 2."""
    return math.fsum(np.diff(u) * (v[:-1] + v[1:]) / 2)


def _float64(values: Numbers | float) -> Float64[np.ndarray, "..."]:
    """Numbers of any kind, on any device, as a float64 array."""
    return np.asarray(values.detach().cpu().double() if isinstance(values, Tensor) else values, dtype=np.float64)


def _points_within_one(
    distortion: Numbers, adversarial_distance: Numbers
) -> tuple[Float64[np.ndarray, "N"], Float64[np.ndarray, "N"]]:
    """The checked points of one pair, without those with u > 1."""
    u, v = _float64(distortion), _float64(adversarial_distance)
    if u.ndim != 1 or u.shape != v.shape or u.size == 0:
        raise InputError(
            f"distortion has shape {u.shape}, adversarial_distance {v.shape}; "
            "give the points of one pair: two rows of the same length, at least 1"
        )
    if not (np.isfinite(u).all() and np.isfinite(v).all()):
        raise InputError("a point of the curve is not finite; leave out the pairs that `flag` marks")
    if u.min() < 0:
        raise InputError(f"distortion holds {u.min()}; it is a ratio of distances, at least 0")
    return u[u <= 1], v[u <= 1]
