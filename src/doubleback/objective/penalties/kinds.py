"""Which penalties there are: what each needs, and how it is taken exactly and by differences. One more is one entry."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Literal, NamedTuple

from torch import Tensor

from doubleback.models.base import Autoencoder
from doubleback.objective.penalties import codes, gradient, jacobian, noise, spectral, targeted
from doubleback.objective.penalties.gradient import Penalised
from doubleback.settings.penalty import Penalty


class Site(NamedTuple):
    """Where a penalty is taken, and what it needs there.

    Attributes:
        x: images, or blends of two, (n, ...).
        noise: of the model, (n, *noise_shape); None: the mean path.
        directions: (P, n, ...), of the penalties on a Jacobian; else None.
        target: another image for each, (n, ...), of the targeted penalty; else None.
    """

    x: Tensor
    noise: Tensor | None
    directions: Tensor | None = None
    target: Tensor | None = None

    def to(self, like: Tensor) -> "Site":
        """Where `like` is, in its precision."""
        x, noise, directions, target = (None if part is None else part.to(like) for part in self)
        assert x is not None
        return Site(x, noise, directions, target)

    def rows(self, mine: slice) -> "Site":
        """Those of one process."""
        x, noise, directions, target = self
        return Site(
            x[mine],
            None if noise is None else noise[mine],
            None if directions is None else directions[:, mine],
            None if target is None else target[mine],
        )


class Taking(NamedTuple):
    """The model whose penalty is taken, and how.

    Attributes:
        model: what is followed.
        settings: of the penalty.
        as_before: the model has the weights of the start inside this context.
    """

    model: Autoencoder
    settings: Penalty
    as_before: Callable[[], AbstractContextManager[None]]


Taker = Callable[[Taking, Site], Penalised]
Needs = Literal["nothing", "target", "directions", "target and directions", "code directions"]
SHARE = 0.3  # of the spectral penalty beside the targeted one, whose slopes are about as far apart (docs/choices.md)


@dataclass(frozen=True)
class Kind:
    """One penalty.

    Attributes:
        exact: takes it; its gradient is a second derivative, where the penalty holds a first one.
        by_differences: the same by finite differences.
        needs: what is drawn for it beside the images.
        elsewhere: the reconstruction that the loss needs is not part of it.
        remembers: it looks at the weights of the start.
        weight: lambda2, if none is given: what works best on MNIST (docs/choices.md says how it was measured).
    """

    exact: Taker
    by_differences: Taker
    needs: Needs = "nothing"
    elsewhere: bool = False
    remembers: bool = False
    weight: float = 1.0


def _first(site: Site) -> Tensor:
    assert site.directions is not None
    return site.directions[0]


def _reconstruction(of: Taking, at: Site) -> Penalised:
    return gradient.gradient_penalty(of.model, at.x, at.noise, through_target=_switch(of))


def _reconstruction_by_differences(of: Taking, at: Site) -> Penalised:
    step = of.settings.difference_step
    return gradient.gradient_penalty_by_differences(of.model, at.x, at.noise, through_target=_switch(of), step=step)


def _switch(of: Taking) -> bool | None:
    assert not isinstance(of.settings.through_target, str)
    return of.settings.through_target


def _targeted(of: Taking, at: Site) -> Penalised:
    assert at.target is not None
    return targeted.targeted_penalty(of.model, at.x, at.noise, at.target, margin=of.settings.slope)


def _targeted_by_differences(of: Taking, at: Site) -> Penalised:
    assert at.target is not None
    margin, step = of.settings.slope, of.settings.difference_step
    return targeted.targeted_penalty_by_differences(of.model, at.x, at.noise, at.target, margin=margin, step=step)


def _spectral(of: Taking, at: Site) -> Penalised:
    margin, steps = of.settings.slope, of.settings.power_steps
    return spectral.spectral_penalty(of.model, at.x, at.noise, _first(at), margin=margin, power_steps=steps)


def _spectral_by_differences(of: Taking, at: Site) -> Penalised:
    margin, steps, step = of.settings.slope, of.settings.power_steps, of.settings.difference_step
    return spectral.spectral_penalty_by_differences(
        of.model, at.x, at.noise, _first(at), margin=margin, power_steps=steps, step=step
    )


def _jacobian(what: jacobian.Differentiated) -> Kind:
    def exact(of: Taking, at: Site) -> Penalised:
        assert at.directions is not None
        return jacobian.jacobian_penalty(of.model, at.x, at.noise, at.directions, of=what)

    def by_differences(of: Taking, at: Site) -> Penalised:
        assert at.directions is not None
        step = of.settings.difference_step
        return jacobian.jacobian_penalty_by_differences(of.model, at.x, at.noise, at.directions, of=what, step=step)

    return Kind(exact, by_differences, "code directions" if what == "latent" else "directions")


def _noise(of: Taking, at: Site) -> Penalised:
    return noise.noise_penalty(of.model, at.x, at.noise, _first(at), radius=of.settings.reach)


def _smooth_code(of: Taking, at: Site) -> Penalised:
    radius, steps = of.settings.reach, of.settings.ascent_steps
    return codes.smooth_code_penalty(of.model, at.x, at.noise, _first(at), radius=radius, steps=steps)


def _kept_code(of: Taking, at: Site) -> Penalised:
    radius, steps = of.settings.reach, of.settings.ascent_steps
    with of.as_before():
        old = codes.code_of(of.model, at.x)
    return codes.kept_code_penalty(of.model, at.x, at.noise, _first(at), old, radius=radius, steps=steps)


def _targeted_and_spectral(of: Taking, at: Site) -> Penalised:
    """Hard to steer and hard to break: the sum of the two, each with its own margin if none is given."""
    each = {name: of._replace(settings=of.settings.changed(penalty=name)) for name in ("targeted", "spectral")}
    exact = of.settings.estimator == "exact"
    kinds = {name: KINDS[name].exact if exact else KINDS[name].by_differences for name in each}
    (reconstruction, to_target), (_, stretch) = (kinds[name](taking, at) for name, taking in each.items())
    return reconstruction, to_target + SHARE * stretch


KINDS: dict[str, Kind] = {
    "reconstruction": Kind(_reconstruction, _reconstruction_by_differences),
    "output": _jacobian("output"),
    "latent": _jacobian("latent"),
    "targeted": Kind(_targeted, _targeted_by_differences, "target", weight=30.0),
    "spectral": Kind(_spectral, _spectral_by_differences, "directions", weight=100.0),
    "targeted+spectral": Kind(_targeted_and_spectral, _targeted_and_spectral, "target and directions", weight=30.0),
    # as heavy as the squared error of the images themselves at a variance of 0.02
    "noise": Kind(_noise, _noise, "directions", elsewhere=True, weight=25.0),
    "smooth-code": Kind(_smooth_code, _smooth_code, "directions", elsewhere=True),
    "kept-code": Kind(_kept_code, _kept_code, "directions", elsewhere=True, remembers=True),
}
