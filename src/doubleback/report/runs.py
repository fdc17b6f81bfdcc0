"""Folders to records: a run, an audit's output, or a folder of either become `Run`s, each with its name."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from doubleback.errors import InputError
from doubleback.report.archives import (
    Arrays,
    LogRow,
    interval,
    lookup,
    number,
    read_curves,
    read_gallery,
    read_log,
    read_record,
    read_test_images,
)

WORST_CASE = "worst_case"


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
class Run:
    """A trained run, its audit, or both. Without the run, `results`, `log`, `images` are empty."""

    name: str
    folder: Path
    config: Mapping[str, Any]
    results: Mapping[str, Any] = field(default_factory=dict)
    log: Sequence[LogRow] = ()
    images: Arrays = field(default_factory=dict)
    audit: Audit | None = None

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
    def reconstruction_l2(self) -> float | None:
        """Over the test images; where only the audit is at hand, over its sources."""
        trained = number(self.results, "test.reconstruction_l2")
        return trained if trained is not None or self.audit is None else number(self.audit.results, "reconstruction_l2")


def read_runs(folders: Sequence[Path]) -> list[Run]:
    """Read every run in `folders`, in order (in a folder of runs: `plain` first, then by name).

    Args:
        folders: each a run folder, an `audit --output` folder or one that holds several of either (`demo`).

    Raises:
        InputError: a folder is missing or holds nothing to report, or a file in it is damaged.
    """
    runs = [run for folder in folders for run in _runs_in(folder)]
    return [replace(run, name=name) for run, name in zip(runs, _distinct(runs), strict=True)]


def attack_names(results: Mapping[str, Any]) -> list[str]:
    """The attacks in an audit's results, without the worst case over them."""
    attacks = results.get("attacks")
    return [name for name in attacks if name != WORST_CASE] if isinstance(attacks, Mapping) else []


def title(attack: str) -> str:
    """`worst_case` as words."""
    return attack.replace("_", " ")


def _runs_in(folder: Path) -> list[Run]:
    try:
        if not folder.is_dir():
            raise InputError(
                f"{folder} is not a folder; give one that `doubleback train`, `audit` or `demo` has written"
            )
        if run := _read_run(folder):
            return [run]
        children = sorted(folder.iterdir(), key=lambda child: (child.name != "plain", child.name))
    except OSError as error:
        raise InputError(f"cannot read {folder}: {error.strerror or error}; give a readable folder") from error
    found = [run for child in children if child.is_dir() and (run := _read_run(child))]
    if not found:
        raise InputError(
            f"{folder} holds nothing to report: expected config.json and results.json, in it or one "
            "folder below; finish the run with `doubleback train --resume`"
        )
    return found


def _read_run(folder: Path) -> Run | None:
    if not ((folder / "config.json").is_file() and (folder / "results.json").is_file()):
        return None
    config = read_record(folder / "config.json")
    return _read_audited(folder, config) if "audit" in config else _read_trained(folder, config)


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
    )


def _read_audited(folder: Path, config: Mapping[str, Any]) -> Run:
    """An audit folder: joined to the run that it audited if that is still there, and still the same one."""
    audit, place = _read_audit(folder, config), config.get("run")
    home = Path(place) if isinstance(place, str) and place else None
    name = home.name if home and folder.resolve().name == "audit" else folder.resolve().name
    alone = Run(name=name, folder=folder, config={"train": config.get("train")}, audit=audit)
    if home is None or not all((home / file).is_file() for file in ("config.json", "results.json")):
        return alone
    if lookup(read_record(home / "config.json"), "train") != config.get("train"):
        return alone
    return replace(_read_trained(home, read_record(home / "config.json")), name=name, folder=folder, audit=audit)


def _read_audit(folder: Path, config: Mapping[str, Any]) -> Audit:
    results = read_record(folder / "results.json")
    curves = read_curves(folder / "curves.npz")
    return Audit(config, results, curves, read_gallery(folder / "images.npz", attack_names(results)))


def _distinct(runs: Iterable[Run]) -> list[str]:
    """Folder names; where two are alike, with their parents' names; where these are too, numbered."""
    runs = list(runs)
    plain = Counter(run.name for run in runs)
    longer = [run.name if plain[run.name] == 1 else f"{run.folder.resolve().parent.name}/{run.name}" for run in runs]
    seen: Counter[str] = Counter()
    names = []
    for name in longer:
        seen[name] += 1
        names.append(name if longer.count(name) == 1 else f"{name} ({seen[name]})")
    return names
