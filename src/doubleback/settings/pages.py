"""The commands that compare, show and pass on what others have left: `frontier`, `report`, `leaderboard`, `push`."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from doubleback.errors import InputError
from doubleback.settings.checks import UNPREFIXED, at_least
from doubleback.settings.hardening import share_of
from doubleback.settings.loop import Loop
from doubleback.settings.search import Auditing, Pairing, Price, Search
from doubleback.settings.victim import Wrapping


@dataclass(frozen=True)
class Frontier:
    """Compare defences of one autoencoder: what each costs in reconstruction, what each gains against attacks.

    Example: doubleback frontier runs/plain --within 0% 2% 10% --output frontier

    Every defence is trained, or tuned on validation images, within each budget, and attacked by somebody who knows it.
    Each finished row is kept. The same command in a second terminal, or on a second machine that shares the folder,
    takes its share of what is left.
    """

    victim: Annotated[Positional[Path], arg(metavar="VICTIM")]
    """As in `doubleback audit`."""
    output: Annotated[Path, arg(metavar="DIR")]
    """Gets a folder for every row, and frontier.html."""
    within: Annotated[tuple[str, ...], arg(metavar="SHARE [SHARE ...]")] = ("0%", "1%", "2%", "5%", "10%")
    """The budgets: how much the reconstruction's L2 may grow on validation images."""
    defences: Annotated[tuple[str, ...], arg(metavar="NAME [NAME ...]", help_behavior_hint="(default: all)")] = ()
    """Which defences: spectral, targeted, reconstruction, reconstruction-blends, output, noise, smooth-code, kept-code
    and longer are trained; jpeg, quantize, resize, smooth and hmc act at test time; lipschitz is proven."""
    pairs: int = 20
    """Pairs to attack, the same for every row."""
    coefficients: int = 25
    """Weights of the distortion in the attack, from 2^-20 to 2^20, beside 0."""
    steps: int = 300
    """Steps of an attack, at most."""
    loop: Annotated[Loop, UNPREFIXED] = Loop()
    data: Annotated[str | None, arg(metavar="NAME|PATH", help_behavior_hint="(default: the run's own)")] = None
    """Images to learn from and to attack. Of a model that is no run: needed."""
    image_size: Annotated[int | None, arg(metavar="N", help_behavior_hint="(default: the images' own)")] = None
    """Crop and resize these images for a model that is no run."""
    wrapping: Annotated[Wrapping, UNPREFIXED] = Wrapping()

    def __post_init__(self) -> None:
        at_least(1, image_size=self.image_size)
        Auditing(Pairing(self.pairs), Price(self.coefficients), Search(self.steps))
        for share in self.within:
            share_of(share)
        if not self.within:
            raise InputError("--within is empty; give one budget or more, as 2%")


@dataclass(frozen=True)
class Report:
    """Write one HTML page about runs, their audits, classifiers, and what those withstand.

    Example: doubleback report runs/plain runs/hardened --output report.html
    """

    folders: Annotated[Positional[tuple[Path, ...]], arg(metavar="DIR [DIR ...]")]
    """Run folders, audit folders, or folders of several of them."""
    output: Annotated[Path | None, arg(metavar="FILE.html", help_behavior_hint="(default: see below)")] = None
    """By default DIR/report.html for one folder, ./report.html for several."""


@dataclass(frozen=True)
class Leaderboard:
    """Rank audited models on one page: a table for every protocol, so that only like is compared with like.

    Example: doubleback leaderboard audits/ runs/ --output leaderboard.html --markdown leaderboard.md

    One protocol is: the same images, the same pairs, the same attacks with the same settings. The hardest to steer
    comes first. What a check has flagged is struck through and stands last.
    """

    folders: Annotated[Positional[tuple[Path, ...]], arg(metavar="DIR [DIR ...]")]
    """Folders that hold audits, themselves or anywhere below."""
    output: Annotated[Path, arg(metavar="FILE.html")] = Path("leaderboard.html")
    """The page; it needs no network."""
    markdown: Annotated[Path | None, arg(metavar="FILE.md", help_behavior_hint="(default: none)")] = None
    """Write the tables there, too."""


@dataclass(frozen=True)
class Push:
    """Pass a model on: push it to the Hugging Face hub, with a card that says what it withstands.

    Example: doubleback push runs/hardened owner/name

    Example: doubleback push runs/hardened owner/name --output pushed    (look first: nothing leaves this machine)

    The repository is private unless you say --public. It gets config.json, model.safetensors, README.md (the card), and
    the figures of the run and of its audit; no images. hub:owner/name is a victim then. Log in with `hf auth login`.
    """

    run: Annotated[Positional[Path], arg(metavar="RUN")]
    """A run of `doubleback train`, or a folder of `doubleback harden`."""
    name: Annotated[Positional[str], arg(metavar="OWNER/NAME")]
    """The repository on the hub; it is made if it is not there."""
    audit: Annotated[Path | None, arg(metavar="DIR", help_behavior_hint="(default: RUN/audit)")] = None
    """The audit that the card tells of, of these very weights. Where RUN/audit is not there: the only RUN/audit-*."""
    output: Annotated[Path | None, arg(metavar="DIR", help_behavior_hint="(default: upload)")] = None
    """Write what would be pushed there instead, and push nothing."""
    public: bool = False
    """Let everybody see the repository."""
    license: Annotated[str, arg(metavar="ID")] = "unknown"
    """Licence of the weights, as the hub names it: mit, cc-by-4.0, other, ... It is not that of the images."""

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", self.name) or len(self.name) > 96:
            raise InputError(f"{self.name} is no name of a repository; give owner/name")
        if not re.fullmatch(r"[a-z0-9][a-z0-9.-]*", self.license):
            raise InputError(f"--license is {self.license!r}; give the hub's name of a licence, as mit")
        if self.public and self.output is not None:
            raise InputError("--public has no effect with --output, which pushes nothing; leave one out")
