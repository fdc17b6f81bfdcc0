"""One defence at one budget, as a small JSON file that can be committed, resumed from and compared."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from doubleback.errors import InputError
from doubleback.files import read_json, write_json
from doubleback.folders import SCHEMA
from doubleback.metrics.differences import paired_figures
from doubleback.metrics.intervals import bootstrap_interval

ROW = "row.json"
PLAIN = "plain"


@dataclass(frozen=True)
class Row:
    """What one defence gains and costs.

    Attributes:
        defence: its name.
        within: the budget, a share; None: it has none, it is what it is.
        setting: what was chosen on validation images: a weight, a strength, a slope; empty: nothing keeps to the
            budget.
        identity: of the victim, the images and the settings.
        reconstruction_l2: the mean over test images.
        worst_case: AUDDC of each pair, the worst of all attacks.
        damage: area of the damage curve of each pair.
        certified: AUDDC of each pair below which no attack can come, where that is proven.
        seconds: of training, on this machine.
        command: what repeats it.
        machine: where it was measured.
        version: of doubleback, which measured it; empty: an early one.
    """

    defence: str
    within: float | None
    setting: str
    identity: str
    reconstruction_l2: float | None = None
    worst_case: Sequence[float | None] = ()
    damage: Sequence[float | None] = ()
    certified: Sequence[float | None] = ()
    seconds: float = 0.0
    command: Sequence[str] = ()
    machine: dict[str, Any] | None = None
    version: str = ""

    @property
    def measured(self) -> bool:
        """Whether anything keeps to the budget, and some pair has a curve."""
        both = (self.worst_case, self.damage)
        return self.reconstruction_l2 is not None and all(any(one is not None for one in each) for each in both)

    def mean(self, name: str) -> float:
        """The mean of `worst_case`, `damage` or `certified` over the pairs that have one."""
        known = [one for one in getattr(self, name) if one is not None]
        return float(sum(known) / len(known))

    def interval(self, name: str) -> tuple[float, float] | None:
        """Its 95 % interval over pairs."""
        found = bootstrap_interval([one for one in getattr(self, name) if one is not None])
        return None if found is None else (found[0], found[1])

    def gain(self, plain: "Row", name: str) -> tuple[float, tuple[float, float] | None]:
        """How much higher it is than the plain model's, pair by pair, and the interval of that."""
        pair = [[float("nan") if one is None else one for one in getattr(row, name)] for row in (self, plain)]
        found = paired_figures(*pair)
        return (float("nan"), None) if found is None else (found.mean, found.interval)

    def cost(self, plain: "Row") -> float:
        """How much worse its reconstruction is than the plain model's, as a share."""
        assert self.reconstruction_l2 is not None
        assert plain.reconstruction_l2 is not None
        return self.reconstruction_l2 / plain.reconstruction_l2 - 1


def write_row(folder: Path, row: Row) -> None:
    """Leave it in its folder."""
    write_json(folder / ROW, {"schema": SCHEMA, **asdict(row)})


def read_row(folder: Path, identity: str | None = None) -> Row | None:
    """What lies there; None: nothing yet.

    Args:
        folder: of the row.
        identity: what it has to be of; None: of anything.

    Raises:
        InputError: it is damaged, or of another victim, other images or other settings.
    """
    path = folder / ROW
    if not path.exists():
        return None
    found = read_json(path)
    try:
        row = Row(**{name: value for name, value in found.items() if name != "schema"})
        if row.measured:
            row.mean("worst_case"), row.mean("damage"), float(row.reconstruction_l2 or 0)
    except (TypeError, ValueError, ZeroDivisionError) as error:
        raise InputError(f"{path} is not a row of a frontier; remove it, and measure it again") from error
    if identity is not None and row.identity != identity:
        raise InputError(f"{path} belongs to another victim, other images or other settings; give another --output")
    return row


def means(rows: Sequence[Row], name: str) -> list[float]:
    """The mean of a figure for each row, over the pairs that all of them can use; without such a pair each on its own.

    A model that cannot use its hard pairs would look better than it is.
    """
    every = [getattr(row, name) for row in rows]
    shared = [values for values in zip(*every, strict=True) if None not in values]
    return [sum(column) / len(shared) for column in zip(*shared, strict=True)] or [row.mean(name) for row in rows]


def dominated(row: Row, others: Sequence[Row], name: str, *, higher: bool) -> bool:
    """Whether another row reconstructs as well or better, and is better by this figure, or the other way round."""
    sign = 1 if higher else -1

    def beats(other: Row) -> bool:
        here, there = means([row, other], name)
        less, more = (row.reconstruction_l2 or 0.0) - (other.reconstruction_l2 or 0.0), sign * (there - here)
        return less >= 0 and more >= 0 and (less > 0 or more > 0)

    return any(beats(other) for other in others if other is not row)
