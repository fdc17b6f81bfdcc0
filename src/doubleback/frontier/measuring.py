"""From a victim to its frontier: every defence at every budget, trained or tuned, attacked, and written down.

Each row has a folder of its own, which whoever measures it holds by a lock. So the same command may run in several
terminals, and on several machines that share the folder: each takes what nobody has taken.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from doubleback._version import __version__
from doubleback.auditing import Audited, plan_audit
from doubleback.data import ImageData
from doubleback.defences import defended
from doubleback.errors import BusyError, DivergedError, InputError
from doubleback.evaluation import reconstruction_quality
from doubleback.experiments.hardening import TWIN, audit_of, harden
from doubleback.experiments.runs import TrainedRun, load_run
from doubleback.experiments.training import train
from doubleback.experiments.victims import Stranger, images_of, load_victim
from doubleback.files import read_json
from doubleback.folders import RESULTS, digest, is_locked, locked, within
from doubleback.frontier.contenders import CONTENDERS, AtTestTime, Longer, Proven, Trained
from doubleback.frontier.page import refuse_strangers
from doubleback.frontier.row import PLAIN, Row, read_row, write_row
from doubleback.processes import machine
from doubleback.progress import note, progress_bar
from doubleback.settings import Architecture, Auditing, Pairing, Price, Search, Sizes, Training
from doubleback.settings.commands import Frontier, Harden, Train
from doubleback.settings.hardening import Hardening, share_of
from doubleback.settings.stored import flat
from doubleback.settings.words import words

_Command = TypeVar("_Command", Harden, Train)
LOOKED_AT = 1000  # images whose reconstruction counts, of validation and of test


def frontier(command: Frontier) -> list[Row]:
    """Measure what is missing; what is there already is kept.

    Args:
        command: the victim, the defences, the budgets.

    Returns:
        The rows that are there now, the plain model's first.

    Raises:
        InputError: the victim, a setting or the folder is unusable.
    """
    bench = Bench(command)
    tasks = list(bench.tasks())
    refuse_strangers(command.output, [folder.name for folder, _, _ in tasks])
    with progress_bar("rows", len(tasks)) as advance:
        for folder, one, share in tasks:
            bench.measure(folder, one, share)
            advance(1, folder.name)
    rows = [row for folder, _, _ in tasks if (row := read_row(folder, bench.identity)) is not None]
    if not rows or rows[0].defence != PLAIN:
        raise InputError("the plain model is being measured by another process; type this again when it has finished")
    return rows


class Bench:
    """A victim, its images, and the audit that every row gets."""

    def __init__(self, command: Frontier) -> None:
        self.command = command
        self.victim: TrainedRun | Stranger = load_victim(command.victim, command.wrapping)
        self.images: ImageData = images_of(self.victim, command.data, command.image_size)
        self.auditing = Auditing(
            Pairing(command.pairs), Price(command.coefficients), Search(command.steps, seed=command.loop.seed)
        )
        self.identity = digest(
            {
                "victim": self.victim.weights,
                "images": self.images.fingerprint,
                "loop": {name: str(value) for name, value in flat(command.loop).items()},
                "audit": {name: str(value) for name, value in flat(self.auditing).items()},
            }
        )
        self._errors: dict[str, float] = {}

    def tasks(self) -> Iterator[tuple[Path, str, float | None]]:
        """The folder of every row, its defence, its budget: the cheapest budget of all defences first."""
        home = self.command.output
        yield within(home, PLAIN), PLAIN, None
        shares = sorted({share_of(one) for one in self.command.within})
        named = self.command.defences or tuple(CONTENDERS)
        if unknown := [name for name in named if name not in CONTENDERS]:
            raise InputError(f"defences is {unknown[0]!r}; choose from {', '.join(CONTENDERS)}")
        for name in named:
            contender = CONTENDERS[name]
            if isinstance(contender, Proven):
                for slope in contender.slopes:
                    yield within(home, f"{name}-{slope:g}"), f"{name}:{slope:g}", None
        for share in shares:
            for name in named:
                once = isinstance(CONTENDERS[name], Longer) and share != shares[0]  # no budget bounds it
                if not once and not isinstance(CONTENDERS[name], Proven):
                    yield within(home, f"{name}-{100 * share:g}%"), name, share

    def measure(self, folder: Path, name: str, share: float | None) -> None:
        """Make one row, unless it is there, or somebody else is making it."""
        if read_row(folder, self.identity) is not None and not is_locked(folder):
            return
        with ExitStack() as held:
            try:
                held.enter_context(locked(folder))
            except BusyError as busy:
                note(f"{busy}: left to that process")
                return
            if read_row(folder, self.identity) is None:
                try:
                    row = self._made(folder, name, share)
                except InputError as error:
                    if name == PLAIN or isinstance(error.__cause__, OSError):  # of the victim, or of the disk
                        raise
                    note(f"{name} is left out: {error}")
                    return
                write_row(folder, row)

    # -- one row ---------------------------------------------------------------------------------------------

    def _made(self, folder: Path, name: str, share: float | None) -> Row:
        if name == PLAIN:
            line = ["doubleback", "audit", str(self.command.victim)]
            plain = self._row(name, None, "as it is", self.victim.autoencoder, line)
            if not plain.measured:
                raise InputError(
                    f"{self.command.victim} reconstructs too badly to be compared: no pair has a meaningful curve; "
                    "train it longer, or give more --pairs"
                )
            return plain
        kind, _, slope = name.partition(":")
        contender = CONTENDERS[kind]
        if isinstance(contender, Proven):
            return self._proven(folder, kind, float(slope))
        assert share is not None
        if isinstance(contender, AtTestTime):
            return self._at_test_time(name, contender, share)
        if isinstance(contender, Longer):
            return self._longer(folder, name, share)
        return self._trained(folder, name, contender, share)

    def _trained(self, folder: Path, name: str, contender: Trained, share: float) -> Row:
        hardening = Hardening(f"{share:g}", alone=True, penalty=contender.penalty, loop=self.command.loop)
        command, line, results = self._hardened(folder, hardening)
        if results is None:
            return Row(name, share, "diverged", self.identity, command=line)
        model = self._left_by(command)
        weight = results["harden"]["weight"]
        setting = f"weight {weight:.3g}" if weight else ""
        if not weight:  # the start's own weights
            return Row(name, share, setting, self.identity, command=line)
        return self._row(name, share, setting, model, line, results["train"]["seconds"])

    def _longer(self, folder: Path, name: str, share: float) -> Row:
        """No penalty at all: what training longer does, by itself."""
        command, line, results = self._hardened(folder, Hardening(f"{share:g}", loop=self.command.loop))
        if results is None:
            return Row(name, None, "diverged", self.identity, command=line)
        twin = within(command.output, TWIN)
        seconds = read_json(twin / RESULTS)["train"]["seconds"]
        model = self._left_by(replace(command, output=twin))
        return self._row(name, None, "trained on", model, line, seconds)

    def _hardened(self, folder: Path, hardening: Hardening) -> tuple[Harden, list[str], dict[str, Any] | None]:
        """The victim hardened in a row's folder: the command, its line, and the results; None: it diverged."""
        asked = self.command
        command = Harden(asked.victim, within(folder, "model"), hardening, asked.data, asked.image_size, asked.wrapping)
        line = ["doubleback", *words(command)]
        return command, line, _results(folder, harden, command, line)

    def _at_test_time(self, name: str, contender: AtTestTime, share: float) -> Row:
        bound = (1 + share) * self._error("")
        chosen = next((step for step in contender.steps if self._error(step) <= bound), None)
        line = ["doubleback", "audit", str(self.command.victim), "--defend", chosen or f"{contender.kind}:N"]
        if chosen is None:
            return Row(name, share, "", self.identity, command=line)
        for other in self.command.within:  # the same strength at another budget is the same row
            known = read_row(within(self.command.output, f"{name}-{100 * share_of(other):g}%"), self.identity)
            if known is not None and known.setting == chosen:
                return replace(known, within=share)
        return self._row(name, share, chosen, defended(self.victim.autoencoder, [chosen]), line)

    def _proven(self, folder: Path, name: str, slope: float) -> Row:
        if not isinstance(self.victim, TrainedRun):
            return Row(f"{name}:{slope:g}", None, "", self.identity)
        had = self.victim.settings
        training = Training(
            images=had.images, architecture=Architecture("lipschitz", Sizes(slope=slope)), loop=self.command.loop
        )
        command = Train(within(folder, "model"), training, resume=True)
        line = ["doubleback", *words(command)]
        results = _results(folder, train, command, line)
        if results is None:
            return Row(f"{name}:{slope:g}", None, "diverged", self.identity, command=line)
        model = load_run(command.output).autoencoder
        return self._row(f"{name}:{slope:g}", None, f"slope {slope:g}", model, line, results["train"]["seconds"])

    def _row(
        self, name: str, share: float | None, setting: str, model: Any, line: Sequence[str], seconds: float = 0.0
    ) -> Row:
        """What the model withstands, on the pairs of every row."""
        found = plan_audit(model, self.images.test, self.auditing, names=self.images.label_names).run()
        error = reconstruction_quality(model, self.images.test.images[:LOOKED_AT])["reconstruction_l2"]
        certified = [] if np.isnan(found.certified).all() else _each(found, found.certified)
        return Row(
            name,
            share,
            setting,
            self.identity,
            error,
            _each(found, found.auddc("worst_case")),
            _each(found, found.damage_areas()),
            certified,
            seconds,
            list(line),
            machine(),
            __version__,
        )

    def _error(self, step: str) -> float:
        """The reconstruction's L2 behind a defence, on validation images; "": behind none."""
        if step not in self._errors:
            model = defended(self.victim.autoencoder, [step] if step else [])
            images = self.images.validation.images[:LOOKED_AT]
            found = reconstruction_quality(model, images)["reconstruction_l2"]
            self._errors[step] = math.inf if found is None else found
        return self._errors[step]

    def _left_by(self, command: Harden) -> Any:
        """The model that `harden` has left: the victim's own, with new weights."""
        if isinstance(self.victim, TrainedRun):
            return load_run(command.output).autoencoder
        found = audit_of(command)
        return load_victim(found.runs[0], found.wrapping).autoencoder


def _results(
    folder: Path, run: Callable[[_Command, list[str]], dict[str, Any]], command: _Command, line: list[str]
) -> dict[str, Any] | None:
    """What `train` or `harden` measures; None, and a line about the row's folder: it diverged."""
    try:
        return run(command, line)
    except DivergedError as error:
        note(f"{folder}: {error}")
        return None


def _each(found: Audited, values: np.ndarray) -> list[float | None]:
    """A figure of every pair; None where a pair has none."""
    return [
        None if flagged or not np.isfinite(one) else float(one)
        for flagged, one in zip(found.flagged, values, strict=True)
    ]
