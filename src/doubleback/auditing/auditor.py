"""Attack every pair with every attack, some pairs at a time, and write down what was reached.

Where several processes of `torch.distributed` run, each takes its share of the tasks, a chunk of pairs and an attack
each, and all of them know the whole record in the end. A task is the same whoever has it, so the figures do not depend
on the number of processes.
"""

import time
from collections.abc import Callable, Sequence
from itertools import product
from typing import Any, Literal

import numpy as np
import torch
import torch.distributed as dist
from jaxtyping import Float, Int, UInt8
from numpy.typing import NDArray
from torch import Tensor

from doubleback.attacks import Attack, coefficient_sweep, latent_attack, output_attack, untargeted_attack
from doubleback.attacks.engine import rows_together
from doubleback.auditing.pairs import Pairs, draw_pairs
from doubleback.auditing.record import BLEND, Array, Audit, Points
from doubleback.auditing.trust import audit_checks
from doubleback.checks import Check
from doubleback.data import ImageData
from doubleback.errors import InputError
from doubleback.evaluation import as_pixels, evaluating, placed, reconstruct
from doubleback.metrics.images import l2
from doubleback.models import Autoencoder, Classifier
from doubleback.progress import progress_bar
from doubleback.randomness import Stream, check_seed, generator

AttackName = Literal["latent", "output", "untargeted"]
ATTACKS: dict[str, Callable[..., Attack]] = {
    "latent": latent_attack,
    "output": output_attack,
    "untargeted": untargeted_attack,
}
CHUNK = 20  # pairs attacked together on a processor: what bounds the memory
BLEND_POINTS = 101
BUDGETS = (0.1, 0.2, 0.3, 0.5)  # distortions of the gallery
SHOWN = 8  # pairs in the gallery
CHECKED = 20  # pairs by which an audit is checked
Rows = NDArray[np.intp]  # places of pairs


def audit(
    model: Autoencoder,
    images: ImageData | UInt8[Tensor, "N C H W"],
    labels: Int[Tensor, "N"] | None = None,
    *,
    attacks: Sequence[AttackName] = ("latent", "output"),
    pairs: int = 20,
    coefficients: int = 50,
    steps: int = 300,
    restarts: int = 0,
    samples: int = 0,
    seed: int = 0,
    source_label: int | None = None,
    target_label: int | None = None,
    progress: bool = True,
) -> "Audit":
    """Attack pairs of images and measure what the model withstands.

    Where `torch.distributed` is running, every one of its processes has to call this: they share the work.

    Args:
        model: any autoencoder; a module is put into evaluation mode meanwhile.
        images: the test images, or a data set, whose test split is taken.
        labels: of the images; source and target then differ in label. A data set brings its own.
        attacks: "latent", "output", "untargeted".
        pairs: how many, drawn by the seed; more pairs keep the first ones.
        coefficients: how many C from 2^-20 to 2^20, beside C = 0.
        steps: at most so many steps for every start of an attack.
        restarts: random starts beside the source and the blend.
        samples: 0: the mean path; n: attack with n fresh draws of noise a step, score on n others.
        seed: of the pairs, the starts and the noise.
        source_label, target_label: where given, the label that every source or every target has.
        progress: show a bar with the time left.

    Raises:
        InputError: a setting is out of range, the images do not fit the model, or there are too few images or labels.
    """
    images, labels = _test_images(images, labels)
    check_images(model, images)
    check_audit(
        images,
        labels,
        attacks=attacks,
        pairs=pairs,
        coefficients=coefficients,
        steps=steps,
        restarts=restarts,
        samples=samples,
        seed=seed,
        source_label=source_label,
        target_label=target_label,
    )
    C = coefficient_sweep(coefficients)
    source_index, target_index = draw_pairs(len(images), labels, pairs, seed, source_label, target_label)
    started = time.perf_counter()
    draws = _score_noise(model, samples, seed)
    names = list(dict.fromkeys(attacks))
    with evaluating(model):

        def pairs_of(chunk: Rows) -> Pairs:
            source, target = (placed(model, images[index[chunk]]) for index in (source_index, target_index))
            return Pairs(model, source, target, draws)

        record = _Record(pairs, len(C), names, images.shape[1:])
        together = _pairs_together(placed(model, images[:1]), len(C))
        for chunk in _chunks(np.arange(pairs), together):
            record.put_reconstructions(chunk, pairs_of(chunk))
        chunks = _chunks(np.flatnonzero(~record.flagged), together)
        tasks = list(product((BLEND, *names), enumerate(chunks)))
        rank, processes = _place_among_processes()
        mine = tasks[rank::processes]
        rows = len(C) * sum(len(chunk) for name, (_, chunk) in mine if name != BLEND)
        with progress_bar("attacking", rows * steps * (2 + restarts), progress and rank == 0) as advance:
            for name, (number, chunk) in mine:
                some = pairs_of(chunk)
                if name == BLEND:
                    record.put_blend(chunk, some)
                    continue
                record.put_attack(
                    name,
                    chunk,
                    some,
                    coefficients=C,
                    steps=steps,
                    restarts=restarts,
                    samples=samples,
                    seed=(number + 1_000_003 * seed) % 2**32,
                    advance=advance,
                )
        if processes > 1:
            records: list[Any] = [None] * processes
            dist.all_gather_object(records, record)
            for other_rank, other in enumerate(records):
                for name, (_, chunk) in tasks[other_rank::processes] if other_rank != rank else ():
                    record.take(other, name, chunk)
    used = np.flatnonzero(~record.flagged)[:CHECKED]
    checks: list[Check] = []
    if len(used):
        with evaluating(model):
            checks = audit_checks(
                pairs_of(used),
                {name: points.at(used) for name, points in record.points.items()},
                {name: ATTACKS[name] for name in names},
                C,
                steps=steps,
                restarts=restarts,
                samples=samples,
                seed=seed,
                progress=progress and rank == 0,
            )
    return Audit(
        C.numpy(),
        source_index.numpy(),
        target_index.numpy(),
        record.flagged,
        record.source_l2,
        record.points,
        record.gallery,
        checks,
        time.perf_counter() - started,
    )


def check_audit(
    images: ImageData | UInt8[Tensor, "N C H W"],
    labels: Int[Tensor, "N"] | None = None,
    *,
    attacks: Sequence[str] = ("latent", "output"),
    pairs: int = 20,
    coefficients: int = 50,
    steps: int = 300,
    restarts: int = 0,
    samples: int = 0,
    seed: int = 0,
    source_label: int | None = None,
    target_label: int | None = None,
) -> None:
    """Refuse what `audit` cannot do, before the first attack. Args and Raises as there."""
    images, labels = _test_images(images, labels)
    unknown = [name for name in attacks if name not in ATTACKS]
    if unknown or not attacks:
        raise InputError(f"attack {', '.join(unknown) or 'is missing'}; choose from {', '.join(ATTACKS)}")
    counts = {
        "coefficients": (coefficients, 1),
        "steps": (steps, 1),
        "restarts": (restarts, 0),
        "samples": (samples, 0),
    }
    for name, (count, least) in counts.items():
        if count < least:
            raise InputError(f"{name} is {count}; give a whole number of at least {least}")
    check_seed(seed)
    draw_pairs(len(images), labels, pairs, seed, source_label, target_label)


def check_images(model: Autoencoder | Classifier, images: UInt8[Tensor, "N C H W"]) -> None:
    """Refuse images of another shape than those of the model, where it says them (`image_shape`).

    Raises:
        InputError: naming both.
    """
    if images.ndim != 4:
        raise InputError(f"images have shape {tuple(images.shape)}; expected (N, C, H, W)")
    wanted, have = getattr(model, "image_shape", None), tuple(images.shape[1:])
    if wanted is not None and tuple(wanted) != have:
        raise InputError(
            f"the model takes images of {_shape(wanted)}, these are {_shape(have)}; give it images like those it "
            "was trained on"
        )


def _shape(shape: Sequence[int]) -> str:
    """Channels, height and width in words."""
    channels, height, width = shape
    return f"{channels} channel{'s' * (channels > 1)} and {height}x{width} pixels"


def _test_images(images: ImageData | Tensor, labels: Tensor | None) -> tuple[Tensor, Tensor | None]:
    return (images.test.images, images.test.labels) if isinstance(images, ImageData) else (images, labels)


class _Record:
    """An audit being made: what each chunk of pairs adds."""

    def __init__(self, pairs: int, coefficients: int, attacks: Sequence[str], image_shape: Sequence[int]) -> None:
        shown, budgets = min(pairs, SHOWN), len(BUDGETS)
        self.flagged = np.zeros(pairs, dtype=bool)
        self.source_l2 = np.full(pairs, np.nan)
        self.points = {name: Points.none_yet(pairs, coefficients) for name in attacks}
        self.points[BLEND] = Points.none_yet(pairs, BLEND_POINTS)
        self.gallery: dict[str, Array] = {"budgets": np.array(BUDGETS)}
        for name in ("source", "target", "source_reconstruction", "target_reconstruction"):
            self.gallery[name] = np.zeros((shown, *image_shape), dtype=np.uint8)
        for name in attacks:
            for image in ("x_adv", "reconstruction"):
                self.gallery[f"{name}/{image}"] = np.zeros((shown, budgets, *image_shape), dtype=np.uint8)
            for measure in ("distortion", "adversarial_distance"):
                self.gallery[f"{name}/{measure}"] = np.full((shown, budgets), np.nan)

    def take(self, other: "_Record", name: str, rows: Rows) -> None:
        """What another process has found for these pairs; the time of an attack is the longest of all processes'."""
        mine, points = self.points[name], other.points[name]
        mine.distortion[rows] = points.distortion[rows]
        mine.adversarial_distance[rows] = points.adversarial_distance[rows]
        mine.converged[rows] = points.converged[rows]
        mine.seconds = max(mine.seconds, points.seconds)
        shown = rows[rows < SHOWN]
        for image, values in other.gallery.items():
            if image.startswith(f"{name}/"):
                self.gallery[image][shown] = values[shown]

    def put_reconstructions(self, rows: Rows, pairs: Pairs) -> None:
        """Which pairs are flagged, and what the gallery shows of every pair."""
        self.flagged[rows] = pairs.flagged.cpu().numpy()
        self.source_l2[rows] = l2(pairs.rec_source[0], pairs.source).cpu().double().numpy()
        self._show("source", rows, pairs.source)
        self._show("target", rows, pairs.target)
        self._show("source_reconstruction", rows, pairs.rec_source[0])
        self._show("target_reconstruction", rows, pairs.rec_target[0])

    def put_blend(self, rows: Rows, pairs: Pairs) -> None:
        """x0 + u (x_t - x0) for u from 0 to 1."""
        shares = torch.linspace(0, 1, BLEND_POINTS).to(pairs.source)
        blends = pairs.source[:, None].lerp(pairs.target[:, None], shares[:, None, None, None])
        self._put(BLEND, rows, pairs, blends)

    def put_attack(self, name: str, rows: Rows, pairs: Pairs, *, samples: int, **settings: Any) -> None:
        """Run one attack and score it."""
        started = time.perf_counter()
        points = self.points[name]
        attack = ATTACKS[name](pairs.model, pairs.source, pairs.target, samples=samples, **settings)
        self._put(name, rows, pairs, attack.x_adv)
        if not samples:  # Adam on noise never says that it has converged
            points.converged[rows] = attack.converged.cpu().double().mean(1).numpy()
        points.seconds += time.perf_counter() - started
        self._show_within_budgets(name, rows, attack.x_adv, pairs)

    def _put(self, name: str, rows: Rows, pairs: Pairs, x_adv: Float[Tensor, "P K C H W"]) -> None:
        self.points[name].distortion[rows] = pairs.distortion(x_adv).cpu().double().numpy()
        self.points[name].adversarial_distance[rows] = pairs.adversarial_distance(x_adv, name).cpu().double().numpy()

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
        reconstruction = reconstruct(pairs.model, chosen.flatten(0, 1), pairs.draws[0]).view_as(chosen)
        self._show(f"{name}/reconstruction", shown, reconstruction)
        self.gallery[f"{name}/distortion"][shown] = u[place, 0, best]
        self.gallery[f"{name}/adversarial_distance"][shown] = v[place, 0, best]

    def _show(self, name: str, rows: Rows, images: Tensor) -> None:
        shown = rows < SHOWN
        self.gallery[name][rows[shown]] = as_pixels(images[shown])


def _pairs_together(x: Tensor, coefficients: int) -> int:
    """How many pairs of images like x are attacked in one chunk: as many as the engine takes at once, on a GPU."""
    return CHUNK if x.device.type != "cuda" else max(CHUNK, rows_together(x) // coefficients)


def _chunks(rows: Rows, size: int) -> list[Rows]:
    return [rows[first : first + size] for first in range(0, len(rows), size)]


def _place_among_processes() -> tuple[int, int]:
    """This process's number and how many there are."""
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    return 0, 1


def _score_noise(model: Autoencoder, samples: int, seed: int) -> list[Tensor | None]:
    """The draws that score: none of an attack's own streams."""
    noise = torch.randn(samples, *model.noise_shape, generator=generator(seed, Stream.SCORE))
    return [*noise] or [None]
