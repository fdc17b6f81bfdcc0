"""Attack every pair with every attack, some pairs at a time, and write down what was reached.

Where several processes of `torch.distributed` run, each takes its share of the tasks, a chunk of pairs and an attack
each, and all of them know the whole record in the end. A task is the same whoever has it, so the figures do not depend
on the number of processes.
"""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from jaxtyping import Int
from torch import Tensor

from doubleback.attacks import Attack, Goal, attacks_of
from doubleback.attacks.engine import rows_together
from doubleback.auditing.pairs import Pairs, draw_pairs, label_of
from doubleback.auditing.record import BLEND, CEILING, WORST_CASE, Audited
from doubleback.auditing.sheet import Rows, Sheet
from doubleback.auditing.trust import audit_checks
from doubleback.data import ImageData, Split
from doubleback.errors import InputError
from doubleback.models import Autoencoder
from doubleback.progress import progress_bar
from doubleback.randomness import Stream, generator
from doubleback.settings import Auditing
from doubleback.state import at_work
from doubleback.tensors import Images, Labels, let_in, placed

CHUNK = 20  # pairs attacked together on a processor: what bounds the memory
CHECKED = 20  # pairs by which an audit is checked
_OF_ATTACKS = {"coefficients", "steps", "restarts", "samples"}  # settings that whole attacks bring themselves


def audit(
    model: Autoencoder,
    images: ImageData | Images,
    labels: Labels | None = None,
    settings: Auditing | None = None,
    *,
    attacks: Iterable[str | Goal | Attack] = ("latent", "output"),
    progress: bool = True,
    **changes: Any,
) -> Audited:
    """Attack pairs of images and measure what the model withstands.

    Where `torch.distributed` is running, every one of its processes has to call this: they share the work.

    Args:
        model: any autoencoder; a module is put into evaluation mode meanwhile.
        images: the test images, (N, C, H, W), a tensor or a NumPy array, uint8 or in [0, 1]; or a data set, whose test
            split is taken.
        labels: (N,), any whole numbers but -1; source and target then differ in label. A data set brings its own.
        settings: the pairs, the price and the search of goals that are named; None: the defaults.
        attacks: names of goals ("latent", "output", "untargeted"), goals, or whole attacks.
        progress: show a bar with the time left.
        changes: fields of `settings` by name: `pairs`, `source_label`, `target_label`, `coefficients`, `steps`,
            `restarts`, `samples`, `seed`.

    Raises:
        InputError: a setting is out of range, images or labels are not to be used (`tensors`), the images do not fit
            the model, or there are too few of them.

    >>> import torch, doubleback
    >>> images = torch.randint(256, (8, 1, 8, 8), dtype=torch.uint8)
    >>> found = doubleback.audit(doubleback.VAE((1, 8, 8)), images, pairs=2, coefficients=3, steps=5, progress=False)
    >>> sorted(found.results()["attacks"])
    ['latent', 'output', 'worst_case']
    """
    settings = (settings or Auditing()).changed(**changes)
    attacks = list(attacks)
    if isinstance(images, ImageData):
        if labels is not None:
            raise InputError("labels are given, but the data set brings its own; leave them out")
        plan = plan_audit(model, images.test, settings, attacks=attacks, names=images.label_names)
    else:
        plan = _plan(model, images, labels, settings, attacks, None)
    unread = sorted(set(changes) & _OF_ATTACKS) if all(isinstance(one, Attack) for one in attacks) else []
    if unread:
        raise InputError(f"{unread[0]} has no effect on whole attacks, which have their own; say it there: Attack(...)")
    return plan.run(progress=progress)


def plan_audit(
    model: Autoencoder,
    split: Split,
    settings: Auditing,
    *,
    attacks: Iterable[str | Goal | Attack],
    names: Sequence[str] | None = None,
) -> "Plan":
    """An audit that can be run: what it cannot do is refused here, before the first attack.

    `model`, `settings` and `attacks` as in `audit`; `names` are those of the labels, where they have any.
    """
    return _plan(model, split.images, split.labels, settings, attacks, names)


def _plan(
    model: Autoencoder,
    images: Images,
    labels: Labels | None,
    settings: Auditing,
    attacks: Iterable[str | Goal | Attack],
    names: Sequence[str] | None,
) -> "Plan":
    with at_work():
        x, own = let_in(images, labels, model)
    tried = attacks_of(attacks, settings.price, settings.search)
    if taken := {BLEND, WORST_CASE, CEILING}.intersection(attack.name for attack in tried):
        raise InputError(
            f"no attack can be called {min(taken)}, which every audit has; give another: Attack(..., name=)"
        )
    ends = [label_of(end, names) for end in (settings.pairing.source_label, settings.pairing.target_label)]
    source, target = draw_pairs(len(x), own, settings.pairing.pairs, settings.search.seed, *ends)
    samples = max(attack.search.samples for attack in tried)
    return Plan(model, x, source, target, tried, samples, settings.search.seed)


@dataclass(frozen=True, eq=False)
class Plan:
    """Which pairs of which images are attacked, and how.

    Attributes:
        model: the autoencoder.
        images: those that pairs are drawn from, (N, C, H, W), uint8 or in [0, 1].
        source_index, target_index: places in `images`, (P,).
        attacks: to be run.
        samples: draws of the model's noise that score; 0: the mean path.
        seed: of these draws, and of each chunk's starts and noise.
    """

    model: Autoencoder
    images: Tensor
    source_index: Int[Tensor, "P"]
    target_index: Int[Tensor, "P"]
    attacks: list[Attack]
    samples: int
    seed: int

    def run(self, *, progress: bool = True) -> Audited:
        """Attack every pair."""
        started = time.perf_counter()
        sheet = Sheet(len(self.source_index), self.attacks, self.images.shape[1:])
        with at_work(self.model):
            together = self._pairs_together()
            for chunk in _chunks(np.arange(len(self.source_index)), together):
                sheet.put_reconstructions(chunk, self._pairs(chunk))
            chunks = _chunks(np.flatnonzero(~sheet.flagged), together)
            self._attack(sheet, chunks, progress)
            sheet.flag_unmeasured()
            used = np.flatnonzero(~sheet.flagged)[:CHECKED]
            points = {name: points.at(used) for name, points in sheet.points.items()}
            checks = audit_checks(self._pairs(used), points, self.attacks, progress=progress) if len(used) else []
        return Audited(
            self.attacks,
            self.source_index.numpy(),
            self.target_index.numpy(),
            sheet.flagged,
            sheet.unmeasured,
            sheet.source_quality,
            sheet.points,
            sheet.gallery,
            checks,
            time.perf_counter() - started,
        )

    def _attack(self, sheet: Sheet, chunks: list[Rows], progress: bool) -> None:
        """Take this process's share of the tasks; learn what the others have found."""
        tasks = list(product((None, *self.attacks), enumerate(chunks)))
        rank, count = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
        mine = tasks[rank::count]
        steps = [_row_steps(attack) * len(chunk) for attack, (_, chunk) in mine if attack]
        with progress_bar("attacking", sum(steps), progress and rank == 0) as advance:
            for attack, (number, chunk) in mine:
                if attack is None:
                    sheet.put_blend(chunk, self._pairs(chunk))
                else:
                    seed = (number + 1_000_003 * attack.search.seed) % 2**32
                    own = replace(attack, search=replace(attack.search, seed=seed))
                    sheet.put_attack(own, chunk, self._pairs(chunk), advance)
        if count > 1:
            sheets: list[Any] = [None] * count
            dist.all_gather_object(sheets, sheet)
            for other_rank, other in enumerate(sheets):
                for attack, (_, chunk) in tasks[other_rank::count] if other_rank != rank else ():
                    sheet.take(other, attack.name if attack else BLEND, chunk)

    def _pairs(self, chunk: Rows) -> Pairs:
        source, target = (
            placed(self.model, self.images[index[chunk]]) for index in (self.source_index, self.target_index)
        )
        return Pairs(self.model, source, target, self._score_noise())

    def _score_noise(self) -> list[Tensor | None]:
        """The draws that score: none of an attack's own streams."""
        noise = torch.randn(self.samples, *self.model.noise_shape, generator=generator(self.seed, Stream.SCORE))
        return [*noise] or [None]

    def _pairs_together(self) -> int:
        """How many pairs are attacked in one chunk: on a GPU as many as the engine takes at once."""
        x = placed(self.model, self.images[:1])
        if x.device.type != "cuda":
            return CHUNK
        return max(CHUNK, rows_together(x) // max(attack.capability.count for attack in self.attacks))


def _row_steps(attack: Attack) -> int:
    """How many steps of rows an attack on one pair takes, at most: for the bar."""
    return attack.capability.count * attack.search.steps * (2 + attack.search.restarts)


def _chunks(rows: Rows, size: int) -> list[Rows]:
    return [rows[first : first + size] for first in range(0, len(rows), size)]
