"""Attack every pair with every attack, some pairs at a time, and write down what was reached.

Where several processes of `torch.distributed` run, each takes its share of the tasks, a chunk of pairs and an attack
each, and all of them know the whole record in the end. A task is the same whoever has it, so the figures do not depend
on the number of processes.
"""

import time
from collections.abc import Callable, Iterable, Sequence
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
from doubleback.attacks.goals import goals_for
from doubleback.auditing.checking import LOOKED_AT, findings_of
from doubleback.auditing.cost import bounded
from doubleback.auditing.pairs import Pairs, draw_pairs, label_of, own_pairs
from doubleback.auditing.record import BLEND, CEILING, WORST_CASE, Audited
from doubleback.auditing.sheet import Rows, Sheet
from doubleback.auditing.trust import audit_checks
from doubleback.data import ImageData, Split
from doubleback.data.given import gathered, is_batches
from doubleback.errors import InputError
from doubleback.memory import halve, ran_out, rows_within
from doubleback.models import Autoencoder
from doubleback.models.base import acquaint, attacked, decodes
from doubleback.progress import note, progress_bar
from doubleback.randomness import Stream, generator
from doubleback.settings import Auditing
from doubleback.settings.checks import as_bytes
from doubleback.state import at_work
from doubleback.tensors import Images, Labels, let_in, placed
from doubleback.trust import Finding, Judged

CHUNK = 20  # pairs attacked together on a processor: what bounds the memory
CHECKED = 20  # pairs by which an audit is checked
KEPT = 6  # copies of a pair's adversarial inputs that an attack holds at once
_OF_ATTACKS = {"coefficients", "steps", "restarts", "samples"}  # settings that whole attacks bring themselves


def audit(
    model: Autoencoder,
    images: ImageData | Images | Iterable[Any] | None = None,
    labels: Labels | None = None,
    settings: Auditing | None = None,
    *,
    pairs: int | Iterable[tuple[Any, Any]] | None = None,
    attacks: Iterable[str | Goal | Attack] | None = None,
    progress: bool = True,
    **changes: Any,
) -> Audited:
    """Attack pairs of images and measure what the model withstands.

    Where `torch.distributed` is running, every one of its processes has to call this: they share the work.

    Args:
        model: any autoencoder; a module is put into evaluation mode meanwhile.
        images: the test images, (N, C, H, W), a tensor or a NumPy array, uint8 or in [0, 1]; a DataLoader of such; or a
            data set, whose test split is taken. Of a wrapped model signals, (N, C, L) or (N, F) in [0, 1], too.
        labels: (N,), any whole numbers but -1; source and target then differ in label. A data set brings its own.
        settings: the pairs, the price and the search of goals that are named; None: the defaults.
        pairs: how many are drawn; or your own, (source, target) each: two images, (C, H, W), or two places in `images`.
        attacks: names of goals ("latent", "output", "untargeted"), goals, or whole attacks; None: latent and output, as
            far as the model has a code and an output.
        progress: show a bar with the time left.
        changes: fields of `settings` by name: `memory`, `source_label`, `target_label`, `coefficients`, `steps`,
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
    chosen = pairs if pairs is None or isinstance(pairs, int) else list(pairs)
    counted = {} if chosen is None else {"pairs": chosen if isinstance(chosen, int) else max(1, len(chosen))}
    settings = (settings or Auditing()).changed(**counted, **changes)
    attacks = list(goals_for(model) if attacks is None else attacks)
    given: Any = images
    names = None
    if isinstance(images, ImageData):
        if labels is not None:
            raise InputError("labels are given, but the data set brings its own; leave them out")
        given, labels, names = images.test.images, images.test.labels, images.label_names
    elif is_batches(images):
        given, own = gathered(given)
        labels = own if labels is None else labels
    places = None
    if isinstance(chosen, list):
        given, labels, places = own_pairs(given, labels, chosen)
    elif given is None:
        raise InputError("images are missing; give the test images, or pairs=[(source, target), ...]")
    plan = _plan(model, given, labels, settings, attacks, names, places)
    unread = sorted(set(changes) & _OF_ATTACKS) if all(isinstance(one, Attack) for one in attacks) else []
    if unread:
        raise InputError(f"{unread[0]} has no effect on whole attacks, which have their own; say it there: Attack(...)")
    return plan.run(progress=progress)


def plan_audit(
    model: Autoencoder,
    split: Split,
    settings: Auditing,
    *,
    attacks: Iterable[str | Goal | Attack] | None = None,
    names: Sequence[str] | None = None,
) -> "Plan":
    """An audit that can be run: what it cannot do is refused here, before the first attack.

    `model`, `settings` and `attacks` as in `audit`; `names` are those of the labels, where they have any.
    """
    return _plan(model, split.images, split.labels, settings, goals_for(model) if attacks is None else attacks, names)


def _plan(
    model: Autoencoder,
    images: Images,
    labels: Labels | None,
    settings: Auditing,
    attacks: Iterable[str | Goal | Attack],
    names: Sequence[str] | None,
    places: tuple[Tensor, Tensor] | None = None,
) -> "Plan":
    """The plan; `places` of sources and of targets, where they are not drawn."""
    with at_work():
        x, own = let_in(images, labels, model)
    tried = attacks_of(attacks, settings.price, settings.search)
    if taken := {BLEND, WORST_CASE, CEILING}.intersection(attack.name for attack in tried):
        raise InputError(
            f"no attack can be called {min(taken)}, which every audit has; give another: Attack(..., name=)"
        )
    ends = [label_of(end, names) for end in (settings.pairing.source_label, settings.pairing.target_label)]
    source, target = places or draw_pairs(len(x), own, settings.pairing.pairs, settings.search.seed, *ends)
    samples = max(attack.search.samples for attack in tried)
    with at_work(model, attacked(model)), torch.no_grad():
        first = placed(model, x[source[:1]])
        acquaint(model, first)
        for attack in tried:  # what a goal asks of the model and the model lacks is said now
            attack.goal.loss(attacked(model), first, first)(
                first, torch.zeros(1, dtype=torch.long).to(first.device), None
            )
    memory = None if settings.memory is None else as_bytes(settings.memory)
    return Plan(model, x, source, target, tried, samples, settings.search.seed, memory)


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
        memory: bytes that attacks may take; None: half of what is free.
    """

    model: Autoencoder
    images: Tensor
    source_index: Int[Tensor, "P"]
    target_index: Int[Tensor, "P"]
    attacks: list[Attack]
    samples: int
    seed: int
    memory: int | None = None

    def run(self, *, progress: bool = True) -> Audited:
        """Attack every pair."""
        started = time.perf_counter()
        sheet = Sheet(len(self.source_index), self.attacks, self.images.shape[1:], pictures=decodes(self.model))
        with at_work(self.model, attacked(self.model)), bounded(self.model, self._first(), self.memory):
            findings = self._looked_at(progress)
            together = self._pairs_together()
            for chunk in _chunks(np.arange(len(self.source_index)), together):
                self._within_memory(lambda rows: sheet.put_reconstructions(rows, self._pairs(rows)), chunk)
            chunks = _chunks(np.flatnonzero(~sheet.flagged), together)
            self._attack(sheet, chunks, progress)
            sheet.flag_unmeasured()
            used = np.flatnonzero(~sheet.flagged)[:CHECKED]
            points = {name: points.at(used) for name, points in sheet.points.items()}
            judged: list[Judged] = []

            def judge(rows: Rows) -> None:
                judged.append(audit_checks(self._pairs(rows), points, self.attacks, progress=progress))

            while len(used) and not _fits(judge, used):
                pass
        return Audited(
            self.attacks,
            self.source_index.numpy(),
            self.target_index.numpy(),
            sheet.flagged,
            sheet.unmeasured,
            sheet.source_quality,
            sheet.points,
            sheet.gallery,
            judged[0] if judged else Judged(),
            time.perf_counter() - started,
            findings,
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
                    self._within_memory(lambda rows: sheet.put_blend(rows, self._pairs(rows)), chunk)
                else:
                    seed = (number + 1_000_003 * attack.search.seed) % 2**32
                    own = replace(attack, search=replace(attack.search, seed=seed))
                    self._within_memory(
                        lambda rows, own=own: sheet.put_attack(own, rows, self._pairs(rows), advance),  # type: ignore[misc]
                        chunk,
                    )
        if count > 1:
            sheets: list[Any] = [None] * count
            dist.all_gather_object(sheets, sheet)
            for other_rank, other in enumerate(sheets):
                for attack, (_, chunk) in tasks[other_rank::count] if other_rank != rank else ():
                    sheet.take(other, attack.name if attack else BLEND, chunk)

    def _within_memory(self, work: Callable[[Rows], None], chunk: Rows) -> None:
        """Do it for as many pairs at once as memory holds; where it runs out, again with half the rows."""
        size = max(1, min(len(chunk), self._pairs_in_memory()))
        for rows in _chunks(chunk, size):
            if _fits(work, rows):
                continue
            note(f"memory ran out with {len(rows)} pairs at once; going on with half the rows")
            for half in _chunks(rows, max(1, len(rows) // 2)):
                self._within_memory(work, half)

    def _pairs_in_memory(self) -> int:
        """How many pairs' adversarial inputs memory holds, in the copies that an attack makes of them."""
        most = max(attack.capability.count for attack in self.attacks)
        return rows_within(most * KEPT * 4 * self.images[0].numel(), share=0.5)

    def _first(self) -> Tensor:
        return placed(self.model, self.images[self.source_index[:1]])

    def _looked_at(self, progress: bool) -> list[Finding]:
        """What `check` finds, said where it is bad or the audit will be long."""
        if dist.is_initialized() and dist.get_rank():
            return []
        x = placed(self.model, self.images[self.source_index[:LOOKED_AT]])
        findings = list(findings_of(self.model, x, self.attacks, len(self.source_index)))
        for finding in findings if progress else ():
            if finding.spoils and not finding.ok:
                note(f"{finding.name}: {finding.message}")
            elif finding.name == "cost" and "(most" in finding.message:
                note(finding.message)
        return findings

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


def _fits(work: Callable[[Rows], None], rows: Rows) -> bool:
    """Do it; False where memory ran out and half the rows may fit. What the error held is free again then."""
    try:
        work(rows)
    except Exception as error:  # of any type: each allocator has its own
        if not ran_out(error) or not halve():
            raise
        return False
    return True


def _row_steps(attack: Attack) -> int:
    """How many steps of rows an attack on one pair takes, at most: for the bar."""
    return attack.capability.count * attack.search.steps * (2 + attack.search.restarts)


def _chunks(rows: Rows, size: int) -> list[Rows]:
    return [rows[first : first + size] for first in range(0, len(rows), size)]
