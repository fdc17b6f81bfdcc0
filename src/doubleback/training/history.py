"""How a training went: what its log and its checkpoint hold of it."""

from dataclasses import dataclass, field


@dataclass
class History:
    """How a training went, so far.

    Attributes:
        rows: a dictionary an epoch: the columns of `log.csv`.
        step: optimiser steps taken.
        seconds: wall time over all resumptions, compiling left out.
        compile_seconds: wall time of the steps in which `torch.compile` worked.
        sums, counts: of the running epoch, by name: of the loss and of each of its terms, over the steps that took it.
    """

    rows: list[dict[str, float | None]] = field(default_factory=list)
    step: int = 0
    seconds: float = 0.0
    compile_seconds: float = 0.0
    sums: dict[str, float] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
