"""Pairs of a source and a target: which images, how a model reconstructs them, what an adversarial input reaches."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from doubleback.auditing.measures import ALWAYS, Measure, Seen
from doubleback.data import UNLABELLED
from doubleback.errors import InputError
from doubleback.evaluation import answer
from doubleback.metrics.curve import adversarial_distance, distortion, flag
from doubleback.metrics.images import l2
from doubleback.models import Autoencoder
from doubleback.models.base import decodes
from doubleback.settings.checks import at_least


def draw_pairs(
    count: int,
    labels: Int[Tensor, "N"] | None,
    pairs: int,
    seed: int,
    source_label: int | None = None,
    target_label: int | None = None,
) -> tuple[Int[Tensor, "P"], Int[Tensor, "P"]]:
    """Draw the places of sources, all different, and of a target for each, of another label where there are labels.

    They depend on nothing but the arguments, so every model is attacked on the same pairs; more pairs keep the first.

    Args:
        count: how many images there are.
        labels: of the images; one without a label (-1) is in no pair.
        pairs: how many to draw.
        seed: draws them.
        source_label, target_label: where given, the label that every source or every target has.

    Raises:
        InputError: fewer than one pair, more pairs than images, images of a single label, or none of a label given.
    """
    at_least(1, pairs=pairs)
    if pairs > count or count < 2:
        raise InputError(f"pairs is {pairs}, but there are {count} test images; ask for fewer pairs")
    if labels is not None and len(labels) != count:
        raise InputError(f"there are {len(labels)} labels for {count} images; give one for each image")
    kind = np.arange(count) if labels is None else labels.cpu().numpy()
    known = np.ones(count, dtype=bool) if labels is None else kind != UNLABELLED
    if len(held := np.unique(kind[known])) < 2:
        raise InputError(
            f"all {count} test images have the label {[*held, UNLABELLED][0]}; pass images of several, or no labels"
        )
    may_be_source = known & np.isin(kind, kind if source_label is None else source_label)
    may_be_target = known & np.isin(kind, kind if target_label is None else target_label)
    if target_label is not None:
        may_be_source &= ~may_be_target
    if labels is None and (source_label is not None or target_label is not None):
        raise InputError("the images have no labels to choose the sources or the targets by; leave them out")
    if pairs > may_be_source.sum() or not may_be_target.any():
        raise InputError(
            f"pairs is {pairs}, but {may_be_source.sum()} images can be sources and {may_be_target.sum()} targets "
            f"(labels {source_label} and {target_label}); choose two labels that differ, or fewer pairs"
        )
    rng = np.random.default_rng(seed)
    source = rng.permutation(count)
    source = source[may_be_source[source]][:pairs]
    target = [rng.choice(np.flatnonzero((kind != kind[place]) & may_be_target)) for place in source]
    return torch.from_numpy(source), torch.tensor(target)


def own_pairs(
    images: Any, labels: Any, pairs: Sequence[tuple[Any, Any]]
) -> tuple[Any, Any, tuple[Int[Tensor, "P"], Int[Tensor, "P"]]]:
    """Images, their labels, and the places of sources and targets, of pairs that somebody has chosen.

    Args:
        images: from which places choose; not asked for where the pairs are images.
        labels: of these.
        pairs: (source, target) each: two places, or two images (C, H, W) or (1, C, H, W).

    Raises:
        InputError: there is none, one is not a pair, or a place is outside the images.
    """
    if not pairs or any(not isinstance(pair, tuple | list) or len(pair) != 2 for pair in pairs):
        raise InputError("pairs must be a row of (source, target); give at least one")
    if all(isinstance(end, int | np.integer) for pair in pairs for end in pair):
        places = torch.tensor([[int(end) for end in pair] for pair in pairs])
        if images is None or not bool(((places >= 0) & (places < len(images))).all()):
            raise InputError(f"pairs hold places from {places.min()} to {places.max()}; give places in the images")
        return images, labels, (places[:, 0], places[:, 1])
    ends = [torch.as_tensor(end) for pair in pairs for end in pair]
    ends = [end[0] if end.dim() == 4 and len(end) == 1 else end for end in ends]
    if len({(end.shape, end.dtype) for end in ends}) > 1:
        raise InputError("the images of the pairs differ in shape or type; bring them to one")
    every = torch.arange(len(ends))
    return torch.stack(ends), None, (every[::2], every[1::2])


def label_of(named: str | int | None, names: Sequence[str | int] | None) -> int | None:
    """The label that a class's name, or the label itself, stands for.

    Raises:
        InputError: it is none of the classes.

    >>> label_of("dog", ("cat", "dog")), label_of("3", None), label_of(2, ("a", "b", "c"))
    (1, 3, 2)
    """
    if not isinstance(named, str):
        return named
    known = [str(name) for name in names or ()]
    if named not in known and (known or not named.isdecimal()):
        raise InputError(f"class {named!r} is unknown; choose one of {', '.join(known) or 'the labels, whole numbers'}")
    return known.index(named) if known else int(named)


class Pairs:
    """Some pairs, how the model reconstructs them, and what an adversarial input has reached."""

    def __init__(self, model: Autoencoder, source: Tensor, target: Tensor, draws: Sequence[Tensor | None]) -> None:
        self.model, self.source, self.target = model, source, target
        self.draws = [None if draw is None else draw.to(source) for draw in draws]
        self.of_source = [answer(model, source, draw) for draw in self.draws]
        self.rec_source = [one.mean for one in self.of_source]
        self.rec_target = [answer(model, target, draw).mean for draw in self.draws]
        # for an encoder alone the aim is the target's code, not the target
        self.aims = [target if decodes(model) else rec_target for rec_target in self.rec_target]

    @property
    def flagged(self) -> Bool[Tensor, "P"]:
        """Those without a meaningful curve, for any draw of the noise."""
        each = [
            flag(self.source if decodes(self.model) else rec_source, aim, rec_source, rec_target)
            for rec_source, rec_target, aim in zip(self.rec_source, self.rec_target, self.aims, strict=True)
        ]
        return torch.stack(each).any(0)

    def distortion(self, x_adv: Float[Tensor, "P K ..."]) -> Float[Tensor, "P K"]:
        """u."""
        return distortion(x_adv, self.source, self.target)

    def adversarial_distance(self, x_adv: Float[Tensor, "P K ..."], *, targeted: bool = True) -> Float[Tensor, "P K"]:
        """v, a mean over the draws; without a target the change that is left, max(0, 1 - change / way)."""
        return self.reached(x_adv, targeted=targeted)["adversarial_distance"]

    def reached(
        self, x_adv: Float[Tensor, "P K ..."], *, targeted: bool = True, measures: Mapping[str, Measure] = ALWAYS
    ) -> dict[str, Float[Tensor, "P K"]]:
        """What adversarial inputs have reached, by name, means over the draws.

        Returns:
            `adversarial_distance`, and those of the measures that have a meaning for this model.
        """
        P, K = x_adv.shape[:2]
        pair = torch.arange(P, device=x_adv.device).repeat_interleave(K)
        found: dict[str, list[Tensor]] = {}
        for place, draw in enumerate(self.draws):
            made = answer(self.model, x_adv.flatten(0, 1), draw)
            rec_adv = made.mean.view(P, K, *made.mean.shape[1:])
            ends = self.rec_source[place], self.rec_target[place]
            v = adversarial_distance(rec_adv, *ends, self.aims[place]) if targeted else _left(rec_adv, *ends)
            found.setdefault("adversarial_distance", []).append(v)
            seen = Seen(self.source[pair], x_adv.flatten(0, 1), self.of_source[place].at(pair), made)
            for name, measure in measures.items():
                if (values := measure(seen)) is not None:
                    found.setdefault(name, []).append(values.view(P, K))
        return {name: torch.stack(each).mean(0) for name, each in found.items()}

    @property
    def ends(self) -> tuple[Float[Tensor, "P"], Float[Tensor, "P"], Float[Tensor, "P"]]:
        """||x_0 - x_t||, ||x_hat_0 - x_t|| and ||x_hat_t - x_t||, on the first draw of the noise."""
        from_target = (self.source, self.rec_source[0], self.rec_target[0])
        apart, start, floor = (l2(one, self.target) for one in from_target)
        return apart, start, floor

    @property
    def way(self) -> Float[Tensor, "P"]:
        """||x_hat_0 - x_hat_t||, a mean over the draws: damage in units of it is comparable between pairs."""
        return torch.stack(list(map(l2, self.rec_source, self.rec_target))).mean(0)


def _left(rec_adv: Tensor, rec_source: Tensor, rec_target: Tensor) -> Tensor:
    """max(0, 1 - change / way): without a target, what is left of the reconstruction."""
    return (1 - distortion(rec_adv, rec_source, rec_target)).clamp_min(0)
