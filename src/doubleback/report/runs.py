"""A folder to a record: a run, an audit's output or a classifier in the latent space becomes a `Run`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from doubleback.report.archives import (
    Arrays,
    LogRow,
    interval,
    is_finished,
    lookup,
    number,
    read_curves,
    read_gallery,
    read_log,
    read_record,
    read_test_images,
)

WORST_CASE = "worst_case"
CLASSIFIERS = ("mlp", "lenet", "cvnet")


@dataclass(frozen=True)
class Audit:
    """What an audit folder holds (docs/run-directory.md); `curves` and `images` may be empty."""

    config: Mapping[str, Any]
    results: Mapping[str, Any]
    curves: Arrays = field(default_factory=dict)
    images: Arrays = field(default_factory=dict)

    @property
    def attacks(self) -> list[str]:
        """The attacks that were run, in the file's order, without the worst case over them."""
        return attack_names(self.results)

    @property
    def worst_case(self) -> float | None:
        """The worst case's mean AUDDC, envelope convention."""
        return number(self.results, f"attacks.{WORST_CASE}.auddc.envelope.mean")

    @property
    def worst_case_interval(self) -> tuple[float, float] | None:
        """Its 95 % interval over pairs."""
        return interval(self.results, f"attacks.{WORST_CASE}.auddc.envelope.ci95")

    @property
    def pairs(self) -> tuple[list[int], list[int]]:
        """The pairs' places in the test split: sources, targets; empty where unknown."""
        source, target = (self.curves.get(f"{end}_index") for end in ("source", "target"))
        return ([] if source is None else source.tolist(), [] if target is None else target.tolist())


@dataclass(frozen=True)
class Classifier:
    """What `classify` left: mixtures in a run's latent space, and how well they tell the classes apart."""

    folder: Path
    config: Mapping[str, Any]
    results: Mapping[str, Any]


@dataclass(frozen=True)
class Run:
    """A trained run, its audit, its classifier, or some of them. Without the run, `results`, `log`, `images` are empty.

    A run is an autoencoder's or a classifier's (`train --model lenet`).
    """

    name: str
    folder: Path
    config: Mapping[str, Any]
    results: Mapping[str, Any] = field(default_factory=dict)
    log: Sequence[LogRow] = ()
    images: Arrays = field(default_factory=dict)
    audit: Audit | None = None
    classifier: Classifier | None = None

    @property
    def settings(self) -> Mapping[str, Any]:
        """The training settings, from the run's own or the audit's config.json."""
        train = self.config.get("train")
        return train if isinstance(train, Mapping) else {}

    @property
    def is_plain(self) -> bool:
        """Whether it was trained without a penalty."""
        penalty = self.settings.get("penalty")
        if isinstance(penalty, Mapping):
            return "none" in penalty.values()
        return penalty in (None, "none")

    @property
    def reconstructs(self) -> bool:
        """Whether an autoencoder's own figures or attacks are here, not a classifier's alone."""
        trained = bool(self.results) and self.settings.get("model") not in CLASSIFIERS and "classes" not in self.config
        return trained or self.audit is not None

    @property
    def classification(self) -> Mapping[str, Any]:
        """The results that hold an accuracy, if any do: its classifier's, else its own."""
        return self.classifier.results if self.classifier else self.results

    @property
    def reconstruction_l2(self) -> float | None:
        """Over the test images; where only the audit is at hand, over its sources."""
        trained = number(self.results, "test.reconstruction_l2")
        return trained if trained is not None or self.audit is None else number(self.audit.results, "reconstruction_l2")


def attack_names(results: Mapping[str, Any]) -> list[str]:
    """The attacks in an audit's results, without the worst case over them."""
    attacks = results.get("attacks")
    return [name for name in attacks if name != WORST_CASE] if isinstance(attacks, Mapping) else []


def title(attack: str) -> str:
    """`worst_case` as words."""
    return attack.replace("_", " ")


def read_run(folder: Path, config: Mapping[str, Any]) -> Run:
    """Read the folder of a run, an audit or a `classify`, whichever this config.json belongs to.

    Raises:
        InputError: a file in it is damaged.
    """
    if "audit" in config:
        return _read_audited(folder, config)
    if isinstance(config.get("classify"), Mapping):
        return _read_classified(folder, config)
    return _read_trained(folder, config)


def _read_trained(folder: Path, config: Mapping[str, Any]) -> Run:
    audited = (folder / "audit" / "results.json").is_file()
    return Run(
        name=folder.resolve().name,
        folder=folder,
        config=config,
        results=read_record(folder / "results.json"),
        log=read_log(folder / "log.csv"),
        images=read_test_images(folder / "images.npz"),
        audit=_read_audit(folder / "audit", read_record(folder / "audit" / "config.json")) if audited else None,
        classifier=_classifier_of(folder, config),
    )


def _classifier_of(folder: Path, config: Mapping[str, Any]) -> Classifier | None:
    """The classifier beside a run, if it was made of this one, not of one trained here before."""
    home = folder / "classifier"
    if not is_finished(home):
        return None
    classified = read_record(home / "config.json")
    same = classified.get("train", config.get("train")) == config.get("train")
    return Classifier(home, classified, read_record(home / "results.json")) if same else None


def _read_classified(folder: Path, config: Mapping[str, Any]) -> Run:
    """A `classify` folder by itself; in RUN/classifier it takes the run's name too."""
    home = folder.resolve()
    name = f"{home.parent.name}/{home.name}" if home.name == "classifier" else home.name
    made = Classifier(folder, config, read_record(folder / "results.json"))
    return Run(name=name, folder=folder, config={"train": config.get("train")}, classifier=made)


def _read_audited(folder: Path, config: Mapping[str, Any]) -> Run:
    """An audit folder: joined to the run that it audited if that is still there, and still the same one."""
    audit, place = _read_audit(folder, config), config.get("run")
    home = Path(place) if isinstance(place, str) and place else None
    name = home.name if home and folder.resolve().name == "audit" else folder.resolve().name
    alone = Run(name=name, folder=folder, config={"train": config.get("train")}, audit=audit)
    if home is None or not is_finished(home):
        return alone
    if lookup(read_record(home / "config.json"), "train") != config.get("train"):
        return alone
    return replace(_read_trained(home, read_record(home / "config.json")), name=name, folder=folder, audit=audit)


def _read_audit(folder: Path, config: Mapping[str, Any]) -> Audit:
    results = read_record(folder / "results.json")
    curves = read_curves(folder / "curves.npz")
    return Audit(config, results, curves, read_gallery(folder / "images.npz", attack_names(results)))
