"""An audit in the making: what each chunk of pairs adds to its points and to its gallery."""

import time
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from doubleback.attacks import Attack
from doubleback.attacks.rows import Advance
from doubleback.auditing.pairs import Pairs
from doubleback.auditing.record import BLEND, BUDGETS, Array, Points
from doubleback.evaluation import reconstruct
from doubleback.metrics.images import l2
from doubleback.models.base import decodes
from doubleback.tensors import as_pixels, column, rows_at_once

BLEND_POINTS = 101
SHOWN = 8  # pairs in the gallery
Rows = NDArray[np.intp]  # places of pairs
QUALITY = {"reconstruction_l2": l2}
"""By their names in the results: measures (x_hat, x) -> (P,) of how well the sources are reconstructed."""
UNCLAMPED = "reconstruction_l2_unclamped"  # as the model gives it, where that may leave [0, 1]


class Sheet:
    """Points and pictures of P pairs, filled chunk by chunk."""

    def __init__(
        self, pairs: int, attacks: Sequence[Attack], image_shape: Sequence[int], *, pictures: bool = True
    ) -> None:
        shown, budgets = min(pairs, SHOWN), len(BUDGETS)
        self.flagged, self.unmeasured = np.zeros(pairs, dtype=bool), np.zeros(pairs, dtype=bool)
        self.source_quality = {name: np.full(pairs, np.nan) for name in QUALITY}
        self.points = {attack.name: Points.none_yet(pairs, attack.capability.count) for attack in attacks}
        self.points[BLEND] = Points.none_yet(pairs, BLEND_POINTS)
        self.gallery: dict[str, Array] = {"budgets": np.array(BUDGETS)}
        pictures = pictures and len(image_shape) == 3  # a signal has none
        for name in ("source", "target", "source_reconstruction", "target_reconstruction") if pictures else ():
            self.gallery[name] = np.zeros((shown, *image_shape), dtype=np.uint8)
        for name in (attack.name for attack in attacks):
            for image in ("x_adv", "reconstruction") if pictures else ():
                self.gallery[f"{name}/{image}"] = np.zeros((shown, budgets, *image_shape), dtype=np.uint8)
            for measure in ("distortion", "adversarial_distance"):
                self.gallery[f"{name}/{measure}"] = np.full((shown, budgets), np.nan)

    def take(self, other: "Sheet", name: str, rows: Rows) -> None:
        """What another process has found for these pairs; the time of an attack is the longest of all processes'."""
        mine, points = self.points[name], other.points[name]
        mine.distortion[rows] = points.distortion[rows]
        mine.adversarial_distance[rows] = points.adversarial_distance[rows]
        mine.converged[rows] = points.converged[rows]
        for further, values in points.further.items():
            mine.note(further, rows, values[rows])
        mine.seconds = max(mine.seconds, points.seconds)
        shown = rows[rows < SHOWN]
        for image, values in other.gallery.items():
            if image.startswith(f"{name}/"):
                self.gallery[image][shown] = values[shown]

    def put_reconstructions(self, rows: Rows, pairs: Pairs) -> None:
        """Which pairs are flagged, and what the gallery shows of every pair."""
        self.flagged[rows] = pairs.flagged.cpu().numpy()
        if decodes(pairs.model):
            for name, measure in QUALITY.items():
                self._grade(name, rows, measure(pairs.rec_source[0], pairs.source))
            if unclamped := getattr(pairs.model, "unclamped", None):
                with torch.no_grad():
                    raw = [unclamped(x).likelihood.mean for x in torch.split(pairs.source, rows_at_once(pairs.source))]
                self._grade(UNCLAMPED, rows, l2(torch.cat(raw), pairs.source))
        if pairs.of_source[0].rate is not None:
            self._grade("rate", rows, pairs.of_source[0].rate)
        self._show("source", rows, pairs.source)
        self._show("target", rows, pairs.target)
        self._show("source_reconstruction", rows, pairs.rec_source[0])
        self._show("target_reconstruction", rows, pairs.rec_target[0])

    def flag_unmeasured(self) -> None:
        """Flag the pairs that an attack has brought to a reconstruction that is not finite: they have no curve."""
        measured = [np.isfinite(one.distortion + one.adversarial_distance).all(1) for one in self.points.values()]
        self.unmeasured = ~(np.logical_and.reduce(measured) | self.flagged)
        self.flagged |= self.unmeasured
        for points in self.points.values():
            points.distortion[self.unmeasured] = points.adversarial_distance[self.unmeasured] = np.nan

    def put_blend(self, rows: Rows, pairs: Pairs) -> None:
        """x0 + u (x_t - x0) for u from 0 to 1."""
        shares = torch.linspace(0, 1, BLEND_POINTS).to(pairs.source)
        blends = pairs.source[:, None].lerp(pairs.target[:, None], column(shares, pairs.source))
        self._put(BLEND, rows, pairs, blends)

    def put_attack(self, attack: Attack, rows: Rows, pairs: Pairs, advance: Advance) -> None:
        """Run one attack and score it."""
        started = time.perf_counter()
        points = self.points[attack.name]
        found = attack(pairs.model, pairs.source, pairs.target, advance=advance)
        self._put(attack.name, rows, pairs, found.x_adv, targeted=attack.goal.targeted)
        if not attack.search.samples:  # Adam on noise never says that it has converged
            points.converged[rows] = found.converged.cpu().double().mean(1).numpy()
        points.seconds += time.perf_counter() - started
        self._show_within_budgets(attack.name, rows, found.x_adv, pairs)

    def _put(
        self, name: str, rows: Rows, pairs: Pairs, x_adv: Float[Tensor, "P K C H W"], *, targeted: bool = True
    ) -> None:
        points, reached = self.points[name], pairs.reached(x_adv, targeted=targeted)
        points.distortion[rows] = pairs.distortion(x_adv).cpu().double().numpy()
        points.adversarial_distance[rows] = reached.pop("adversarial_distance").cpu().double().numpy()
        for further, values in reached.items():
            points.note(further, rows, values.cpu().double().numpy())

    def _show_within_budgets(self, name: str, rows: Rows, x_adv: Tensor, pairs: Pairs) -> None:
        """For every budget the adversarial input of the smallest v whose u is within it (else of the smallest u)."""
        shown = rows[rows < SHOWN]
        if not len(shown):
            return
        points = self.points[name]
        u, v = points.distortion[shown][:, None], points.adversarial_distance[shown][:, None]
        within = u <= np.array(BUDGETS)[:, None]
        best = np.where(within.any(2), np.where(within, v, np.inf).argmin(2), u.argmin(2))  # (shown, Q)
        place = np.arange(len(shown))[:, None]
        chosen = x_adv[place, torch.from_numpy(best)]
        self._show(f"{name}/x_adv", shown, chosen)
        if decodes(pairs.model):
            reconstruction = reconstruct(pairs.model, chosen.flatten(0, 1), pairs.draws[0]).view_as(chosen)
            self._show(f"{name}/reconstruction", shown, reconstruction)
        self.gallery[f"{name}/distortion"][shown] = u[place, 0, best]
        self.gallery[f"{name}/adversarial_distance"][shown] = v[place, 0, best]

    def _show(self, name: str, rows: Rows, images: Tensor) -> None:
        """Keep the pictures of the first pairs; what is no picture, a signal or a code, is not shown."""
        shown = rows < SHOWN
        if name in self.gallery and self.gallery[name].shape[-images[0].dim() :] == images.shape[1:]:
            self.gallery[name][rows[shown]] = as_pixels(images[shown])

    def _grade(self, name: str, rows: Rows, values: Tensor) -> None:
        """How well these sources are reconstructed, by one measure."""
        own = self.source_quality.setdefault(name, np.full(len(self.flagged), np.nan))
        own[rows] = values.cpu().double().numpy()
