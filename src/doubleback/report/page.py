"""One self-contained HTML file from run folders: no network, no other file, no script but the slider's own."""

import base64
import hashlib
import json
import shlex
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from markupsafe import Markup, escape

from doubleback.errors import InputError, reason
from doubleback.files import opened, write_text
from doubleback.report.budgets import budgets_view
from doubleback.report.cells import Column
from doubleback.report.comparison import baseline
from doubleback.report.figures import curves_panels
from doubleback.report.folders import Contents, read_folders
from doubleback.report.headline import headline
from doubleback.report.pictures import fitting, galleries, strips
from doubleback.report.robustness import robustness_view
from doubleback.report.runs import RunFolder, heading, title
from doubleback.report.slider import sliders
from doubleback.report.studies import Study
from doubleback.report.svg import SERIES
from doubleback.report.table import comparison
from doubleback.report.templates import templates
from doubleback.report.training_figures import training_panels
from doubleback.report.transition import transition_view

STILLS, SLIDERS, STRIPS = 400_000, 600_000, 200_000  # characters of pictures at most: a page stays under 2 MB
OURS, LOOKED_AT = b"<title>doubleback", 1024  # the mark of our pages, and how many bytes are searched for it


def write_report(
    folders: Sequence[str | Path], output: str | Path | None = None, *, command: str | None = None
) -> Path:
    """Write the report of any mix of runs, audits, classifiers, robustness and transition folders.

    Args:
        folders: what `train`, `audit --output`, `classify`, `robustness` or `transition` has written, or folders
            that hold several of them.
        output: the HTML file; by default FOLDER/report.html for one folder, ./report.html for several.
        command: the command line that asked for it, printed among those that repeat the runs.

    Returns:
        The file that was written.

    Raises:
        InputError: a folder is missing or holds nothing to report; a file in it is damaged; or `output` cannot be
            written, is not an HTML file, or is somebody else's page.
    """
    if not folders:
        raise InputError("no folder to report on; give one that `doubleback train`, `audit` or `demo` has written")
    path = Path(output) if output else (Path(folders[0]) / "report.html" if len(folders) == 1 else Path("report.html"))
    if path.suffix.lower() not in {".html", ".htm"}:
        raise InputError(f"{path} is not the name of an HTML file; end it in .html")
    refuse_others(path)
    write_text(path, _render(read_folders([Path(folder) for folder in folders]), command))
    return path


def refuse_others(path: Path, mark: bytes = OURS) -> None:
    """Refuse to write over anything but a page of ours.

    Args:
        path: where a page will be written.
        mark: what the first bytes of every page of ours hold.

    Raises:
        InputError: there is a folder, somebody else's page or a special file, or what is there cannot be read.
    """
    try:
        with opened(path) as stream:
            if mark not in stream.read(LOOKED_AT):
                raise InputError(f"{path} is not a page that doubleback has written; give another --output")
    except FileNotFoundError:
        return
    except (OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"cannot write {path}: {reason(error)}; choose another file") from error


def _render(contents: Contents, command: str | None) -> str:
    environment = templates()
    environment.filters["title"] = title
    environment.filters["heading"] = heading
    environment.filters["breaking"] = lambda name: escape(name).replace("/", Markup("/<wbr>"))
    runs = contents.runs
    script = environment.get_template("slider.js").render()
    return environment.get_template("template.html").render(
        policy=_policy(script),
        script=Markup(script),
        runs=runs,
        columns=[Column(run.name, i) for i, run in enumerate(runs)],
        drawn=[Column(run.name, i) for i, run in enumerate(runs) if run.audit and run.audit.curves],
        names=contents.names,
        colours=SERIES,
        verdict=headline(contents),
        table=comparison(runs, baseline(runs)),
        compared=baseline(runs),
        reconstructs=any(run.reconstructs for run in runs),
        curves=curves_panels(runs),
        audited=any(run.audit for run in runs),
        damage=budgets_view(runs),
        galleries=fitting(STILLS, partial(galleries, runs)),
        sliders=fitting(SLIDERS, partial(sliders, runs)),
        strips=fitting(STRIPS, partial(strips, runs)),
        robustness=[robustness_view(study, f"robustness{i}") for i, study in enumerate(contents.robustness)],
        transitions=[transition_view(study, f"transition{i}") for i, study in enumerate(contents.transitions)],
        trained=[Column(run.name, i) for i, run in enumerate(runs) if run.log],
        training=training_panels(runs),
        settings=[_settings(run) for run in runs],
        studies=[(study, _study_settings(study)) for study in [*contents.robustness, *contents.transitions]],
        commands=_commands(contents, command),
    )


def _policy(script: str) -> str:
    """What a browser lets the page do: show pictures that it holds, and run exactly this script. Nothing else."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    return f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"


def _settings(run: RunFolder) -> list[tuple[str, list[tuple[str, str]]]]:
    """Titled lists of names and values: what was trained, what was audited, and the versions used."""
    hardened = _flat((run.config if "harden" in run.config else run.audit.config if run.audit else {}).get("harden"))
    groups = [("Hardening", hardened), ("Training of the original" if hardened else "Training", _flat(run.settings))]
    if run.audit:
        groups.append(("Audit", _flat(run.audit.config.get("audit"))))
    if run.classifier:
        groups.append(("Classifier", _flat(run.classifier.config.get("classify"))))
    versions = {"trained by doubleback": run.config.get("version")}
    versions["audited by doubleback"] = run.audit.config.get("version") if run.audit else None
    versions["classified by doubleback"] = run.classifier.config.get("version") if run.classifier else None
    groups.append(("Versions", [(key, _word(value)) for key, value in versions.items() if value is not None]))
    return [(name, rows) for name, rows in groups if rows]


def _study_settings(study: Study) -> list[tuple[str, list[tuple[str, str]]]]:
    """The same for a study: its settings, the weights that it read, its version.

    Paths are left out, because a page may be passed on.
    """
    every = _flat({key: study.config.get(key) for key in ("models", "black_box", "judge") if study.config.get(key)})
    read = [(name, value) for name, value in every if not name.endswith(".path")]
    version = [("measured by doubleback", _word(study.config["version"]))] if "version" in study.config else []
    groups = [("Settings", _flat(study.config.get(study.kind))), ("Read", read), ("Versions", version)]
    return [(name, rows) for name, rows in groups if rows]


def _flat(value: Any, prefix: str = "") -> list[tuple[str, str]]:
    if not isinstance(value, Mapping):
        return [(prefix, _word(value))] if prefix else []
    return [row for key, item in value.items() for row in _flat(item, f"{prefix}.{key}" if prefix else str(key))]


def _word(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _commands(contents: Contents, command: str | None) -> list[str]:
    """Each command once, in the order that repeats them: training, audits, classifiers, studies, report."""
    runs = contents.runs
    configs = [run.config for run in runs]
    configs += [run.audit.config for run in runs if run.audit]
    configs += [run.classifier.config for run in runs if run.classifier]
    configs += [study.config for study in [*contents.robustness, *contents.transitions]]
    typed = [config.get("command") for config in configs]
    lines = [shlex.join(str(word) for word in words) for words in typed if isinstance(words, list) and words]
    return list(dict.fromkeys([*lines, *([command] if command else [])]))
