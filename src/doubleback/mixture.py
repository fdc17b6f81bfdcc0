"""The robust classifier: one Gaussian mixture per class on an autoencoder's code (paper, equations 13 and 14).

    p(z|i) = sum_j pi_ij N(z; mu_ij, Sigma_ij),    z = mean of q(z|x)
    f_i(x) = p(z|i) / sum_k p(z|k)

fitted by EM (scikit-learn) and evaluated in torch, differentiable in x, always as logarithms:

    log p(z|i) = logsumexp_j [c_ij + b_ij' z - z' P_ij z / 2],   P = L L' = Sigma^-1,   b = P mu,
    c = log pi - D/2 log 2 pi + log det L - mu' P mu / 2

The expanded square makes all Gaussians one matrix product with the products of z's elements; in float64 and about the
centre of all means, where what it cancels is not missed.
"""

import math
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor, nn

from doubleback.errors import InputError
from doubleback.models.base import Autoencoder
from doubleback.models.classifiers import checked_classes
from doubleback.settings.mixture import Covariance, Mixture
from doubleback.state import at_work, evaluating
from doubleback.tensors import Images, Labels, as_images, as_labels, placed, rows_at_once

AGREEMENT = 1e-4  # nats, between these densities and scikit-learn's
_COMPARED = 100  # codes of each class by which that is seen to
_PRODUCTS = 1 << 23  # of elements of z at a time: what bounds the memory


class LatentMixtures(nn.Module):
    """log p(z|i) of K classes, each a mixture of M Gaussians in D dimensions, in float64.

    Buffers: `log_weights` (K, M), `means` (K, M, D), `whitening` (K, M, D, D): L, with L L' the inverse covariance.

    Args:
        log_weights, means, whitening: as above.
    """

    PARTS = ("log_weights", "means", "whitening")
    log_weights: Tensor
    means: Tensor
    whitening: Tensor
    centre: Tensor
    P: Tensor
    b: Tensor
    c: Tensor
    upper: Tensor
    packed: Tensor

    def __init__(
        self,
        log_weights: Float[Tensor, "K M"],
        means: Float[Tensor, "K M D"],
        whitening: Float[Tensor, "K M D D"],
    ) -> None:
        super().__init__()
        for name, values in zip(self.PARTS, (log_weights, means, whitening), strict=True):
            self.register_buffer(name, values.double())
        for name in ("centre", "P", "b", "c", "upper", "packed"):
            self.register_buffer(name, torch.empty(0), persistent=False)
        self._expand_square()
        self.register_load_state_dict_post_hook(lambda module, _: module._expand_square())  # type: ignore[no-untyped-call]

    def _expand_square(self) -> None:
        """P (K M, D D), b (K M, D) and c (K M,) from the parts."""
        self.centre = self.means.mean((0, 1))
        L, mu = self.whitening, self.means - self.centre
        D = mu.shape[2]
        precision = L @ L.mT
        b = (precision @ mu[..., None]).squeeze(-1)
        log_det = L.diagonal(dim1=2, dim2=3).log().sum(2)
        self.P, self.b = precision.flatten(0, 1).flatten(1), b.flatten(0, 1)
        self.c = (self.log_weights - D / 2 * math.log(2 * math.pi) + log_det - (mu * b).sum(2) / 2).flatten()
        self.upper = torch.triu_indices(D, D, device=mu.device)
        twice = torch.where(self.upper[0] == self.upper[1], 1.0, 2.0).to(mu)
        self.packed = (self.P[:, self.upper[0] * D + self.upper[1]] * twice).T.contiguous()

    def forward(self, z: Float[Tensor, "B D"]) -> Float[Tensor, "B K"]:
        """log p(z|i) in nats, float64."""
        parts = (self.packed, self.upper, self.P, self.b, self.c)
        rows = max(1, _PRODUCTS // z.shape[1] ** 2)
        chunks = torch.split(z.double() - self.centre, rows)
        log_joint = torch.cat([_LogJoint.apply(chunk, *parts) for chunk in chunks])  # type: ignore[no-untyped-call]
        return torch.logsumexp(log_joint.view(len(z), *self.log_weights.shape), dim=2)


class _LogJoint(torch.autograd.Function):
    """c + b' z - z' P z / 2 of each Gaussian, (B, K M), whose gradient in z, b - P z, needs no products of z.

    P is symmetric: going forward, its upper half is enough.
    """

    @staticmethod
    def forward(z: Tensor, packed: Tensor, upper: Tensor, P: Tensor, b: Tensor, c: Tensor) -> Tensor:
        del P
        i, j = upper
        return torch.addmm(c + z @ b.T, z[:, i] * z[:, j], packed, alpha=-0.5)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        del output
        z, _, _, P, b, _ = inputs
        ctx.save_for_backward(z, P, b)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, None, None, None, None, None]:
        z, P, b = ctx.saved_tensors
        D = z.shape[1]
        Pz = (g @ P).view(-1, D, D) @ z[:, :, None]
        return g @ b - Pz.squeeze(-1), None, None, None, None, None


class LatentMixtureClassifier(nn.Module):
    """An autoencoder's encoder with class mixtures on its code.

    Attributes:
        converged: whether EM did, for each class, where `fit` has made it.
        flags: sentences, by name, that say why the mixtures are not to be relied on: see `sparse`.

    Args:
        autoencoder: any; only its encoder runs, on the mean path, as in evaluation mode whatever mode it is in.
        mixtures: of its codes.
        classes: K names or numbers, in the order of the mixtures.

    Raises:
        InputError: there are not as many classes as mixtures.
    """

    def __init__(self, autoencoder: Autoencoder, mixtures: LatentMixtures, classes: Sequence[str | int]) -> None:
        super().__init__()
        if len(classes) != len(mixtures.means):
            raise InputError(f"there are {len(classes)} classes for {len(mixtures.means)} mixtures; give one each")
        self.autoencoder, self.mixtures, self.classes = autoencoder, mixtures, checked_classes(classes)
        self.converged: tuple[bool, ...] = ()
        self.flags: dict[str, str] = {}
        shape = getattr(autoencoder, "image_shape", None)
        self.image_shape: tuple[int, int, int] | None = shape
        self.training = False

    def train(self, mode: bool = True) -> "LatentMixtureClassifier":
        """Change nothing: it always answers as in evaluation mode."""
        del mode
        return self

    def code(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B D"]:
        """z = mean of q(z|x), in evaluation mode."""
        with evaluating(self.autoencoder):
            return self.autoencoder.encode(x).mean

    def log_prob(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B K"]:
        """log p(z|i) in nats, float64, differentiable in x."""
        scores: Tensor = self.mixtures(self.code(x))
        return scores

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B K"]:
        """The scores: `log_prob`."""
        return self.log_prob(x)

    def predict_proba(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B K"]:
        """f_i(x), rows that sum to one."""
        return self.log_prob(x).softmax(1)

    def predict(self, x: Images) -> list[str | int]:
        """The class of each image, (N, C, H, W), a tensor or a NumPy array, uint8 or in [0, 1]; a batch at a time.

        Raises:
            InputError: as `tensors.as_images`.
        """
        with at_work(self), torch.no_grad():
            images = placed(self.autoencoder, x)
            batches = torch.split(images, rows_at_once(images))
            return [self.classes[place] for batch in batches for place in self.log_prob(batch).argmax(1).tolist()]

    @classmethod
    def fit(
        cls,
        autoencoder: Autoencoder,
        images: Images,
        labels: Labels,
        mixture: Mixture | None = None,
        *,
        advance: Callable[[int], None] | None = None,
        **changes: Any,
    ) -> "LatentMixtureClassifier":
        """Encode the images and fit a mixture to the codes of each class.

        Args:
            autoencoder: a trained one; a module is put into evaluation mode meanwhile.
            images: (N, C, H, W), a tensor or a NumPy array, uint8 or in [0, 1].
            labels: one an image; any whole numbers but -1, or names. The classes are sorted.
            mixture: of each class; None: the defaults of `Mixture`.
            advance: told of each class that is done.
            changes: fields of the mixture to change.

        Raises:
            InputError: a class has fewer than two images a component, there is but one class, a setting is out of
                range, a code is not finite, or an image or a label is not to be used (`tensors`).
        """
        mixture = (mixture or Mixture()).changed(**changes)
        with at_work(autoencoder):
            x = as_images(images, autoencoder)
            names = _as_names(labels, len(x))
            return cls._fitted(autoencoder, x, names, mixture, advance)

    @classmethod
    def _fitted(
        cls,
        autoencoder: Autoencoder,
        images: Tensor,
        names: Sequence[str | int],
        mixture: Mixture,
        advance: Callable[[int], None] | None,
    ) -> "LatentMixtureClassifier":
        classes = sorted(set(names), key=lambda name: (isinstance(name, str), name))
        places = {name: place for place, name in enumerate(classes)}
        y = np.array([places[name] for name in names])
        _check_classes(y, classes, mixture.components)
        codes = encoded(autoencoder, images)
        mixtures, converged = fitted(codes.double().cpu().numpy(), y, classes, mixture, advance)
        found = cls(autoencoder, mixtures.to(codes.device), classes)
        found.converged, found.flags = converged, sparse(np.bincount(y), classes, mixture, codes.shape[1])
        return found


def _as_names(labels: Labels, count: int) -> list[str | int]:
    """One name or whole number for each of `count` images."""
    given = labels.tolist() if isinstance(labels, np.ndarray) else labels
    if isinstance(given, (list, tuple)) and any(isinstance(name, str) for name in given):
        if len(given) != count:
            raise InputError(f"there are {len(given)} labels for {count} images; give one an image")
        if odd := [name for name in given if not isinstance(name, (str, int))]:
            raise InputError(f"labels hold {odd[0]!r} among names; give names, or whole numbers from 0")
        return list(given)
    return as_labels(labels, count, any_number=True).tolist()


def encoded(autoencoder: Autoencoder, images: Tensor) -> Float[Tensor, "N D"]:
    """The mean codes of uint8 images, or of images in [0, 1], a batch at a time."""
    with torch.no_grad():
        batches = torch.split(images, rows_at_once(images))
        return torch.cat([autoencoder.encode(placed(autoencoder, batch)).mean for batch in batches])


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
    _check_classes(y, classes, mixture.components)
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


def _check_classes(y: NDArray[np.int64], classes: Sequence[str | int], components: int) -> None:
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
