"""How many rows of a model go through at once: what a row weighs is measured once, by whoever comes first."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial

from torch import Tensor

from doubleback.memory import SHARE, is_weighed, recomputing, row_bytes, weighed
from doubleback.models.base import Autoencoder, attacked, decodes
from doubleback.processes import free_memory

FEW = 4  # rows that have to fit, or gradient checkpointing is switched on


@contextmanager
def bounded(victim: Autoencoder, x: Tensor, budget: int | None = None) -> Iterator[None]:
    """Chunks follow the memory of a row; if hardly one fits, the model recomputes what it can instead of keeping it.

    Where somebody further out has said so already, nothing changes.

    Args:
        victim: the model.
        x: one row, where the model is.
        budget: bytes; None: half of what is free.
    """
    with ExitStack() as stack:
        if not is_weighed():
            try:
                weight = row_bytes(partial(asked, victim), x)
                scarce = weight > (budget or SHARE * free_memory()) / FEW
                if scarce and stack.enter_context(recomputing(attacked(victim))):
                    weight = row_bytes(partial(asked, victim), x)
            except Exception:  # the model fails, which the attack itself, or the first finding of an audit, says
                weight = 1
            stack.enter_context(weighed(weight, budget))
        yield


def asked(victim: Autoencoder, x: Tensor) -> Tensor:
    """What an attack differentiates: the output of what it follows, or the code of an encoder alone."""
    followed = attacked(victim)
    return followed(x).likelihood.mean if decodes(victim) else followed.encode(x).mean
