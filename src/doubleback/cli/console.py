"""What the command line prints: a table for each command, on stdout; warnings on stderr. Imports no torch."""

import io
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from doubleback.terminal import plain

if TYPE_CHECKING:
    from doubleback.paper.running import Reproduction
    from doubleback.trust import Finding

_AS_IT_STANDS: dict[str, Any] = {"markup": False, "emoji": False, "highlight": False}  # a folder may be called run[/x]
ERRORS = Console(stderr=True, **_AS_IT_STANDS)
_FIGURES = {  # of a trained run, as far as it has them
    "L2": "reconstruction_l2",
    "nll": "reconstruction_nll",
    "kl": "kl",
    "input gradient": "input_gradient_norm",
    "accuracy": "accuracy",
    "cross-entropy": "cross_entropy",
}


def print_anything() -> None:
    """A name that the terminal's encoding lacks is spelt out, as it is on stderr anyway."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def say(text: object, *, error: bool = False) -> None:
    """One line, whatever the names in it hold; of an error on stderr."""
    print(plain(text), file=sys.stderr if error else sys.stdout, flush=True)


def show_plan(planned: "Reproduction") -> None:
    """What is there, what will be run, and how long that is expected to take."""
    due, finished = planned.of_state("due"), planned.of_state("finished")
    _show(
        ("folder", "command", "state", "minutes"),
        [
            (
                folder,
                one.words[0],
                planned.progress[folder].state,
                "?" if one.minutes is None else f"{one.minutes:.1f}",
            )
            for folder, one in planned.members.items()
        ],
    )
    reasons = [planned.progress[one.folder].why for one in planned.of_state("left out")]
    for why in dict.fromkeys(reasons):
        say(f"{reasons.count(why)} commands are left out: {why}", error=True)
    known = [one.minutes for one in due if one.minutes is not None]
    expected = (
        f"about {sum(known) / planned.jobs:.0f} minutes as measured on two cores" if known else "not measured yet"
    )
    unknown = f", {len(due) - len(known)} of them not measured" if known and len(known) < len(due) else ""
    say(f"{len(due)} commands to run ({expected}{unknown}), {len(finished)} finished already, in {planned.folder}")
    say(f"{planned.jobs} side by side: {planned.why_jobs}")


def show_trained(runs: Mapping[str, Mapping[str, Any]]) -> None:
    """What was trained, a line a run."""
    first = next(iter(runs.values()))["test"]
    shown = {name: path for name, path in _FIGURES.items() if path in first}
    _show(
        ("run", *shown, "seconds"),
        [
            (name, *(_written(run["test"][path]) for path in shown.values()), f"{_seconds(run):.1f}")
            for name, run in runs.items()
        ],
    )

    for name, run in runs.items():
        for says in run.get("flags", {}).values():
            ERRORS.print(f"{name}: {says}")


UNTRAINED = 0.05  # by so much the twin is better, if the model could have been trained on
_NONE: Any = {"auddc": {"envelope": {"mean": None, "ci95": None}}}  # of an attack that a run was not put to


def show_hardened(results: Mapping[str, Any], audit: str) -> None:
    """What a hardening has brought and cost, on the validation images that decided; and the command that audits it."""
    found = results["harden"]
    start, end, twin = found["start"], found["end"], found.get("twin", {})
    rows = [
        (label, _written(start[key]), _written(end[key]), f"{end[key] / start[key] - 1:+.1%}", _written(twin.get(key)))
        for label, key in (("L2", "reconstruction_l2"), ("bits per pixel", "rate"))
        if key in start
    ]
    rows += [("penalty (lower is smoother)", _written(found["penalty_start"]), _written(found["penalty_end"]), "", "")]
    _show(("validation images", "before", "after", "change", "twin without the penalty"), rows)
    if not found["weight"] and not found["penalty_start"]:
        say("the penalty was 0 from the start, so there was nothing to lower; give --margin 0", error=True)
    elif not found["weight"]:
        say("nothing within the budget was better than the start, whose weights are kept; give more budget (--within), "
            "more --epochs, or a lower --learning-rate", error=True)  # fmt: skip
    if (moved := found.get("latents_moved")) is not None:
        say(f"codes moved by {moved:.1%} of their length")
    if twin and twin["reconstruction_l2"] < (1 - UNTRAINED) * start["reconstruction_l2"]:
        say(f"the twin's L2 is {1 - twin['reconstruction_l2'] / start['reconstruction_l2']:.0%} lower than the model's "
            "was: the model was not trained to its end, so the budget is wider than it looks", error=True)  # fmt: skip
    for says in results.get("flags", {}).values():
        say(f"not to be trusted: {says}", error=True)
    say(f"measure what it withstands: {audit}")


def show_audited(runs: Mapping[str, Mapping[str, Any]]) -> None:
    """What each run withstands: mean AUDDC, envelope convention, higher is more robust; 95 % interval of the worst."""
    attacks = list(dict.fromkeys(attack for run in runs.values() for attack in run["attacks"]))
    tried = [one for run in runs.values() for attack, one in run["attacks"].items() if attack != attacks[-1]]
    if tried and all(one.get("targeted") is False for one in tried):
        attacks.pop()  # the worst case, which is over attacks with a target
    base = os.path.commonpath([Path(name).resolve().parent for name in runs])
    rows = []
    for name, run in runs.items():
        figures = [run["attacks"].get(attack, _NONE)["auddc"]["envelope"] for attack in attacks]
        interval = figures[-1]["ci95"]
        said = [_written(figure["mean"]) for figure in figures]
        said[-1] += f" [{_written(interval[0])}, {_written(interval[1])}]" if interval else ""
        rows.append(
            (
                os.path.relpath(Path(name).resolve(), base),
                _written(run.get("reconstruction_l2")),
                *said,
                _written(run["ceiling"]["mean"]),
            )
        )
    if any(one["auddc"]["envelope"]["mean"] is not None for run in runs.values() for one in run["attacks"].values()):
        _show(("AUDDC", "L2", *(attack.replace("_", " ") for attack in attacks), "ceiling"), rows)
    _show_budgets({os.path.relpath(Path(name).resolve(), base): run for name, run in runs.items()})

    for name, run in runs.items():
        for attack, one in run["attacks"].items():
            for says in one.get("flags", {}).values():
                say(f"{name}: {attack}: not to be trusted: {says}", error=True)
        own = {says for one in run["attacks"].values() for says in one.get("flags", {}).values()}
        for says in run.get("flags", {}).values():
            if says not in own:
                say(f"{name}: not to be trusted: {says}", error=True)
        if not run["pairs"]["used"]:
            say(f"{name}: no pair has a meaningful curve (every reconstruction is alike); train it longer", error=True)


def _show_budgets(runs: Mapping[str, Mapping[str, Any]]) -> None:
    """What budgets have done, a line a run: damage, and a codec's bits per pixel."""
    from doubleback.auditing.saved import damage_said, rates_said  # with torch, which an audit has loaded already

    tables = {
        "damage": {name: damage_said(run.get("damage", {})) for name, run in runs.items()},
        "bits per pixel": {name: rates_said(run["attacks"]) for name, run in runs.items()},
    }
    for title, rows in tables.items():
        columns = list(dict.fromkeys(column for row in rows.values() for column in row))
        if columns:
            _show((title, *columns), [(name, *(row.get(c, "-") for c in columns)) for name, row in rows.items() if row])


def show_findings(findings: Sequence["Finding"]) -> None:
    """What `check` found, a line each; how many faults there are."""
    for finding in findings:
        say(finding)
    faults = sum(not finding.ok for finding in findings)
    say(f"{faults} of {len(findings)} findings are faults" if faults else "ready to be audited", error=bool(faults))


def show_robustness(results: Mapping[str, Any]) -> None:
    """Per cent of images that each model still gets right, worst case with its 95 % interval; flags that fire."""
    rows = []
    for name, model in results["models"].items():
        worst, ends = model["worst_case"], model["ci95"]["worst_case"]
        said = [f"{worst[e]:.1%} [{ends[e][0] * 100:.0f}, {ends[e][1] * 100:.0f}]" for e in results["eps"]]
        rows.append((name, f"{model['clean_accuracy']:.1%}", *said))
    _show(("accuracy", "clean", *(f"{results['norm']} {eps}" for eps in results["eps"])), rows)
    for name, model in results["models"].items():
        for says in model["flags"].values():
            say(f"{name}: not to be trusted: {says}", error=True)


def show_transition(results: Mapping[str, Any]) -> None:
    """What became of the images."""
    rows = []
    for name, model in results["models"].items():
        judge = model.get("judge", {})
        said = [_written(judge.get(of)) for of in ("image", "reconstruction")]
        rows.append((name, _written(model["reached"]), f"{model['steps']:.0f}", _written(model["distance"]), *said))
    _show(("transition", "reached", "steps", "distance", "judge: image", "judge: reconstruction"), rows)


def _seconds(run: Mapping[str, Any]) -> float:
    return float(run["train"]["seconds"] if "train" in run else run["mixtures"]["seconds"])


def _written(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _show(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    table = Table(box=None, header_style="bold")
    for place, name in enumerate(header):
        table.add_column(plain(name), overflow="fold", no_wrap=place > 0)
    for row in rows:
        table.add_row(*map(plain, row))
    Console(**_AS_IT_STANDS).print(table)
