"""A folder to a record: a run, an audit's output or a classifier in the latent space becomes a `RunFolder`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePath
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from doubleback.errors import InputError
from doubleback.folders import is_finished
from doubleback.report.archives import (
    Arrays,
    LogRow,
    folder_at,
    lookup,
    mapping,
    number,
    read_curves,
    read_gallery,
    read_log,
    read_record,
    read_test_images,
)

WORST_CASE = "worst_case"
TRANSFERRED = "from-"  # the name of an attack begins so if its examples were made on another victim
Areas = NDArray[np.float64]
_ROUNDED = 1e-6  # how much rounding may move an area
Part = Literal["audit", "classifier"]
PARTS: tuple[Part, ...] = ("audit", "classifier")  # folders in a run's folder: what was made of its weights


@dataclass(frozen=True)
class AuditFolder:
    """What an audit's folder holds (docs/run-directory.md); `curves` and `images` may be empty."""

    config: Mapping[str, Any]
    results: Mapping[str, Any]
    curves: Arrays = field(default_factory=dict)
    images: Arrays = field(default_factory=dict)

    @property
    def attacks(self) -> list[str]:
        """The attacks that were run, in the file's order, without the worst case over them."""
        return attack_names(self.results)

    @property
    def targeted(self) -> list[str]:
        """The attacks that have a target. If a folder does not tell: all that its worst case may be over."""
        said = {attack: self._said(attack, "targeted") for attack in self.attacks}
        return [
            attack for attack, word in said.items() if word is True or (word is None and self._in_worst_case(attack))
        ]

    @property
    def within_budgets(self) -> bool:
        """Whether an attack has budgets. These are in units of a norm, and leave no AUDDC."""
        return any(eps_stored(self.results, attack) for attack in self.attacks)

    def about(self, attack: str) -> str:
        """The attack's aim in a few words; empty in a folder that does not tell."""
        words = self._said(attack, "about")
        return words if isinstance(words, str) else ""

    def _said(self, attack: str, key: str) -> object:
        return lookup(self.results, ("attacks", attack, key))

    def _in_worst_case(self, attack: str) -> bool:
        """Whether it leaves at least the worst case on every pair, as every attack with a target must."""
        own, worst = (self.curves.get(f"{name}/auddc") for name in (attack, WORST_CASE))
        return own is None or worst is None or not bool((own < worst - _ROUNDED).any())

    @property
    def judged_by(self) -> list[str]:
        """The attacks that rank an audit: those with a target, because their worst case counts; without any, all."""
        return self.targeted or self.attacks

    @property
    def areas(self) -> Areas | None:
        """(P,) AUDDC of each pair, envelope convention, not finite where it is missing; None if no areas are stored.

        It is the worst case's. If no attack has a target, each pair takes the attack that leaves least.
        """
        found = [self.curves.get(f"{name}/auddc") for name in self._ranked_by]
        if not found or any(one is None for one in found):
            return None
        least: Areas = np.asarray(found, dtype=np.float64).min(axis=0)
        return least

    @property
    def _ranked_by(self) -> list[str]:
        return [WORST_CASE] if self.targeted else self.attacks

    @property
    def withstands(self) -> float | None:
        """The mean of `areas` over the pairs that are used. If one attack decides, it is the figure of the results."""
        if len(names := self._ranked_by) == 1:
            return number(self.results, ("attacks", names[0], "auddc", "envelope", "mean"))
        areas = self.areas
        return None if areas is None or not np.isfinite(areas).any() else float(areas[np.isfinite(areas)].mean())

    @property
    def pairs(self) -> tuple[list[int], list[int]]:
        """The pairs' places in the test split: sources, targets; empty where unknown."""
        source, target = (self.curves.get(f"{end}_index") for end in ("source", "target"))
        return ([] if source is None else source.tolist(), [] if target is None else target.tolist())


@dataclass(frozen=True)
class ClassifierFolder:
    """What `classify` left: mixtures in a run's latent space, and how well they tell the classes apart."""

    folder: Path
    config: Mapping[str, Any]
    results: Mapping[str, Any]


@dataclass(frozen=True)
class RunFolder:
    """A trained run, its audit, its classifier, or some of them. Without the run, `results`, `log`, `images` are empty.

    A run is an autoencoder's or a classifier's (`train --model lenet`).
    """

    name: str
    folder: Path
    config: Mapping[str, Any]
    results: Mapping[str, Any] = field(default_factory=dict)
    log: Sequence[LogRow] = ()
    images: Arrays = field(default_factory=dict)
    audit: AuditFolder | None = None
    classifier: ClassifierFolder | None = None

    @property
    def settings(self) -> Mapping[str, Any]:
        """The training settings, from the run's own or the audit's config.json."""
        train = self.config.get("train")
        return train if isinstance(train, Mapping) else {}

    @property
    def is_plain(self) -> bool:
        """Whether it was trained without a penalty and without labels, and not hardened since."""
        if self.settings.get("label_weight"):
            return False
        hardened = self.config.get("harden")
        penalty = hardened.get("penalty") if isinstance(hardened, Mapping) else self.settings.get("penalty")
        if isinstance(penalty, Mapping):
            return "none" in penalty.values()
        return penalty in (None, "none")

    @property
    def reconstructs(self) -> bool:
        """Whether an autoencoder's own figures or attacks are here, not a classifier's alone."""
        return (bool(self.results) and "classes" not in self.config) or self.audit is not None

    @property
    def classification(self) -> Mapping[str, Any]:
        """The results that hold an accuracy, if any do: its classifier's, else its own."""
        return self.classifier.results if self.classifier else self.results

    @property
    def reconstruction_l2(self) -> float | None:
        """The error over the test images; if only the audit is here, over its sources."""
        trained = number(self.results, "test.reconstruction_l2")
        return trained if trained is not None or self.audit is None else number(self.audit.results, "reconstruction_l2")


def attack_names(results: Mapping[str, Any]) -> list[str]:
    """The attacks in an audit's results, without the worst case over them."""
    return [name for name in mapping(results, "attacks") if name != WORST_CASE]


def eps_stored(results: Mapping[str, Any], attack: str) -> list[tuple[str, str]]:
    """Norm and eps of each of an attack's budgets, in the order in which its pictures are stored."""
    budgets = mapping(results, ("attacks", attack, "budgets"))
    return [(norm, eps) for norm in budgets for eps in mapping(budgets, (norm,))]


def attacks_of(runs: Sequence[RunFolder]) -> list[str]:
    """Every attack in the runs' audits, once, in the order of the audits."""
    return list(dict.fromkeys(attack for run in runs if run.audit for attack in run.audit.attacks))


def title(name: str) -> str:
    """`worst_case` as words."""
    return name.replace("_", " ")


def heading(name: str) -> str:
    """The same, the first letter a capital.

    >>> heading("latent_KL")
    'Latent KL'
    """
    return title(name[:1].upper() + name[1:])


def read_runs(folder: Path, config: Mapping[str, Any]) -> list[RunFolder]:
    """What `read_run` finds, and separately what is in the run's folder but was made of other weights.

    Raises:
        InputError: a file in it is damaged.
    """
    run = read_run(folder, config)
    if _kind(config) != "run":
        return [run]
    apart = [part for part in PARTS if is_finished(folder / part) and _own(folder, part) is None]
    others = [read_run(folder / part, _config(folder / part)) for part in apart]
    return [run, *(replace(other, name=f"{run.name}/{part}") for other, part in zip(others, apart, strict=True))]


def read_run(folder: Path, config: Mapping[str, Any]) -> RunFolder:
    """Read the folder of a run, an audit or a `classify`, whichever this config.json belongs to.

    Raises:
        InputError: a file in it is damaged.
    """
    read = {"run": _read_trained, "audit": _read_audited, "classifier": _read_classified}
    return read[_kind(config)](folder, config)


def _kind(config: Mapping[str, Any]) -> Literal["run"] | Part:
    if "audit" in config:
        return "audit"
    return "classifier" if isinstance(config.get("classify"), Mapping) else "run"


def _config(folder: Path) -> dict[str, Any]:
    return read_record(folder / "config.json")


def _made_of(config: Mapping[str, Any], run: Path) -> bool:
    """Whether the folder of this config.json was made of the weights that the run's folder holds.

    The digests of the weights tell. If one of them is missing, as in folders of an older version, the settings tell.
    """
    digests = config.get("weights"), read_record(run / "results.json").get("weights")
    if None not in digests:
        return digests[0] == digests[1]
    return bool(config.get("train") == _config(run).get("train"))


def _is_of(config: Mapping[str, Any], run: Path) -> bool:
    """Whether an audit in another folder is of exactly this run, by the digest of its weights.

    Its `config.json` may be a stranger's, and name any folder. Without a digest the page shows nothing of that folder,
    because settings can be guessed.
    """
    try:
        held = read_record(run / "results.json").get("weights")
    except InputError:  # whatever is there, it is not the run
        return False
    return held is not None and held == config.get("weights")


def _own(run: Path, part: Part) -> Path | None:
    """The folder in a run's folder, if it is there and was made of the run's weights."""
    home = run / part
    if is_finished(home) and _made_of(_config(home), run):
        return home
    return _in_audits(run) if part == "audit" else None


def _in_audits(run: Path) -> Path | None:
    """An audit of the run's weights inside `audits`, where `harden` tells its user to put it."""
    more = run / "audits"
    homes = sorted(more.iterdir()) if more.is_dir() and not more.is_symlink() else []
    return next((home for home in homes if is_finished(home) and _is_of(_config(home), run)), None)


def _read_trained(folder: Path, config: Mapping[str, Any]) -> RunFolder:
    audit, classifier = (_own(folder, part) for part in PARTS)
    return RunFolder(
        name=folder.resolve().name,
        folder=folder,
        config=config,
        results=read_record(folder / "results.json"),
        log=read_log(folder / "log.csv"),
        images=read_test_images(folder / "images.npz"),
        audit=_read_audit(audit) if audit else None,
        classifier=_read_classifier(classifier) if classifier else None,
    )


def _read_classified(folder: Path, config: Mapping[str, Any]) -> RunFolder:
    """A `classify` folder by itself; in RUN/classifier it takes the run's name too."""
    home = folder.resolve()
    name = f"{home.parent.name}/{home.name}" if home.name == "classifier" else home.name
    train = {"train": config.get("train")}
    return RunFolder(name=name, folder=folder, config=train, classifier=_read_classifier(folder))


def _read_audited(folder: Path, config: Mapping[str, Any]) -> RunFolder:
    """An audit's folder: joined to the run that it audited if that is still there, and still has the same weights."""
    audit, home = _read_audit(folder), folder_at(config, "run")
    said, name = config.get("run"), folder.resolve().name
    if isinstance(said, str) and name == "audit":
        name = PurePath(said).name or name
    if home and is_finished(home) and _is_of(config, home):
        return replace(_read_trained(home, _config(home)), name=name, folder=folder, audit=audit)
    return RunFolder(name=name, folder=folder, config={"train": config.get("train")}, audit=audit)


def _read_audit(folder: Path) -> AuditFolder:
    results = read_record(folder / "results.json")
    curves = read_curves(folder / "curves.npz")
    attacks = attack_names(results)
    epsilons = {attack: len(eps_stored(results, attack)) for attack in attacks}
    return AuditFolder(_config(folder), results, curves, read_gallery(folder / "images.npz", attacks, epsilons))


def _read_classifier(folder: Path) -> ClassifierFolder:
    return ClassifierFolder(folder, _config(folder), read_record(folder / "results.json"))
