"""What attacks on a model cost: bytes a row, and minutes at most."""

import time
from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from doubleback.attacks import Attack
from doubleback.attacks.goals import RowLoss
from doubleback.attacks.rows import value_and_gradient
from doubleback.attacks.weighing import asked
from doubleback.auditing.breaking import damage_attack
from doubleback.auditing.filling import columns, fill_steps
from doubleback.auditing.sheet import BLEND_POINTS
from doubleback.errors import reason
from doubleback.memory import in_words, row_bytes, rows_within
from doubleback.models import Autoencoder
from doubleback.trust import Finding

LONG = 1.0  # minutes: worth a line before the first attack
USUAL = 0.1  # of the most, without the damage curve: most rows converge early (a fiftieth to a half of it was seen)


def cost(victim: Autoencoder, x: Tensor, attacks: Sequence[Attack], pairs: int) -> Finding:
    """Memory a row, and the time of the audit that is asked for, if no row left early.

    Every audit has a damage curve, too; that attack always takes all its steps. Every point is looked at once more,
    and so are the blends: a look counts as a step.
    """
    curve = [damage_attack(first.search) for first in attacks[:1]]
    minutes: list[float] = []
    try:
        weight = row_bytes(partial(asked, victim), x[:1])
        rows = torch.arange(max(1, min(len(x), rows_within(weight))), device=x.device)
        some = x[: len(rows)]
        for attack in (*curve, *attacks):
            loss = attack.goal.loss(attack.knowledge.followed(victim), some, some.roll(1, 0))
            follows = attack.knowledge.queries == 0
            seconds = min(_seconds(loss, some, rows, follows=follows) for _ in range(2)) / len(rows)
            filling = fill_steps(attack, victim) + columns(attack, victim)
            steps = attack.row_steps + filling + (0 if minutes else BLEND_POINTS)
            minutes.append(pairs * steps * seconds / 60)
    except Exception as error:  # a model or a goal of somebody else may raise anything
        return Finding("cost", True, f"it cannot be measured ({reason(error)[:120]})")
    most, certain = sum(minutes), sum(minutes[: len(curve)])
    usual = f"{certain + USUAL * (most - certain):.1g}"
    about = f"about {usual} {'minute' if usual == '1' else 'minutes'}, " if most > LONG else ""
    said = f"{pairs} pairs take {about}at most {most:.2g}{'' if about else ' minutes'}"
    return Finding("cost", True, f"{in_words(weight)} of memory for each attacked image; {said}", minutes=most)


def _seconds(loss: RowLoss, x: Tensor, rows: Tensor, *, follows: bool) -> float:
    """Of a pass forward, and back where the attack follows a gradient."""
    started = time.perf_counter()
    if follows:
        value_and_gradient(lambda z, pair: loss(z, pair, None), x, rows)
    else:
        with torch.no_grad():
            loss(x, rows, None)
    return time.perf_counter() - started
