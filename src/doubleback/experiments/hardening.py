"""`harden`: a victim trained on within a budget, and its folder; inside, its twin, trained on without the penalty."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from doubleback.auditing import check
from doubleback.checkpoints import load_weights, save_tensors, weights_digest
from doubleback.data import ImageData, digests, settled
from doubleback.errors import InputError
from doubleback.experiments.runs import TrainedRun
from doubleback.experiments.training import reconstruction_figures, training_figures
from doubleback.experiments.victims import LEFT, Stranger, images_of, in_a_layout, leave_weights, load_victim
from doubleback.experiments.victims import described as of_victim
from doubleback.files import write_arrays, write_json
from doubleback.folders import CONFIG, IMAGES, SEEN, WEIGHTS, Folder, within
from doubleback.hardening import Twin
from doubleback.hardening import harden as hardened
from doubleback.hardening.hardened import LOOP
from doubleback.imports import code_digest, named_object
from doubleback.objective import ELBO
from doubleback.processes import processes
from doubleback.progress import note
from doubleback.settings import Loop
from doubleback.settings.commands import Audit, Harden
from doubleback.settings.stored import flat
from doubleback.training.home import Home

TWIN = "twin"
_PROMISED = (WEIGHTS, SEEN, IMAGES)


def harden(command: Harden, words: Sequence[str]) -> dict[str, Any]:
    """Harden one victim and leave its folder; an interrupted hardening continues, to exactly the same weights.

    Args:
        command: its settings.
        words: of the command line.

    Returns:
        What `results.json` holds.

    Raises:
        InputError: a setting, the victim or the folder is unusable, or torchrun has started several processes.
        DivergedError: the loss is not finite, whatever the weight; nothing is left but the folder to go on in.
    """
    if processes(command.hardening.loop.devices) > 1:
        raise InputError("harden is for one process; start it without torchrun, and with --devices 1")
    victim = load_victim(command.victim, command.wrapping)
    _refuse_labelled(victim)
    images = images_of(victim, command.data, command.image_size)
    settings, loop = command.hardening, _loop(victim, command.hardening.loop)
    owners = named_object(settings.loss) if settings.loss else _own_loss(victim)
    folder = Folder(command.output, "harden", _described(victim, images, command), words, _PROMISED)
    with folder.claimed() as finished:
        if finished:
            return finished
        flags = _doubts(victim, images)
        for says in flags.values():
            note(f"not to be trusted: {says}")
        found = hardened(
            victim.autoencoder,
            images,
            settings.share,
            owners,
            settings=replace(settings, loop=loop),
            home=Home(folder.path, folder.identity, resume=True),
        )
        if found.twin is not None:
            _leave_twin(folder, victim, images, found.twin)
        return _leave(
            folder,
            victim.autoencoder,
            images,
            {"harden": found.results(), "train": training_figures(found.history, images)}
            | ({"flags": flags} if flags else {}),
        )


def _refuse_labelled(victim: TrainedRun | Stranger) -> None:
    """`harden` goes on with the ELBO, and would unlearn what the labels have taught."""
    if isinstance(victim, TrainedRun) and victim.settings.labels.label_weight:
        raise InputError(
            f"{victim.folder} has learned labels, which harden would unlearn; harden the run that it came from, then "
            "train with --init and --label-weight"
        )


def _doubts(victim: TrainedRun | Stranger, images: ImageData) -> dict[str, str]:
    """What is wrong with somebody else's model, before anything is learned from it."""
    if not isinstance(victim, Stranger):
        return {}
    findings = check(victim.autoencoder, images.validation.images)
    return {finding.name: finding.message for finding in findings if finding.spoils and not finding.ok}


def audit_of(command: Harden) -> Audit:
    """The command that measures what this hardening has brought."""
    left = command.output / LEFT
    if not left.exists():  # a run, which is audited beside the run that it came from
        return Audit((command.victim, command.output))
    whole = in_a_layout(left)
    return Audit(
        (command.output if whole else command.victim,),
        data=command.data,
        image_size=command.image_size,
        wrapping=replace(command.wrapping, weights=None if whole else left / WEIGHTS),
        output=command.output / "audits",
    )


def _leave(folder: Folder, model: Any, images: ImageData, results: dict[str, Any]) -> dict[str, Any]:
    """The weights, in our layout and in the library's, some reconstructions, the test figures."""
    save_tensors(folder.path / WEIGHTS, model.state_dict(), folder.identity)
    if "train" not in folder.described:
        leave_weights(model, folder.path)
    write_arrays(folder.path / SEEN, {"digests": digests(images.train)})
    test = reconstruction_figures(model, images.test, folder)
    return folder.finish({**results, "test": test, "weights": weights_digest(model)})


def _leave_twin(folder: Folder, victim: Any, images: ImageData, twin_of: Twin) -> None:
    """The model that was trained on without the penalty, as a folder of its own inside."""
    model, described = victim.autoencoder, folder.described
    described = {**described, "harden": {**described["harden"], "penalty": "none"}}
    twin = Folder(within(folder.path, TWIN), "harden", described, folder.command, _PROMISED)
    if not (twin.path / CONFIG).exists():  # its log and its checkpoint may be there
        write_json(twin.path / CONFIG, twin.config())
    now = {name: one.clone() for name, one in model.state_dict().items()}
    with twin.claimed() as finished:
        if finished:
            return
        load_weights(model, twin_of.weights, twin.path)
        try:
            _leave(twin, model, images, {"train": training_figures(twin_of.history, images)})
        finally:
            load_weights(model, now, folder.path)


def _loop(victim: TrainedRun | Stranger, said: Loop) -> Loop:
    """What was left out follows the training of a run: its batches, two thirds of its learning rate."""
    if isinstance(victim, Stranger):
        return said
    had = victim.settings.loop
    assert had.learning_rate is not None
    return said.filled(epochs=LOOP.epochs, batch_size=had.batch_size, learning_rate=2 / 3 * had.learning_rate)


def _own_loss(victim: TrainedRun | Stranger) -> ELBO | None:
    if isinstance(victim, Stranger):
        return None
    kl_weight = victim.settings.kl_weight
    return ELBO(1.0 if kl_weight is None else kl_weight)


def _described(victim: TrainedRun | Stranger, images: ImageData, command: Harden) -> dict[str, Any]:
    """All that the new weights depend on. Of a run it is a run's, too: its model and its images."""
    harden = {
        name: value for name, value in flat(command.hardening).items() if name not in ("tensorboard", "cuda_graph")
    }
    if command.hardening.loss is not None:
        harden["code"] = code_digest(command.hardening.loss)
    described: dict[str, Any] = {"harden": harden, "images": images.fingerprint, "parent": victim.weights}
    if isinstance(victim, TrainedRun):
        return described | {"train": victim.described, "image_shape": list(images.image_shape)}
    harden |= {"data": settled(command.data or ""), "image_size": command.image_size}
    return described | {"victim": of_victim(victim, command.victim, command.wrapping)}
