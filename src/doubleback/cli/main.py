"""The command line: parse, dispatch, and say in one line what is wrong. Heavy imports wait inside the commands."""

import contextlib
import functools
import importlib
import importlib.util
import io
import operator
import os
import re
import shlex
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from doubleback._version import __version__
from doubleback.cli import completion, console, help
from doubleback.errors import DivergedError, InputError, LostProcessError, out_of_reach
from doubleback.interrupts import INTERRUPTED, leaving_at_once
from doubleback.processes import check_environment, rank, yield_while_waiting
from doubleback.settings import commands
from doubleback.settings.words import at_home, check_said, in_its_case
from doubleback.settings.words import words as as_words

if TYPE_CHECKING:
    from doubleback.paper.members import Member
    from doubleback.paper.running import Progress

LEAST_COLUMNS = 40


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns:
        The exit status: 0, 2 for input that cannot be used (one line on stderr), 130 after Ctrl-C.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    console.print_anything()
    if shutil.get_terminal_size().columns < LEAST_COLUMNS:
        os.environ["COLUMNS"] = str(LEAST_COLUMNS)  # in a column or two nothing can be read
    try:
        _dispatch(_parsed(words), shlex.join(["doubleback", *words]))
    except (InputError, DivergedError, LostProcessError) as error:
        _say(error)
        return 2
    except BrokenPipeError:  # `| head` has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (MemoryError, OSError, RuntimeError) as error:
        if (said := out_of_reach(error)) is None:
            raise
        _say(said)
        return 2
    except KeyboardInterrupt:
        print(
            "doubleback: interrupted; what is finished is kept: `train --resume`, or the same command again, goes on",
            file=sys.stderr,
        )
        return INTERRUPTED
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
    number = 0
    with contextlib.suppress(InputError):  # of the environment, which is what is being said then
        number = rank()
    if number:
        time.sleep(2)
    console.say(f"doubleback: {f'process {number}: ' if number else ''}{error}", error=True)


def _parsed(words: Sequence[str]) -> Any:
    """The command that the words spell; --help, --version and --completion exit here."""
    if (shown := _shown(words)) is not None:
        print(shown)
        raise SystemExit(0)
    kind = help.command(words[0])
    words = in_its_case(words, kind)
    check_said(words, kind)
    said = io.TextIOWrapper(io.BytesIO(), "utf-8")  # elsewhere the parser's box has no edges
    try:
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
            command: Any = tyro.cli(
                _any_command(),
                args=words,
                prog="doubleback",
                config=(tyro.conf.OmitSubcommandPrefixes, tyro.conf.FlagCreatePairsOff),
            )
    except SystemExit as leaving:
        if leaving.code in (0, None):
            raise
        said.seek(0)
        raise InputError(_one_line(said.read()).replace("doubleback --help", f"doubleback {words[0]} --help")) from None
    return at_home(command)


def _shown(words: Sequence[str]) -> str | None:
    """What the words ask to be told; None: they are a command to run."""
    match words:
        case ["--version"]:
            return f"doubleback {__version__}"
        case [completion.ASKED, *shell]:
            return completion.script(" ".join(shell))
    return help.asked(words)


def _any_command() -> Any:
    """The commands as one type, each under its name."""
    each = (Annotated[command, tyro.conf.subcommand(name)] for name, command in help.COMMANDS.items())
    return functools.reduce(operator.or_, each)


_IN_PLAIN_WORDS = (  # words of the parser, and plainer ones
    (r"[;.] For full helptext, (?:run|see):? (doubleback.*)", r"; see `\1`"),
    (r"^Error parsing [A-Z]\w*: ", ""),
    (
        r"^Error parsing (--\S+): [^;]*?'([^']*)'\]?(?:; Argument helptext:.*?)?(?=; see|$)",
        r"\1 is '\2'; give a number",
    ),
    (r"'([^']*,[^']*)'; give a number", r"'\1'; put a space between the numbers, not a comma"),
    (r"^Unrecognized options: (.*?)(?=; [Ss]ee|$)", r"\1 belongs to no setting; leave it out"),
    (r"^Missing from doubleback \w+: (\S+) (.*?)\.? \(required\)", r"\1 is missing; give \1: \2"),
)


def _one_line(box: str) -> str:
    """The parser's box as one line, without the class that it was building.

    >>> _one_line("╭─ Unrecognized options ──╮\\n│ Unrecognized options: foo │\\n│ ──────── │\\n│ See --help │\\n╰──╯")
    'foo belongs to no setting; leave it out; See --help'
    """
    box = re.sub(r"Got errors:.*?─{3,}.*?─{3,}", "", box, flags=re.DOTALL)  # which types were tried, and the help again
    lines = [line.strip("│ ").strip() for line in box.splitlines()]
    parts = [""]
    for line in lines:
        if re.fullmatch(r"[╭╰─].*", line):
            parts.append("")
        else:
            parts[-1] = f"{parts[-1]} {line}".strip()
    said = "; ".join(part.rstrip(".") for part in parts if part)
    for pattern, words in _IN_PLAIN_WORDS:
        said = re.sub(pattern, words, said)
    return said


def _import_matplotlib() -> None:
    """Import it where its own files lie: in any other folder it reads what is called matplotlibrc, be it a pipe.

    So it is the first import: the report needs it, and so does torchmetrics.
    """
    found = importlib.util.find_spec("matplotlib")
    assert found is not None
    assert found.origin is not None
    # Where the current folder is gone, nothing lies in it.
    with contextlib.suppress(FileNotFoundError), contextlib.chdir(Path(found.origin).parent / "mpl-data"):
        importlib.import_module("matplotlib")


def _dispatch(command: Any, line: str) -> None:
    """Run the command, and print what it found. Torch is imported here, not for `--help`."""
    words = shlex.split(line)
    _import_matplotlib()
    if isinstance(command, commands.Report):
        from doubleback.report import write_report

        console.say(write_report(command.folders, command.output, command=line))
        return
    if isinstance(command, commands.Leaderboard):
        from doubleback.leaderboard import write_leaderboard

        page = write_leaderboard(command.folders, command.output, command.markdown, command=line)
        console.say(f"{page}: open it in a browser")
        return
    check_environment()
    yield_while_waiting()
    with leaving_at_once(), console.ERRORS.status("loading torch"):
        from doubleback.experiments.attacking import attack
        from doubleback.experiments.auditing import audit, look
        from doubleback.experiments.classifiers import CLASSIFIER, classify
        from doubleback.experiments.demo import RUNS, demo
        from doubleback.experiments.hardening import audit_of, harden
        from doubleback.experiments.robustness import robustness
        from doubleback.experiments.training import train
        from doubleback.experiments.transition import transition
        from doubleback.state import exact_float32
    with exact_float32():
        match command:
            case commands.Reproduce():
                _reproduce(command)
            case commands.Train():
                if results := train(command, words):
                    console.show_trained({str(command.output): results})
            case commands.Harden():
                if hardened := harden(command, words):
                    console.show_hardened(hardened, shlex.join(["doubleback", *as_words(audit_of(command))]))
            case commands.Audit():
                if audited := audit(command, words):
                    console.show_audited(audited)
            case commands.Check():
                console.show_findings(look(command))
            case commands.Attack():
                for said in attack(command, words):
                    console.say(said)
                _say_report(command.output, line)
            case commands.Classify():
                console.show_trained({str(command.output or command.run / CLASSIFIER): classify(command, words)})
            case commands.Robustness():
                console.show_robustness(robustness(command, words))
                _say_report(command.output, line)
            case commands.Transition():
                console.show_transition(transition(command, words))
                _say_report(command.output, line)
            case commands.Frontier():
                _frontier(command, line)
            case commands.Push():
                from doubleback.sharing import push

                console.say(push(command))
            case commands.Demo():
                results = demo(command)
                console.show_audited({name: results[name] for name in RUNS})
                _say_report(command.output, line)


def _say_report(folder: Path, line: str) -> None:
    from doubleback.report import write_report

    console.say(f"{write_report([folder], command=line)}: open it in a browser")


def _frontier(command: commands.Frontier, line: str) -> None:
    from doubleback.frontier import frontier
    from doubleback.frontier.page import sentences, write_page

    rows = frontier(command)
    page = write_page(command.output, rows, line)
    for sentence in sentences(rows):
        console.say(sentence)
    console.say(f"{page}: open it in a browser")


def _reproduce(command: commands.Reproduce) -> None:
    """Plan, run, then set the tables and figures from what is on disk."""
    from doubleback.paper.writing import write_joined, write_reproduction

    if command.join:
        console.say(f"{write_joined(command.join, command.home)}: open it in a browser")
        return
    from doubleback.paper.planning import plan
    from doubleback.progress import progress_bar

    with console.ERRORS.status("opening the images"):
        planned = plan(command)
    console.show_plan(planned)
    if command.plan:
        return
    with progress_bar("reproducing", sum(one.minutes or 1 for one in planned.of_state("due"))) as advance:

        def told(member: "Member", progress: "Progress") -> None:
            console.say(f"{time.strftime('%H:%M')} {progress.state:9} {member.folder} {progress.why}".rstrip())
            if progress.state != "running":
                advance(member.minutes or 1, member.folder)

        planned.run(told)
    console.say(f"{write_reproduction(planned.folder, command.withhold)}: open it in a browser")
    if lost := planned.of_state("failed", "left out"):
        raise InputError(
            f"{len(lost)} of {len(planned.members)} commands are missing, for the reasons above; "
            "the same command tries them again"
        )
