"""Attack every pair with every attack, some pairs at a time, and write down what was reached.

Where several processes of `torch.distributed` run, each takes its share of the tasks, a chunk of pairs and an attack
each, and all of them know the whole record in the end. A task is the same whoever has it, so the figures do not depend
on the number of processes.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from jaxtyping import Int
from torch import Tensor

from doubleback.attacks import Attack
from doubleback.attacks.engine import rows_together
from doubleback.attacks.weighing import bounded
from doubleback.auditing.breaking import damage_attack
from doubleback.auditing.checking import LOOKED_AT, findings_of
from doubleback.auditing.cost import LONG
from doubleback.auditing.filling import columns, fill_steps
from doubleback.auditing.pairs import Pairs
from doubleback.auditing.record import BLEND, Audited, has_curve
from doubleback.auditing.sheet import Rows, Sheet
from doubleback.auditing.trust import audit_checks
from doubleback.errors import InputError, ran_out
from doubleback.memory import give_back, halve, rows_within
from doubleback.models import Autoencoder
from doubleback.models.base import attacked
from doubleback.progress import note, progress_bar
from doubleback.randomness import Stream, generator
from doubleback.state import at_work
from doubleback.tensors import placed
from doubleback.trust import Finding, Judged

CHUNK = 20  # pairs attacked together on a processor: what bounds the memory
CHECKED = 20  # pairs on which an audit is checked
KEPT = 6  # copies of a pair's adversarial inputs that an attack holds at once


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
        every = [damage_attack(self.attacks[0].search), *self.attacks]
        sheet = Sheet(len(self.source_index), every, self.images.shape[1:], self.model)
        with at_work(self.model, attacked(self.model)), bounded(self.model, self._first(), self.memory):
            findings = self._looked_at(progress)
            together = self._pairs_together()
            for chunk in _chunks(np.arange(len(self.source_index)), together):
                self._within_memory(lambda rows: sheet.put_reconstructions(rows, self._pairs(rows)), chunk)
            curved = _chunks(np.flatnonzero(~sheet.flagged), together)
            tasks: list[_Task] = [
                (one, *chunk) for one in (None, *every) if has_curve(one) for chunk in enumerate(curved)
            ]
            whole = _chunks(np.arange(len(self.source_index)), together)
            tasks += [(one, *chunk) for one in every if not has_curve(one) for chunk in enumerate(whole)]
            self._attack(sheet, tasks, progress)
            sheet.flag_unmeasured([attack.name for attack in every if has_curve(attack)])
            judged_by = ~sheet.flagged if any(map(has_curve, self.attacks)) else np.isfinite(sheet.way)
            used = np.flatnonzero(judged_by)[:CHECKED]
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
            sheet.way,
            sheet.gallery,
            judged[0] if judged else Judged(),
            time.perf_counter() - started,
            findings,
            sheet.certified,
        )

    def _attack(self, sheet: Sheet, tasks: "list[_Task]", progress: bool) -> None:
        """Take this process's share of the tasks; learn what the others have found."""
        rank, count = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
        mine = tasks[rank::count]
        steps = [
            (attack.row_steps + fill_steps(attack, self.model)) * len(chunk) for attack, _, chunk in mine if attack
        ]
        with progress_bar("attacking", sum(steps), progress and rank == 0) as advance:
            for attack, number, chunk in mine:
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
                for attack, _, chunk in tasks[other_rank::count] if other_rank != rank else ():
                    sheet.take(other, attack.name if attack else BLEND, chunk)

    def _within_memory(self, work: Callable[[Rows], None], chunk: Rows) -> None:
        """Do it for as many pairs at once as memory holds; where it runs out, again with half the rows."""
        size = max(1, min(len(chunk), self._pairs_in_memory()))
        for rows in _chunks(chunk, size):
            if _fits(work, rows):
                continue
            note(f"memory ran out with {len(rows)} pairs at once; continuing with half the rows")
            for half in _chunks(rows, max(1, len(rows) // 2)):
                self._within_memory(work, half)

    def _pairs_in_memory(self) -> int:
        """How many pairs' adversarial inputs memory holds, in the copies that an attack makes of them."""
        most = max(columns(one, self.model) for one in self.attacks)
        return rows_within(most * KEPT * 4 * self.images[0].numel())

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
            elif finding.minutes > LONG:
                note(finding.message)
        if stopped := [finding for finding in findings if finding.stops and not finding.ok]:
            raise InputError(f"{stopped[0].name}: {stopped[0].message}")
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
        return max(CHUNK, rows_together(x) // max(columns(one, self.model) for one in self.attacks))


_Task = tuple[Attack | None, int, Rows]
"""An attack, or None for blending, the number of a chunk of pairs, and that chunk."""


def _fits(work: Callable[[Rows], None], rows: Rows) -> bool:
    """Do it; False where memory ran out and half the rows may fit. What the error held is free again then."""
    try:
        work(rows)
    except Exception as error:  # of any type: each allocator has its own
        if not ran_out(error) or not halve():
            raise
        return False
    finally:
        give_back()
    return True


def _chunks(rows: Rows, size: int) -> list[Rows]:
    return [rows[first : first + size] for first in range(0, len(rows), size)]
