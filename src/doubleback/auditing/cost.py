"""What attacks on a model cost: bytes a row, and minutes at most; and how many rows go through at once."""

import operator
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial

import torch
from torch import Tensor

from doubleback.attacks import Attack
from doubleback.attacks.goals import RowLoss
from doubleback.attacks.rows import value_and_gradient
from doubleback.errors import reason
from doubleback.memory import SHARE, in_words, recomputing, row_bytes, rows_within, weighed
from doubleback.models import Autoencoder
from doubleback.models.base import attacked, decodes
from doubleback.processes import free_memory
from doubleback.trust import Finding

FEW = 4  # rows that have to fit, or gradient checkpointing is switched on
LONG = 1.0  # minutes: worth a line before the first attack


@contextmanager
def bounded(victim: Autoencoder, x: Tensor, budget: int | None) -> Iterator[None]:
    """Chunks follow what a row weighs; where hardly one fits, what the model can compute anew is not kept.

    Args:
        victim: the model.
        x: one row, where the model is.
        budget: bytes; None: half of what is free.
    """
    with ExitStack() as stack:
        try:
            weight = row_bytes(partial(asked, victim), x)
            if weight > (budget or SHARE * free_memory()) / FEW and stack.enter_context(recomputing(attacked(victim))):
                weight = row_bytes(partial(asked, victim), x)
        except Exception:  # it fails, which is said by the first finding
            weight = 1
        stack.enter_context(weighed(weight, budget))
        yield


def cost(victim: Autoencoder, x: Tensor, attacks: Sequence[Attack], pairs: int) -> Finding:
    """Memory a row, and the time of the audit that is asked for, if no row left early."""
    weight = row_bytes(partial(asked, victim), x[:1])
    rows = torch.arange(max(1, min(len(x), rows_within(weight))), device=x.device)
    some = x[: len(rows)]
    row_steps, seconds = [], []
    for attack in attacks:
        try:
            loss = attack.goal.loss(attacked(victim), some, some.roll(1, 0))
            seconds.append(min(_seconds(loss, some, rows) for _ in range(2)) / len(rows))
        except Exception as error:
            return Finding("cost", True, f"it cannot be measured ({reason(error)[:120]})")
        row_steps.append(attack.capability.count * attack.search.steps * (2 + attack.search.restarts))
    minutes = pairs * sum(map(operator.mul, row_steps, seconds)) / 60
    sooner = " (most rows end far sooner)" if minutes > LONG else ""
    return Finding("cost", True, f"{in_words(weight)} a row; {pairs} pairs take at most {minutes:.2g} minutes{sooner}")


def _seconds(loss: RowLoss, x: Tensor, rows: Tensor) -> float:
    """Of a pass forward and back."""
    started = time.perf_counter()
    value_and_gradient(lambda z, pair: loss(z, pair, None), x, rows)
    return time.perf_counter() - started


def asked(victim: Autoencoder, x: Tensor) -> Tensor:
    """What an attack differentiates: the output of what it follows, or the code of an encoder alone."""
    followed = attacked(victim)
    return followed(x).likelihood.mean if decodes(victim) else followed.encode(x).mean
