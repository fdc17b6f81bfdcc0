"""Mixtures fitted to codes by EM (scikit-learn), and whether to rely on them."""

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from doubleback.errors import InputError
from doubleback.mixture.densities import LatentMixtures
from doubleback.models.classifiers import checked_classes
from doubleback.settings.mixture import Covariance, Mixture

AGREEMENT = 1e-4  # nats, between these densities and scikit-learn's
_COMPARED = 100  # codes of each class on which this is checked


def fitted(
    codes: NDArray[np.float64],
    y: NDArray[np.int64],
    classes: Sequence[str | int],
    mixture: Mixture,
    advance: Callable[[int], None] | None = None,
) -> tuple[LatentMixtures, tuple[bool, ...]]:
    """A mixture for each class, side by side on the processor's cores, and whether EM converged for each.

    Args:
        codes: (N, D).
        y: (N,), places in `classes`.
        classes: names or numbers, K of them.
        mixture: of each class.
        advance: told of each class that is done.

    Raises:
        InputError: as in `LatentMixtureClassifier.fit`.
    """
    check_classes(y, classes, mixture.components)
    if not np.isfinite(codes).all():
        raise InputError("a code is not finite; check the autoencoder and the images for NaN")
    by_class = [codes[y == place] for place in range(len(classes))]
    narrow = f"raise the regularization ({mixture.regularization})"
    try:
        found = _by_em(by_class, mixture, advance)
    except ValueError as error:
        raise InputError(f"a covariance is singular; {narrow}") from error
    log_weights, means, whitening = (
        torch.from_numpy(np.stack(parts))
        for parts in zip(*((np.log(m.weights_), m.means_, _full(m, mixture.covariance)) for m in found), strict=True)
    )
    mixtures = LatentMixtures(log_weights, means, whitening)
    for place, one in enumerate(found):
        few = by_class[place][:_COMPARED]
        off = np.abs(mixtures(torch.from_numpy(few))[:, place].numpy() - one.score_samples(few)).max()
        if not off <= AGREEMENT:
            raise InputError(
                f"the covariances of class {classes[place]} are so narrow that densities are off by {off:.2g} nats; "
                f"{narrow}"
            )
    return mixtures, tuple(bool(m.converged_) for m in found)


def _by_em(
    by_class: Sequence[NDArray[np.float64]], mixture: Mixture, advance: Callable[[int], None] | None
) -> list[Any]:
    """scikit-learn's mixture of the codes of each class. Raises its ValueError where a covariance is singular."""
    from joblib import Parallel, delayed
    from sklearn.mixture import GaussianMixture

    def of_class(codes: NDArray[np.float64]) -> GaussianMixture:
        return GaussianMixture(
            mixture.components,
            covariance_type=mixture.covariance,
            reg_covar=mixture.regularization,
            max_iter=300,
            random_state=mixture.seed,
        ).fit(codes)

    # threads: EM spends its time in BLAS, which lets others run; nothing is copied or pickled
    found = []
    with warnings.catch_warnings():  # of the whole process: not inside its threads
        warnings.simplefilter("ignore")  # `converged_` says it
        for one in Parallel(n_jobs=-1, prefer="threads", return_as="generator")(
            delayed(of_class)(codes) for codes in by_class
        ):
            found.append(one)
            if advance:
                advance(1)
    return found


def check_classes(y: NDArray[np.int64], classes: Sequence[str | int], components: int) -> None:
    """Refuse what cannot be fitted, before anything is encoded. Args and Raises as `fitted`."""
    checked_classes(classes)
    counts = np.bincount(y, minlength=len(classes))
    if counts.min() < 2 * components:
        least = int(counts.argmin())
        raise InputError(
            f"class {classes[least]} has {counts[least]} images for {components} components; "
            "give fewer components, or more images of it (two a component at least)"
        )


def sparse(
    counts: NDArray[np.int64], classes: Sequence[str | int], mixture: Mixture, dimensions: int
) -> dict[str, str]:
    """A flag where a class has fewer codes than its covariances need: the regularization alone holds these up then.

    The covariance of n codes in D dimensions is positive definite, with probability 1, if and only if n > D (Dykstra
    1970, "Establishing the positive definiteness of the sample covariance matrix"). So M full Gaussians need M (D + 1)
    codes, M that share one covariance D + M, and M diagonal ones two each.
    """
    M, D = mixture.components, dimensions
    needed = {"full": M * (D + 1), "tied": D + M, "diag": 2 * M}[mixture.covariance]
    few = [f"{name} ({count})" for name, count in zip(classes, counts.tolist(), strict=True) if count < needed]
    if not few:
        return {}
    return {
        "few_codes": f"{M} Gaussians of {mixture.covariance} covariance in {D} dimensions need {needed} codes, and "
        f"{len(few)} of {len(classes)} classes have fewer: {', '.join(few[:3])}{', ...' * (len(few) > 3)}"
    }


def _full(mixture: object, covariance: Covariance) -> NDArray[np.float64]:
    """scikit-learn's Cholesky factors of the precisions as (M, D, D), whatever the covariance type."""
    factors: NDArray[np.float64] = mixture.precisions_cholesky_  # type: ignore[attr-defined]
    M, D = mixture.means_.shape  # type: ignore[attr-defined]
    if covariance == "diag":
        return factors[:, :, None] * np.eye(D)
    return np.broadcast_to(factors, (M, D, D)) if covariance == "tied" else factors
