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
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor, nn

from doubleback.data import as_unit, rows_at_once
from doubleback.errors import InputError
from doubleback.models.base import Autoencoder
from doubleback.models.classifiers import checked_classes
from doubleback.randomness import check_seed

Covariance = Literal["full", "diag", "tied"]
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

    Args:
        autoencoder: any; only its encoder runs, on the mean path. It is put into evaluation mode.
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
        shape = getattr(autoencoder, "image_shape", None)
        self.image_shape: tuple[int, int, int] | None = shape
        if isinstance(autoencoder, nn.Module):
            autoencoder.eval()

    def code(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B D"]:
        """z = mean of q(z|x)."""
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

    def predict(self, x: Float[Tensor, "B C H W"]) -> list[str | int]:
        """The class of each image."""
        return [self.classes[place] for place in self.log_prob(x).argmax(1).tolist()]

    @classmethod
    def fit(
        cls,
        autoencoder: Autoencoder,
        images: Tensor,
        labels: Int[Tensor, "N"] | Sequence[str | int],
        *,
        components: int = 10,
        covariance: Covariance = "full",
        regularization: float = 1e-3,
        seed: int = 0,
        advance: Callable[[int], None] | None = None,
    ) -> "LatentMixtureClassifier":
        """Encode the images and fit a mixture to the codes of each class.

        Args:
            autoencoder: a trained one.
            images: (N, C, H, W), uint8 or in [0, 1].
            labels: one an image; any integers or names. The classes are sorted.
            components: Gaussians a class.
            covariance: of each Gaussian: "full", "diag", or "tied", one for all Gaussians of a class.
            regularization: added to the diagonal of every covariance.
            seed: of EM's start.
            advance: told of each class that is done.

        Raises:
            InputError: a class has fewer images than `components`, there is but one class, a setting is out of range,
                or a code is not finite.
        """
        names = labels.tolist() if isinstance(labels, Tensor) else list(labels)
        if len(names) != len(images):
            raise InputError(f"there are {len(names)} labels for {len(images)} images; give one an image")
        classes = sorted(set(names), key=lambda name: (isinstance(name, str), name))
        places = {name: place for place, name in enumerate(classes)}
        y = np.array([places[name] for name in names])
        settings: dict[str, Any] = {
            "components": components,
            "covariance": covariance,
            "regularization": regularization,
        }
        _check_settings(y, classes, seed=seed, **settings)
        if isinstance(autoencoder, nn.Module):
            autoencoder.eval()
        codes = encoded(autoencoder, images)
        mixtures, converged = fitted(codes.double().cpu().numpy(), y, classes, seed=seed, advance=advance, **settings)
        found = cls(autoencoder, mixtures.to(codes.device), classes)
        found.converged = converged
        return found


def encoded(autoencoder: Autoencoder, images: Tensor) -> Float[Tensor, "N D"]:
    """The mean codes of uint8 images, or of images in [0, 1], a batch at a time."""
    parameter = next(iter(autoencoder.parameters()), None) if isinstance(autoencoder, nn.Module) else None
    with torch.no_grad():
        batches = (as_unit(batch) for batch in torch.split(images, rows_at_once(images)))
        placed = (x if parameter is None else x.to(parameter.device, parameter.dtype) for x in batches)
        return torch.cat([autoencoder.encode(x).mean for x in placed])


def fitted(
    codes: NDArray[np.float64],
    y: NDArray[np.int64],
    classes: Sequence[str | int],
    *,
    components: int,
    covariance: Covariance,
    regularization: float,
    seed: int,
    advance: Callable[[int], None] | None = None,
) -> tuple[LatentMixtures, tuple[bool, ...]]:
    """A mixture for each class, side by side on the processor's cores, and whether EM converged for each.

    Args:
        codes: (N, D).
        y: (N,), places in `classes`.
        classes, components, covariance, regularization, seed, advance: as in `LatentMixtureClassifier.fit`.

    Raises:
        InputError: as there.
    """
    from joblib import Parallel, delayed
    from sklearn.mixture import GaussianMixture

    settings = {"components": components, "covariance": covariance, "regularization": regularization, "seed": seed}
    _check_settings(y, classes, **settings)  # type: ignore[arg-type]
    if not np.isfinite(codes).all():
        raise InputError("a code is not finite; check the autoencoder and the images for NaN")

    def of_class(place: int) -> GaussianMixture:
        mixture = GaussianMixture(
            components, covariance_type=covariance, reg_covar=regularization, max_iter=300, random_state=seed
        )
        return mixture.fit(codes[y == place])

    # threads: EM spends its time in BLAS, which lets others run; nothing is copied or pickled
    with warnings.catch_warnings():  # of the whole process: not inside its threads
        warnings.simplefilter("ignore")  # `converged_` says it
        try:
            each = Parallel(n_jobs=-1, prefer="threads", return_as="generator")(
                delayed(of_class)(place) for place in range(len(classes))
            )
            found = []
            for mixture in each:
                found.append(mixture)
                if advance:
                    advance(1)
        except ValueError as error:
            raise InputError(f"a covariance is singular; raise the regularization ({regularization})") from error
    log_weights, means, whitening = (
        torch.from_numpy(np.stack(parts))
        for parts in zip(*((np.log(m.weights_), m.means_, _full(m, covariance)) for m in found), strict=True)
    )
    mixtures = LatentMixtures(log_weights, means, whitening)
    for place, mixture in enumerate(found):
        few = codes[y == place][:_COMPARED]
        off = np.abs(mixtures(torch.from_numpy(few))[:, place].numpy() - mixture.score_samples(few)).max()
        if not off <= AGREEMENT:
            raise InputError(
                f"the covariances of class {classes[place]} are so narrow that densities are off by {off:.2g} nats; "
                f"raise the regularization ({regularization})"
            )
    return mixtures, tuple(bool(m.converged_) for m in found)


def _check_settings(
    y: NDArray[np.int64],
    classes: Sequence[str | int],
    *,
    components: int,
    covariance: str,
    regularization: float,
    seed: int,
) -> None:
    """Refuse what cannot be fitted, before anything is encoded. Args and Raises as `fitted`."""
    counts = np.bincount(y, minlength=len(classes))
    check_seed(seed)
    checked_classes(classes)
    if components < 1 or not 0 <= regularization < math.inf:
        raise InputError(f"components is {components}, regularization {regularization}; give at least 1, at least 0")
    if covariance not in ("full", "diag", "tied"):
        raise InputError(f"covariance is {covariance!r}; choose 'full', 'diag' or 'tied'")
    if counts.min() < max(components, 2):
        least = int(counts.argmin())
        raise InputError(
            f"class {classes[least]} has {counts[least]} images for {components} components; "
            "give fewer components, or more images of it (two at least)"
        )


def _full(mixture: object, covariance: Covariance) -> NDArray[np.float64]:
    """scikit-learn's Cholesky factors of the precisions as (M, D, D), whatever the covariance type."""
    factors: NDArray[np.float64] = mixture.precisions_cholesky_  # type: ignore[attr-defined]
    M, D = mixture.means_.shape  # type: ignore[attr-defined]
    if covariance == "diag":
        return factors[:, :, None] * np.eye(D)
    return np.broadcast_to(factors, (M, D, D)) if covariance == "tied" else factors
