"""How the paper is repeated: how much of it, at which scale, all at once or in parts. Imports no torch."""

import re
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from doubleback.errors import InputError
from doubleback.settings.headings import Command, Heading

Artefact = Literal[
    "all", "table1", "table2", "table3", "table4", "figure1", "figure2", "figure3", "figure4", "figure5", "figure6"
]


@dataclass(frozen=True)
class Reproduce(Command):
    """Repeat the paper: its tables and figures, and its statements beside what is measured.

    Example: doubleback reproduce table2 --scale smoke --plan

    Example: doubleback reproduce all --scale cpu

    Example: doubleback reproduce all --part 1/2 --output part-1

    Example: doubleback reproduce --join part-1 part-2 --output reproduction

    It first prints a plan: what it will train and attack, how long that should take, and what is there already. If it
    is interrupted, type the same command again: it goes on. If a command fails, those that do not need it still run.
    """

    FIRST = ("what", "scale", "plan")

    what: Annotated[
        Positional[tuple[Artefact, ...]],
        arg(metavar="all|table1..table4|figure1..figure6", help_behavior_hint="(default: all)"),
    ] = ("all",)
    """Which tables and figures."""
    scale: Literal["smoke", "cpu", "full"] = "cpu"
    """smoke: does it run? cpu: 4.3 hours on two cores; full: the paper's sizes, for a GPU."""
    data_dir: Annotated[
        Path | None,
        arg(metavar="DIR", help_behavior_hint="(default: $DOUBLEBACK_DATA, or the hub)"),
        Heading.IMAGES,
    ] = None
    """A folder with mnist/, svhn/ and celeba/ as on the hub. A folder faces/ takes the place of celeba/."""
    output: Annotated[Path | None, arg(metavar="DIR", help_behavior_hint="(default: reproduction-SCALE)")] = None
    """Gets report.html, tables/, figures/, and a folder for every command."""
    jobs: Annotated[
        int | None, arg(metavar="N", help_behavior_hint="(default: by cores and memory)"), Heading.MACHINE
    ] = None
    """Commands that run side by side."""
    withhold: tuple[Literal["mnist", "svhn", "celeba"], ...] = ()
    """Show no images of these data sets, because their licence may forbid it."""
    plan: bool = False
    """Print the plan and stop."""
    part: Annotated[str | None, arg(metavar="K/N", help_behavior_hint="(default: all of it)")] = None
    """Run only part K of N. The other parts can run on another day or machine. All parts take about as long."""
    join: Annotated[tuple[Path, ...], arg(metavar="DIR ...", help_behavior_hint="(default: none)")] = ()
    """Run nothing, and put the results of these parts together. Each needs results.json and figures/."""

    def __post_init__(self) -> None:
        which_part(self.part)  # refused here
        if self.join and len(self.join) < 2:
            raise InputError("--join has one part; give at least two")
        for field in fields(self) if self.join else ():
            if field.name not in ("join", "output") and getattr(self, field.name) != field.default:
                raise InputError(f"{field.name} has no effect with --join, which runs nothing; leave it out")

    @property
    def home(self) -> Path:
        """The folder that it fills."""
        return self.output or Path(f"reproduction-{self.scale}")

    @property
    def share(self) -> tuple[int, int]:
        """Which part of how many."""
        return which_part(self.part)


def which_part(typed: str | None) -> tuple[int, int]:
    """Which part of how many.

    Raises:
        InputError: it is not written as K/N, or there is no such part.

    >>> which_part("2/3"), which_part(None)
    ((2, 3), (1, 1))
    """
    found = re.fullmatch(r"(\d{1,3})/(\d{1,3})", typed or "1/1")
    if not found or not 1 <= int(found[1]) <= int(found[2]):
        raise InputError(f"part is {typed}; give it as 1/2, the first of two parts")
    return int(found[1]), int(found[2])
