"""The classifier: an encoder, and the mixtures of its codes (equation 14)."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from doubleback.errors import InputError
from doubleback.mixture.densities import LatentMixtures
from doubleback.mixture.fitting import check_classes, fitted, sparse
from doubleback.models.base import Autoencoder
from doubleback.models.classifiers import checked_classes
from doubleback.settings.mixture import Mixture
from doubleback.state import at_work, evaluating
from doubleback.tensors import Images, Labels, as_images, as_labels, placed, rows_at_once


class LatentMixtureClassifier(nn.Module):
    """An autoencoder's encoder with class mixtures on its code.

    Attributes:
        converged: whether EM did, for each class, where `fit` has made it.
        flags: sentences, by name, that say why you cannot rely on the mixtures: see `sparse`.

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
            return self.autoencoder.encode(x).mean.flatten(1)

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
                range, a code is not finite; or an image or a label cannot be used (`tensors`).
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
        check_classes(y, classes, mixture.components)
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
            raise InputError(f"there are {len(given)} labels for {count} images; give one for each image")
        if odd := [name for name in given if not isinstance(name, (str, int))]:
            raise InputError(f"labels hold {odd[0]!r} among names; give names, or whole numbers from 0")
        return list(given)
    return as_labels(labels, count, any_number=True).tolist()


def encoded(autoencoder: Autoencoder, images: Tensor) -> Float[Tensor, "N D"]:
    """The mean codes of uint8 images, or of images in [0, 1], a batch at a time."""
    with torch.no_grad():
        batches = torch.split(images, rows_at_once(images))
        return torch.cat([autoencoder.encode(placed(autoencoder, batch)).mean.flatten(1) for batch in batches])
