"""An audit in the making: what each chunk of pairs adds to its points and to its gallery."""

import time
from collections.abc import Mapping, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from doubleback.attacks import Attack
from doubleback.attacks.rows import Advance
from doubleback.auditing.filling import columns, filled
from doubleback.auditing.measures import ALWAYS, DAMAGE, MEASURES, Measure
from doubleback.auditing.pairs import Pairs
from doubleback.auditing.record import BLEND, BUDGETS, Array, Points, has_curve
from doubleback.evaluation import reconstruct
from doubleback.metrics.certificate import certified_auddc
from doubleback.metrics.images import l2
from doubleback.models.base import Autoencoder, decodes
from doubleback.settings import Budget, Price
from doubleback.tensors import as_pixels, column, rows_at_once

BLEND_POINTS = 101
SHOWN = 8  # pairs in the gallery
STOPS = (0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5, 0.6, 0.8, 1.0)  # distortions of the report's slider
MOVING, SIDE = 4, 128  # pairs with pictures at every stop; larger pictures are shrunk to so many pixels a side
Rows = NDArray[np.intp]  # places of pairs
QUALITY = {"reconstruction_l2": l2}
"""By their names in the results: measures (x_hat, x) -> (P,) of how well the sources are reconstructed."""
UNCLAMPED = "reconstruction_l2_unclamped"  # as the model gives it, where that may leave [0, 1]


class Sheet:
    """Points and pictures of P pairs, filled chunk by chunk."""

    def __init__(self, pairs: int, attacks: Sequence[Attack], image_shape: Sequence[int], model: Autoencoder) -> None:
        shown = min(pairs, SHOWN)
        self.flagged, self.unmeasured = np.zeros(pairs, dtype=bool), np.zeros(pairs, dtype=bool)
        self.source_quality = {name: np.full(pairs, np.nan) for name in QUALITY}
        self.points = {
            attack.name: Points.none_yet(pairs, columns(attack, model), attack.capability.count) for attack in attacks
        }
        self.points[BLEND] = Points.none_yet(pairs, BLEND_POINTS)
        self.way = np.full(pairs, np.nan)
        self.certified = np.full(pairs, np.nan)
        self.gallery: dict[str, Array] = {"budgets": np.array(BUDGETS)}
        pictures = decodes(model) and len(image_shape) == 3  # a signal has none
        for name in ("source", "target", "source_reconstruction", "target_reconstruction") if pictures else ():
            self.gallery[name] = np.zeros((shown, *image_shape), dtype=np.uint8)
        for attack in (attack for attack in attacks if pictures and not has_curve(attack)):
            for image in ("x_adv", "reconstruction"):
                shape = shown, attack.capability.count, *image_shape
                self.gallery[f"{attack.name}/eps/{image}"] = np.zeros(shape, dtype=np.uint8)
        small = shrunk(torch.empty((1, *image_shape))).shape[1:] if pictures else None
        for attack in (attack for attack in attacks if attack.name != DAMAGE):
            self._make_room(attack.name, (shown, len(BUDGETS)), image_shape if pictures else None)
            if pictures and has_curve(attack):
                self.gallery["stops"] = np.array(STOPS)
                self._make_room(f"{attack.name}/stops", (min(pairs, MOVING), len(STOPS)), small)

    def _make_room(self, place: str, table: tuple[int, int], image_shape: Sequence[int] | None) -> None:
        """For what `_show_within` keeps of one attack: pictures, unless there are none, and where they lie."""
        if image_shape is not None:
            for image in ("x_adv", "reconstruction"):
                self.gallery[f"{place}/{image}"] = np.zeros((*table, *image_shape), dtype=np.uint8)
        for measure in ("distortion", "adversarial_distance"):
            self.gallery[f"{place}/{measure}"] = np.full(table, np.nan)

    def take(self, other: "Sheet", name: str, rows: Rows) -> None:
        """What another process has found for these pairs; the time of an attack is the longest of all processes'."""
        mine, points = self.points[name], other.points[name]
        mine.distortion[rows] = points.distortion[rows]
        mine.adversarial_distance[rows] = points.adversarial_distance[rows]
        mine.converged[rows] = points.converged[rows]
        for further, values in points.further.items():
            mine.note(further, rows, values[rows])
        mine.seconds = max(mine.seconds, points.seconds)
        for image, values in other.gallery.items():
            if image.startswith(f"{name}/"):
                shown = rows[rows < len(values)]
                self.gallery[image][shown] = values[shown]

    def put_reconstructions(self, rows: Rows, pairs: Pairs) -> None:
        """Which pairs are flagged, and what the gallery shows of every pair."""
        self.flagged[rows] = pairs.flagged.cpu().numpy()
        self.way[rows] = pairs.way.cpu().double().numpy()
        if lipschitz := getattr(pairs.model, "lipschitz", None):
            self.certified[rows] = certified_auddc(lipschitz, *(one.cpu().double().numpy() for one in pairs.ends))
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

    def flag_unmeasured(self, names: Sequence[str]) -> None:
        """Flag the pairs that one of these attacks has brought to a reconstruction that is not finite."""
        curved = [self.points[name] for name in (BLEND, *names)]
        measured = [np.isfinite(one.distortion + one.adversarial_distance).all(1) for one in curved]
        self.unmeasured = ~(np.logical_and.reduce(measured) | self.flagged)
        self.flagged |= self.unmeasured
        for points in curved:
            points.distortion[self.unmeasured] = points.adversarial_distance[self.unmeasured] = np.nan

    def put_blend(self, rows: Rows, pairs: Pairs) -> None:
        """x0 + u (x_t - x0) for u from 0 to 1, as many at once as go through the model together."""
        shares = torch.linspace(0, 1, BLEND_POINTS).to(pairs.source)
        some = torch.split(shares, max(1, rows_at_once(pairs.source) // len(rows)))
        blends = (pairs.source[:, None].lerp(pairs.target[:, None], column(u, pairs.source)) for u in some)
        self._put(BLEND, rows, _joined([self._reached(pairs, x) for x in blends]))

    def put_attack(self, attack: Attack, rows: Rows, pairs: Pairs, advance: Advance) -> None:
        """Run one attack and score it; where it left holes in a curve, fill them."""
        started = time.perf_counter()
        points, targeted = self.points[attack.name], attack.goal.targeted
        found = attack(pairs.model, pairs.source, pairs.target, advance=advance)
        x_adv = found.x_adv
        measures = MEASURES if isinstance(attack.capability, Budget) else ALWAYS
        reached = [self._reached(pairs, x_adv, targeted=targeted, measures=measures)]
        if isinstance(attack.capability, Price):
            known = reached[0]["distortion"], reached[0]["adversarial_distance"]
            new = filled(attack, pairs, x_adv, known, lambda x: self._at(pairs, x, targeted), advance)
            reached.append(self._reached(pairs, new, targeted=targeted, measures=measures))
            x_adv = torch.cat([x_adv, new], dim=1)
        self._put(attack.name, rows, _joined(reached))
        if isinstance(attack.capability, Price) and not attack.search.samples:  # other searches never say so
            points.converged[rows] = found.converged.cpu().double().mean(1).numpy()
        points.seconds += time.perf_counter() - started
        if attack.name != DAMAGE:  # a curve, without pictures
            self._show_within(attack.name, BUDGETS, points, rows, x_adv, pairs)
            self._show_within(f"{attack.name}/stops", STOPS, points, rows, x_adv, pairs)
        if not has_curve(attack):
            self._show_all(attack.name, rows, x_adv, pairs)

    def _at(self, pairs: Pairs, x_adv: Tensor, targeted: bool) -> tuple[Array, Array]:
        """u and v of adversarial inputs."""
        found = self._reached(pairs, x_adv, targeted=targeted, measures={})
        return found["distortion"], found["adversarial_distance"]

    def _reached(
        self, pairs: Pairs, x_adv: Tensor, *, targeted: bool = True, measures: Mapping[str, Measure] = ALWAYS
    ) -> dict[str, Array]:
        """What adversarial inputs (P, K, ...) have reached, by name, (P, K) each."""
        found = {"distortion": pairs.distortion(x_adv)}
        found |= pairs.reached(x_adv, targeted=targeted, measures=measures)
        return {name: values.cpu().double().numpy() for name, values in found.items()}

    def _put(self, name: str, rows: Rows, reached: dict[str, Array]) -> None:
        points = self.points[name]
        points.distortion[rows] = reached.pop("distortion")
        points.adversarial_distance[rows] = reached.pop("adversarial_distance")
        for further, values in reached.items():
            points.note(further, rows, values)

    def _show_within(
        self, place: str, budgets: Sequence[float], points: Points, rows: Rows, x_adv: Tensor, pairs: Pairs
    ) -> None:
        """For every budget the adversarial input of the smallest v whose u is within it (else of the smallest u)."""
        kept = self.gallery.get(f"{place}/distortion", ())
        shown = rows[rows < len(kept)]
        if not len(shown):
            return
        u, v = points.distortion[shown][:, None], points.adversarial_distance[shown][:, None]
        within = u <= np.array(budgets)[:, None]
        best = np.where(within.any(2), np.where(within, v, np.inf).argmin(2), u.argmin(2))  # (shown, Q)
        own = np.arange(len(shown))[:, None]
        chosen = x_adv[own, torch.from_numpy(best)]
        made = {"x_adv": chosen}
        if decodes(pairs.model):
            made["reconstruction"] = reconstruct(pairs.model, chosen.flatten(0, 1), pairs.draws[0]).view_as(chosen)
        for image, pictures in made.items():
            self._show(f"{place}/{image}", shown, pictures)
        self.gallery[f"{place}/distortion"][shown] = u[own, 0, best]
        self.gallery[f"{place}/adversarial_distance"][shown] = v[own, 0, best]

    def _show_all(self, name: str, rows: Rows, x_adv: Tensor, pairs: Pairs) -> None:
        """The adversarial input of every eps."""
        shown = x_adv[torch.from_numpy(rows < SHOWN)]
        if not len(shown):
            return
        self._show(f"{name}/eps/x_adv", rows[rows < SHOWN], shown)
        if decodes(pairs.model):
            reconstruction = reconstruct(pairs.model, shown.flatten(0, 1), pairs.draws[0]).view_as(shown)
            self._show(f"{name}/eps/reconstruction", rows[rows < SHOWN], reconstruction)

    def _show(self, name: str, rows: Rows, images: Tensor) -> None:
        """Keep the pictures of the first pairs, as large as there is room; signals and codes are not shown."""
        kept = self.gallery.get(name)
        if kept is None or kept.ndim != images.ndim:
            return
        fitting = images if kept.shape[1:] == images.shape[1:] else shrunk(images)
        if kept.shape[1:] == fitting.shape[1:]:
            shown = rows < len(kept)
            kept[rows[shown]] = as_pixels(fitting[shown])

    def _grade(self, name: str, rows: Rows, values: Tensor) -> None:
        """How well these sources are reconstructed, by one measure."""
        own = self.source_quality.setdefault(name, np.full(len(self.flagged), np.nan))
        own[rows] = values.cpu().double().numpy()


def _joined(parts: Sequence[dict[str, Array]]) -> dict[str, Array]:
    """The columns of all parts, by name."""
    return {name: np.concatenate([part[name] for part in parts], axis=1) for name in parts[0]}


def shrunk(pictures: Tensor) -> Tensor:
    """Pictures (..., C, H, W) of at most `SIDE` pixels a side: means over blocks, as large as needed."""
    H, W = pictures.shape[-2:]
    block = -(-max(H, W) // SIDE)
    if block == 1:
        return pictures
    small = F.avg_pool2d(pictures.flatten(0, -4), (min(block, H), min(block, W)))
    return small.view(*pictures.shape[:-3], *small.shape[1:])
