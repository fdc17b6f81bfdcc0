"""The commands that compare, show and pass on results: `frontier`, `report`, `leaderboard`, `push`."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

from tyro.conf import Positional, arg

from doubleback.errors import InputError
from doubleback.settings.checks import UNPREFIXED, at_least
from doubleback.settings.hardening import share_of
from doubleback.settings.headings import Command, Heading
from doubleback.settings.loop import Loop
from doubleback.settings.search import Auditing, Pairing, Price, Search
from doubleback.settings.shared import Images, Side, Victim
from doubleback.settings.victim import Wrapping


@dataclass(frozen=True)
class Frontier(Command):
    """Compare defences of one autoencoder: what each costs in reconstruction, what each gains against attacks.

    Example: doubleback frontier runs/plain --within 2% --defences spectral jpeg --output frontier

    Example: doubleback frontier runs/plain --within 0% 2% 10% --output frontier-all

    Every defence is trained, or tuned on validation images, within each budget. The attacker knows the defence. Each
    finished row is kept. Type the same command in a second terminal, or on a second machine that shares the folder, and
    both share the work.
    """

    FIRST = ("victim", "output", "within", "defences")
    REFUSED = ("devices", "cuda_graph")
    DEFAULTS: ClassVar = {
        "epochs": "15; for lipschitz as measured",
        "batch_size": "as in harden",
        "learning_rate": "as in harden",
    }

    victim: Victim
    output: Annotated[Path, arg(metavar="DIR")]
    """Gets a folder for every row, and frontier.html."""
    within: Annotated[tuple[str, ...], arg(metavar="SHARE [SHARE ...]")] = ("0%", "1%", "2%", "5%", "10%")
    """The budgets: how much the L2 error of the reconstruction may grow on validation images."""
    defences: Annotated[tuple[str, ...], arg(metavar="NAME [NAME ...]", help_behavior_hint="(default: all)")] = ()
    """Which defences: spectral, targeted, targeted+spectral, reconstruction, reconstruction-blends, output, noise,
    smooth-code, kept-code and longer are trained; jpeg, quantize, resize, smooth and hmc act at test time; lipschitz is
    proven."""
    pairs: Annotated[int, Heading.PAIRS] = 20
    """How many pairs of images to attack, the same for every row."""
    coefficients: Annotated[int, Heading.GOALS] = 25
    """How many prices of a change the attack tries, from 2^-20 to 2^20, beside 0."""
    steps: Annotated[int, Heading.GOALS] = 300
    """Most steps of an attack."""
    loop: Annotated[Loop, UNPREFIXED] = Loop()
    data: Images = None
    """Images to learn from and to attack. A model that is not a run needs this."""
    image_size: Side = None
    wrapping: Annotated[Wrapping, UNPREFIXED] = Wrapping()

    def __post_init__(self) -> None:
        at_least(1, image_size=self.image_size)
        Auditing(Pairing(self.pairs), Price(self.coefficients), Search(self.steps))
        for share in self.within:
            share_of(share)
        if not self.within:
            raise InputError("--within is empty; give one budget or more, as 2%")


@dataclass(frozen=True)
class Report(Command):
    """Write one HTML page about runs, their audits, and classifiers.

    Example: doubleback report runs/plain runs/hardened --output report.html
    """

    FIRST = ("folders", "output")

    folders: Annotated[Positional[tuple[Path, ...]], arg(metavar="DIR [DIR ...]")]
    """Run folders, audit folders, or folders of several of them."""
    output: Annotated[Path | None, arg(metavar="FILE.html", help_behavior_hint="(default: report.html)")] = None
    """The page. The default lies in DIR if you give one folder, and here if you give several."""


@dataclass(frozen=True)
class Leaderboard(Command):
    """Rank audited models on one page: a table for every protocol, so that only like is compared with like.

    Example: doubleback leaderboard runs --output leaderboard.html --markdown leaderboard.md

    One protocol means the same images, the same pairs, and the same attacks with the same settings. The model that is
    hardest to steer comes first. A model that a check has flagged is struck through and comes last.
    """

    FIRST = ("folders", "output", "markdown")

    folders: Annotated[Positional[tuple[Path, ...]], arg(metavar="DIR [DIR ...]")]
    """Folders with audits in them, at any depth."""
    output: Annotated[Path, arg(metavar="FILE.html")] = Path("leaderboard.html")
    """The page. It opens without a network."""
    markdown: Annotated[Path | None, arg(metavar="FILE.md", help_behavior_hint="(default: none)")] = None
    """Write the tables to this file, too."""


@dataclass(frozen=True)
class Push(Command):
    """Push a model to the Hugging Face hub, with a card that says what it withstands.

    Example: doubleback push runs/hardened owner/name --output pushed

    Example: doubleback push runs/hardened owner/name --license mit

    The first example only writes a folder. Look at it first: nothing leaves this machine. The second one pushes; log in
    with `hf auth login` before that. A new repository is private unless you give --public; an existing one stays as it
    is. It gets config.json, model.safetensors, README.md (the card), and the figures of the run and of its audit, but
    no images. Other commands then know the model as hub:owner/name.
    """

    FIRST = ("run", "name", "output", "public")

    run: Annotated[Positional[Path], arg(metavar="RUN")]
    """A run of `doubleback train`, or a folder of `doubleback harden`."""
    name: Annotated[Positional[str], arg(metavar="OWNER/NAME")]
    """The repository on the hub. It is made if it does not exist."""
    audit: Annotated[Path | None, arg(metavar="DIR", help_behavior_hint="(default: RUN/audit)")] = None
    """The audit that the card reports. It must be of these weights. If there is no RUN/audit: the only RUN/audit-*."""
    output: Annotated[Path | None, arg(metavar="DIR", help_behavior_hint="(default: upload)")] = None
    """Write everything to this folder, and push nothing."""
    public: bool = False
    """Let everybody see the repository."""
    license: Annotated[str, arg(metavar="ID")] = "unknown"
    """Licence of the weights, as the hub names it: mit, cc-by-4.0, other, ... The images may have another one."""

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", self.name) or len(self.name) > 96:
            raise InputError(f"{self.name} is not the name of a repository; give owner/name")
        if not re.fullmatch(r"[a-z0-9][a-z0-9.-]*", self.license):
            raise InputError(f"--license is {self.license!r}; give the hub's name of a licence, as mit")
        if self.public and self.output is not None:
            raise InputError("--public has no effect with --output, which pushes nothing; leave one out")
