"""The command line: parse, dispatch, and say in one line what is wrong. Heavy imports wait inside the commands."""

import contextlib
import io
import os
import re
import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro
from rich.console import Console
from rich.table import Table

from doubleback import __version__
from doubleback.errors import DivergedError, InputError, LostProcessError
from doubleback.experiments.config import Audit, Classify, Demo, Report, Reproduce, Robustness, Train, Transition

if TYPE_CHECKING:
    from doubleback.experiments.reproduction.members import Member
    from doubleback.experiments.reproduction.running import Progress, Reproduction

Command = (
    Annotated[Demo, tyro.conf.subcommand("demo")]
    | Annotated[Train, tyro.conf.subcommand("train")]
    | Annotated[Audit, tyro.conf.subcommand("audit")]
    | Annotated[Classify, tyro.conf.subcommand("classify")]
    | Annotated[Robustness, tyro.conf.subcommand("robustness")]
    | Annotated[Transition, tyro.conf.subcommand("transition")]
    | Annotated[Reproduce, tyro.conf.subcommand("reproduce")]
    | Annotated[Report, tyro.conf.subcommand("report")]
)
Settings = Demo | Train | Audit | Classify | Robustness | Transition | Reproduce | Report
DESCRIPTION = """Can this autoencoder be fooled, and how is one trained that cannot be?

Start with `doubleback demo`, then: train a plain and a hardened run, audit both, read the report. With labels: classify
a run, measure the robustness of classifiers, watch a transition. `reproduce` repeats the paper. `doubleback COMMAND
--help` explains every setting."""
_ERRORS = Console(stderr=True)
_FIGURES = {  # of a trained run, as far as it has them
    "L2": "reconstruction_l2",
    "nll": "reconstruction_nll",
    "kl": "kl",
    "input gradient": "input_gradient_norm",
    "accuracy": "accuracy",
    "cross-entropy": "cross_entropy",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns:
        The exit status: 0, 2 for input that cannot be used (one line on stderr), 130 after Ctrl-C.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        _dispatch(_parsed(words), shlex.join(["doubleback", *words]))
    except (InputError, DivergedError, LostProcessError) as error:
        _say(error)
        return 2
    except KeyboardInterrupt:
        print(
            "doubleback: interrupted; what is finished is kept: `train --resume`, or the same command again, goes on",
            file=sys.stderr,
        )
        return 130
    except BrokenPipeError:  # `| head` has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    finally:
        _leave_processes()
    return 0


def _leave_processes() -> None:
    """Part from the other processes of this run: what still talks to them as Python ends may abort it."""
    if "torch.distributed" in sys.modules:
        import torch.distributed as dist

        if dist.is_available() and dist.is_initialized():
            dist.destroy_process_group()


def _say(error: Exception) -> None:
    """One line, once: where all processes of a run meet the same error, torchrun ends the others as they wait."""
    rank = os.environ.get("RANK", os.environ.get("LOCAL_RANK", "0"))
    if rank != "0":
        time.sleep(2)
    print(f"doubleback: {'' if rank == '0' else f'process {rank}: '}{error}", file=sys.stderr)


def _parsed(words: Sequence[str]) -> Settings:
    """The command that the words spell; --help and --version exit here."""
    if list(words) == ["--version"]:
        print(f"doubleback {__version__}")
        raise SystemExit(0)
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            command: Settings = tyro.cli(
                Command,
                args=words or ["--help"],
                prog="doubleback",
                description=DESCRIPTION,
                config=(tyro.conf.OmitSubcommandPrefixes, tyro.conf.FlagCreatePairsOff),
            )
    except SystemExit as leaving:
        if leaving.code in (0, None):
            raise
        raise InputError(_one_line(said.getvalue())) from None
    return command


def _one_line(box: str) -> str:
    """The parser's box as one line.

    >>> _one_line("╭─ Unrecognized options ──╮\\n│ Unrecognized options: foo │\\n│ ──────── │\\n│ See --help │\\n╰──╯")
    'Unrecognized options: foo. See --help'
    """
    box = re.sub(r"Got errors:.*?─{3,}.*?─{3,}", "", box, flags=re.DOTALL)  # which types were tried, and the help again
    lines = [line.strip("│ ").strip() for line in box.splitlines()]
    parts = [""]
    for line in lines:
        if re.fullmatch(r"[╭╰─].*", line):
            parts.append("")
        else:
            parts[-1] = f"{parts[-1]} {line}".strip()
    return ". ".join(part.rstrip(".") for part in parts if part)


def _dispatch(settings: Settings, command: str) -> None:
    words = shlex.split(command)
    if isinstance(settings, Report):
        from doubleback.report import write_report

        print(write_report(settings.folders, settings.output, command=command))
        return
    with _ERRORS.status("loading torch"):
        from doubleback.experiments import classifiers, run, studies
    if isinstance(settings, Reproduce):
        _reproduce(settings)
        return
    if isinstance(settings, Train):
        if results := run.train(settings, words):
            _show_trained({str(settings.output): results})
    elif isinstance(settings, Audit):
        if results := run.audit(settings, words):
            _show_audited(results)
    elif isinstance(settings, Classify):
        _show_trained(
            {str(settings.output or settings.run / classifiers.CLASSIFIER): classifiers.classify(settings, words)}
        )
    elif isinstance(settings, Robustness):
        _show_robustness(studies.robustness(settings, words))
        print(f"{_report_of(settings.output, command)}: open it in a browser")
    elif isinstance(settings, Transition):
        _show_transition(studies.transition(settings, words))
        print(f"{_report_of(settings.output, command)}: open it in a browser")
    else:
        results = run.demo(settings)
        _show_audited({name: results[name] for name in ("plain", "hardened")})
        print(f"{_report_of(settings.output, command)}: open it in a browser")


def _reproduce(settings: Reproduce) -> None:
    """Plan, run, then set the tables and figures from what is on disk."""
    from doubleback.experiments.reproduction.running import plan
    from doubleback.progress import progress_bar

    with _ERRORS.status("opening the images"):
        planned = plan(settings)
    _show_plan(planned)
    if settings.plan:
        return
    with progress_bar("reproducing", sum(one.minutes or 1 for one in planned.of_state("due"))) as advance:

        def told(member: "Member", progress: "Progress") -> None:
            print(f"{time.strftime('%H:%M')} {progress.state:9} {member.folder} {progress.why}".rstrip(), flush=True)
            if progress.state != "running":
                advance(member.minutes or 1, member.folder)

        planned.run(told)
    from doubleback.report.reproduction import write_reproduction

    print(f"{write_reproduction(planned.folder, settings.withhold)}: open it in a browser")
    if lost := planned.of_state("failed", "left out"):
        raise InputError(
            f"{len(lost)} of {len(planned.members)} commands are missing, for the reasons above; "
            "the same command tries them again"
        )


def _show_plan(planned: "Reproduction") -> None:
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
        print(f"{reasons.count(why)} commands are left out: {why}", file=sys.stderr)
    known = [one.minutes for one in due if one.minutes is not None]
    expected = (
        f"about {sum(known) / planned.jobs:.0f} minutes as measured on two cores" if known else "not measured yet"
    )
    unknown = f", {len(due) - len(known)} of them not measured" if known and len(known) < len(due) else ""
    print(f"{len(due)} commands to run ({expected}{unknown}), {len(finished)} finished already, in {planned.folder}")
    print(f"{planned.jobs} side by side: {planned.why_jobs}")


def _report_of(folder: Path, command: str) -> Path:
    from doubleback.report import write_report

    return write_report([folder], command=command)


def _show_trained(runs: Mapping[str, Mapping[str, Any]]) -> None:
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


def _show_audited(runs: Mapping[str, Mapping[str, Any]]) -> None:
    """What each run withstands: mean AUDDC, envelope convention, higher is more robust; 95 % interval of the worst."""
    attacks = list(dict.fromkeys(attack for run in runs.values() for attack in run["attacks"]))
    base = os.path.commonpath([Path(name).resolve().parent for name in runs])
    rows = []
    for name, run in runs.items():
        figures = [run["attacks"][attack]["auddc"]["envelope"] for attack in attacks]
        interval = figures[-1]["ci95"]
        said = [_written(figure["mean"]) for figure in figures]
        said[-1] += f" [{_written(interval[0])}, {_written(interval[1])}]" if interval else ""
        rows.append(
            (
                os.path.relpath(Path(name).resolve(), base),
                _written(run["reconstruction_l2"]),
                *said,
                _written(run["ceiling"]["mean"]),
            )
        )
    _show(("AUDDC", "L2", *(attack.replace("_", " ") for attack in attacks), "ceiling"), rows)

    for name, run in runs.items():
        if not run["pairs"]["used"]:
            _ERRORS.print(f"{name}: no pair has a meaningful curve (every reconstruction is alike); train it longer")


def _show_robustness(results: Mapping[str, Any]) -> None:
    """Per cent of images that each model still gets right, worst case with its 95 % interval; flags that fire."""
    rows = []
    for name, model in results["models"].items():
        worst, ends = model["worst_case"], model["ci95"]["worst_case"]
        said = [f"{worst[e]:.1%} [{ends[e][0] * 100:.0f}, {ends[e][1] * 100:.0f}]" for e in results["eps"]]
        rows.append((name, f"{model['clean_accuracy']:.1%}", *said))
    _show(("accuracy", "clean", *(f"{results['norm']} {eps}" for eps in results["eps"])), rows)
    for name, model in results["models"].items():
        for says in model["flags"].values():
            _ERRORS.print(f"{name}: not to be trusted: {says}")


def _show_transition(results: Mapping[str, Any]) -> None:
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
        table.add_column(name, overflow="fold", no_wrap=place > 0)
    for row in rows:
        table.add_row(*row)
    Console().print(table)
