"""A reproduction in parts: what each part runs, and how the results of all parts become one.

Imports no torch.
"""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from doubleback.errors import InputError
from doubleback.files import read_json
from doubleback.folders import RESULTS
from doubleback.paper.compared import comparisons
from doubleback.paper.members import ARTEFACTS, FIGURES, Member, members, read_from
from doubleback.paper.record import Results
from doubleback.paper.scales import SCALES, Scale
from doubleback.settings.stored import checked

_SHARED = ("version", "scale", "stand_ins", "withheld")  # by all parts


def part_of(
    plan: Mapping[str, Member], scale: Scale, part: int, parts: int, withheld: Collection[str] = ()
) -> dict[str, Member]:
    """The commands of one part. All parts take about as long, and no table row, figure or classifier is split.

    Args:
        plan: every command.
        scale: whose commands they are.
        part: which, from 1 on.
        parts: how many.
        withheld: data sets whose images no figure shows; so no figure holds their commands together.
    """
    groups = sorted(_groups(plan, scale, withheld), key=lambda group: -_minutes(plan, group))
    shares: list[list[str]] = [[] for _ in range(parts)]
    for group in groups:
        min(shares, key=lambda share: _minutes(plan, share)).extend(group)
    return {folder: member for folder, member in plan.items() if folder in shares[part - 1]}


def joined(folders: Sequence[Path]) -> dict[str, Any]:
    """The results of all parts as one `results.json`.

    Args:
        folders: each with the `results.json` of its part.

    Raises:
        InputError: a file is missing or damaged, the parts are not of one reproduction, or two hold the same.
    """
    parts: list[dict[str, Any]] = [read_json(folder / RESULTS) for folder in folders]
    for folder, part in zip(folders, parts, strict=True):
        checked(Results, part, folder / RESULTS)
    first = parts[0]
    for folder, part in zip(folders, parts, strict=True):
        for name in _SHARED:
            if part[name] != first[name]:
                raise InputError(
                    f"{folder} has another {name.replace('_', '-')} ({part[name]}) than {folders[0]} ({first[name]}); "
                    "join parts of one reproduction"
                )
    commands = {name: words for part in parts for name, words in part["commands"].items()}
    lost = _left_out(first, commands) | {name: why for part in parts for name, why in part["lost"].items()}
    return first | {
        "commands": commands,
        "made": [made for part in parts for made in part["made"]],
        "lost": {name: why for name, why in lost.items() if name not in commands},
        "autoencoders": _rows(folders, parts),
        "one_to_zero": next((part["one_to_zero"] for part in parts if part["one_to_zero"]), None),
        **{name: _union(folders, parts, name) for name in ("classifiers", "transitions", "figures")},
    }


def _left_out(first: Mapping[str, Any], commands: Mapping[str, Any]) -> dict[str, str]:
    """What no part has, of the tables and figures of which some part has something."""
    scale = SCALES[first["scale"]]
    begun = [one for one in ARTEFACTS if not commands.keys().isdisjoint(read_from(scale, one))]
    return dict.fromkeys(members(scale, begun, first["stand_ins"]), "none of the parts has it")


def _groups(plan: Mapping[str, Member], scale: Scale, withheld: Collection[str]) -> list[list[str]]:
    """Commands that belong together: those that one needs, those of a table's row, those of a figure."""
    rows = [[run for runs in row.runs.values() for run in runs] for row in comparisons(scale)]
    together: list[Collection[str]] = [(name, *member.needs) for name, member in plan.items()]
    together += rows
    shown = {name for name, member in plan.items() if member.data not in withheld}
    together += [[folder for folder in read_from(scale, figure) if folder in shown] for figure in FIGURES]
    group = {folder: {folder} for folder in plan}
    for folders in together:
        if there := [folder for folder in folders if folder in plan]:
            whole = set().union(*(group[folder] for folder in there))
            group |= dict.fromkeys(whole, whole)
    return [[folder for folder in plan if folder in one] for one in {id(one): one for one in group.values()}.values()]


def _minutes(plan: Mapping[str, Member], folders: Collection[str]) -> float:
    return sum(plan[folder].minutes or 1.0 for folder in folders)


def _rows(folders: Sequence[Path], parts: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The rows of all parts, in the order of the tables."""
    rows = [{(row["data"], row["key"], row["kind"]): row for row in part["autoencoders"]} for part in parts]
    found = _disjoint(folders, rows)
    order = [(row.data, row.row.key, row.kinds["hardened"]) for row in comparisons(SCALES[parts[0]["scale"]])]
    return [found[key] for key in order if key in found]


def _union(folders: Sequence[Path], parts: Sequence[Mapping[str, Any]], name: str) -> dict[str, Any]:
    return dict(sorted(_disjoint(folders, [part[name] for part in parts]).items()))


def _disjoint(folders: Sequence[Path], parts: Sequence[Mapping[Any, Any]]) -> dict[Any, Any]:
    """All of them in one, each in one part only."""
    found: dict[Any, tuple[Path, Any]] = {}
    for folder, part in zip(folders, parts, strict=True):
        for key, value in part.items():
            if key in found:
                what = "-".join(key) if isinstance(key, tuple) else key
                raise InputError(f"{found[key][0]} and {folder} both hold {what}; join parts that share nothing")
            found[key] = folder, value
    return {key: value for key, (_, value) in found.items()}
