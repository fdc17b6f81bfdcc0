"""Defences at test time: an autoencoder in, an autoencoder out, nothing is trained.

`smoothing` averages over noisy copies, `hamiltonian` moves the code to where it explains the image, and the channel of
`models.channel` reads the image again: with fewer bits, compressed, resized. One more is a file here, a line in
`DEFENCES`, and its range in `settings.threat`.
"""

from collections.abc import Callable, Sequence

from torch import nn

from doubleback.defences.hamiltonian import Hamiltonian
from doubleback.defences.smoothing import Smoothed
from doubleback.models import Autoencoder, Surviving, as_victim
from doubleback.models.around import Around
from doubleback.settings.threat import Step, Threat, defence

__all__ = ["DEFENCES", "Hamiltonian", "Smoothed", "as_deployed", "defended"]


def _read_anew(model: Autoencoder, step: Step) -> Around:
    return Surviving(model, [step])


DEFENCES: dict[str, Callable[[Autoencoder, Step], Around]] = {
    "quantize": _read_anew,
    "jpeg": _read_anew,
    "resize": _read_anew,
    "smooth": lambda model, step: Smoothed(model, step.value),
    "hmc": lambda model, step: Hamiltonian(model, int(step.value)),
}


def defended(model: Autoencoder, steps: Sequence[str | Step]) -> Autoencoder:
    """An autoencoder behind defences. Images meet them in this order.

    Args:
        model: the autoencoder.
        steps: "quantize:4", "jpeg:75", "resize:0.5", "smooth:0.1", "hmc:10", or `Step`s.

    Raises:
        InputError: a step is none of these, or the model lacks what it needs.
    """
    for step in reversed([defence(step) if isinstance(step, str) else step for step in steps]):
        model = DEFENCES[step.kind](model, step)
    return model


def as_deployed(model: Autoencoder | nn.Module, threat: Threat) -> Autoencoder:
    """The model, wrapped if it has to be, with its defences, behind the channel that an image has to survive."""
    model = defended(as_victim(model), threat.defend)
    return Surviving(model, threat.survive) if threat.survive else model
