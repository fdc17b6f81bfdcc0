"""`push`: a run, or a hardened model, as a repository of the Hugging Face hub; or the folder that would be one.

    config.json, model.safetensors    the model, as `from_pretrained` and `hub:owner/name` read it
    README.md                         the card; `.eval_results/` holds its figures for the hub
    results.json                      of the run
    audit/                            config.json, results.json and curves.npz of RUN/audit

No image is passed on, and no folder of this machine is named.
"""

import shutil
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from doubleback.errors import InputError, reason
from doubleback.experiments.libraries import of_folder
from doubleback.experiments.runs import load_run
from doubleback.files import (
    is_folder,
    opened,
    read_arrays,
    read_json,
    sweep,
    temporary,
    write_arrays,
    write_json,
    write_text,
)
from doubleback.folders import CONFIG, CURVES, RESULTS, WEIGHTS, is_finished, within
from doubleback.models import Wrapped
from doubleback.models.pulling import save_model
from doubleback.report.protocol import HARDENED, defence_words, made_words
from doubleback.report.runs import RunFolder, read_run
from doubleback.settings.commands import Push
from doubleback.sharing.card import Card
from doubleback.sharing.private import without_paths

CARD, EVALUATED, AUDIT = "README.md", ".eval_results", "audit"
_MESSAGE = "Pushed by doubleback"
_OURS = (  # of an earlier push, which may be of another model
    f"{AUDIT}/*",
    f"{EVALUATED}/doubleback.yaml",
    RESULTS,
    WEIGHTS,
    f"diffusion_pytorch_{WEIGHTS}",
)


@dataclass(frozen=True)
class Pushed:
    """What can be pushed: a model, as it is read, and the folder with its figures.

    Attributes:
        run: the folder as the report reads it, with the audit that the card tells of.
        audit: where that lies.
        architecture: the class of the model.
        model: one of ours; None: `layout` holds it in the layout of its library.
        layout: where.
    """

    run: RunFolder
    audit: Path | None
    architecture: str
    model: Any = None
    layout: Path | None = None


def push(command: Push) -> str:
    """Push a run to the hub, or write the folder that would be pushed.

    Args:
        command: which run, where to, and whether everybody may see it.

    Returns:
        One line: where it is now.

    Raises:
        InputError: the run is unfinished or damaged, the folder is not empty, or the hub refuses.
    """
    pushed = _read(command.run, command.audit)
    if command.output is not None:
        _leave(pushed, command, command.output)
        return f"{command.output}: this is what would be pushed; nothing has left this machine"
    with tempfile.TemporaryDirectory(prefix="doubleback-push-") as home:
        _fill(pushed, command, Path(home))
        return _upload(command, Path(home))


def _read(folder: Path, asked: Path | None) -> Pushed:
    """The model of a folder, and its figures."""
    if not is_folder(folder) or not is_finished(folder):
        raise InputError(f"{folder} is not a finished run; give a folder of `doubleback train` or `harden`")
    config = read_json(folder / CONFIG)
    if "classify" in config or not ("train" in config or isinstance(config.get("harden"), dict)) or "audit" in config:
        raise InputError(f"{folder} holds no model that can be pushed; give a folder of `doubleback train` or `harden`")
    run, audit = _audited(read_run(folder, config), asked)
    if "train" in config:
        model = load_run(folder).model
        return Pushed(run, audit, type(model).__name__, model)
    layout = within(folder, "weights")
    if not (layout / CONFIG).is_file():
        raise InputError(
            f"{folder} holds weights in a layout that no library of the hub reads; push the model with its own library"
        )
    net = of_folder(layout)
    net = net.net if isinstance(net, Wrapped) else net
    return Pushed(run, audit, type(net).__name__, layout=layout)


def _audited(run: RunFolder, asked: Path | None) -> tuple[RunFolder, Path | None]:
    """The run with the audit that is meant, and where that lies: one of the model itself, without a defence."""
    if asked is None and run.audit is not None and not defence_words(run.audit.config):
        return run, run.folder / AUDIT
    if asked is None:
        run = replace(run, audit=None)
        beside = [
            one
            for one in sorted(run.folder.glob(f"{AUDIT}-*"))
            if _weights_in(one) == run.results.get("weights") and not defence_words(read_json(one / CONFIG))
        ]
        if len(beside) > 1:
            names = ", ".join(one.name for one in beside)
            raise InputError(f"{run.folder} has several audits ({names}); name one: --audit DIR")
        if not beside:
            return run, None
        asked = beside[0]
    elif (weights := _weights_in(asked)) is None:
        raise InputError(f"{asked} is not a finished audit; give a folder that `doubleback audit` has written")
    elif weights != run.results.get("weights"):
        raise InputError(f"{asked} was made from other weights than {run.folder}; audit that first")
    elif steps := defence_words(read_json(asked / CONFIG)):
        raise InputError(f"{asked} is of the model behind {steps}, which is not pushed; audit it without --defend")
    return replace(run, audit=read_run(asked, read_json(asked / CONFIG)).audit), asked


def _weights_in(folder: Path) -> str | None:
    """The digest of the weights that an audit is of; None: the audit is not finished, or has no digest."""
    config = read_json(folder / CONFIG) if is_folder(folder) and is_finished(folder) else {}
    weights = config.get("weights") if isinstance(config.get("audit"), dict) else None
    return weights if isinstance(weights, str) else None


def _leave(pushed: Pushed, command: Push, folder: Path) -> None:
    """Fill a folder beside its place, and put it there whole."""
    try:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise InputError(f"{folder} exists and is not empty; give another --output, or remove it")
        folder.parent.mkdir(parents=True, exist_ok=True)
        sweep(folder.parent, folder.name)
        scratch = Path(tempfile.mkdtemp(dir=folder.parent, prefix=temporary(folder.name)))
        try:
            _fill(pushed, command, scratch)
            scratch.chmod(0o755)
            scratch.replace(folder)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    except OSError as error:
        raise InputError(f"cannot write {folder}: {error.strerror or error}; choose another folder") from error


def _fill(pushed: Pushed, command: Push, home: Path) -> None:
    """All files of the repository."""
    run = pushed.run
    if pushed.model is not None:
        save_model(pushed.model, home)
    elif pushed.layout is not None:
        _copy(pushed.layout, home)
    config = read_json(home / CONFIG)
    made, how = made_words(replace(run, audit=None))
    if made == HARDENED and config.get("library_name") == "doubleback":
        harden = run.config.get("harden")
        noted = harden if isinstance(harden, dict) else {"penalty": run.settings.get("penalty", how)}
        write_json(home / CONFIG, {**config, "hardened": without_paths(noted)})
    write_json(home / RESULTS, without_paths(run.results))
    if run.audit is not None and pushed.audit is not None:
        write_json(home / AUDIT / CONFIG, without_paths(run.audit.config))
        write_json(home / AUDIT / RESULTS, without_paths(run.audit.results))
        write_arrays(home / AUDIT / CURVES, read_arrays(pushed.audit / CURVES))
    card = Card(command.name, run, pushed.architecture, command.license)
    write_text(home / CARD, card.text)
    if card.eval_results is not None:
        write_text(home / EVALUATED / "doubleback.yaml", card.eval_results)


def _copy(layout: Path, home: Path) -> None:
    """The JSON and the safetensors of a library's folder, regular files alone."""
    for path in sorted(layout.iterdir()):
        if path.name == CONFIG:
            config = {key: value for key, value in read_json(path).items() if key != "_name_or_path"}
            write_json(home / CONFIG, without_paths(config))
        elif path.suffix in (".json", ".safetensors") and path.name != RESULTS:
            with opened(path) as source, (home / path.name).open("wb") as target:
                shutil.copyfileobj(source, target)


def _upload(command: Push, home: Path) -> str:
    from huggingface_hub import HfApi

    api: Any = HfApi(library_name="doubleback")
    try:
        api.create_repo(command.name, private=not command.public, exist_ok=True)
        private = bool(api.model_info(command.name).private)
        if private == command.public:  # it was there before
            seen = "private; change that on its page" if private else "public; say --public, or give another name"
            raise InputError(f"{command.name} exists and is {seen}")
        done = api.upload_folder(
            repo_id=command.name, folder_path=str(home), commit_message=_MESSAGE, delete_patterns=_OURS
        )
    except InputError:
        raise
    except Exception as error:
        raise InputError(
            f"cannot push to {command.name} ({reason(error)[:200]}); log in with `hf auth login`, and check the name"
        ) from error
    return (
        f"{done}: pushed, {'for everybody to see' if command.public else 'private'}; hub:{command.name} is a victim now"
    )
