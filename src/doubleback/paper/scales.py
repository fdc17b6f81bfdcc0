"""How large a reproduction is: which autoencoders, on how many images, attacked how hard. Imports no torch.

What differs from command to command is left open here: the images, the seed, the penalty, the folders. `members` adds
them.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from typing import Any

from doubleback.settings import (
    Architecture,
    Auditing,
    Data,
    Hardening,
    Labels,
    Loop,
    Mixture,
    Pairing,
    Price,
    Search,
    Sizes,
    Threats,
    Training,
    Walk,
)
from doubleback.settings.checks import LEFT_OUT, Unsaid
from doubleback.settings.commands import Robustness, Transition

_TRANSITIONS = Transition((), count=200)
_FIGURE_1 = Auditing(Pairing(pairs=8), Price(100))
_HARDENING = Hardening("2%", alone=True, loop=Loop(precision="fast"))


@dataclass(frozen=True)
class Autoencoder:
    """A row of Tables 1 and 2: one architecture on one data set, to be trained plain, with DBP, and to be hardened.

    Attributes:
        data: mnist, svhn or celeba.
        key: short name, unique on its data set.
        name: as the tables say it.
        detail: what the tables add to that, perhaps nothing.
        training: its settings, but for the images, the penalty and the seed.
        auditing: how hard it is attacked.
        seeds: of its trainings.
        hardening: how the plain run is hardened, but for the seed.
    """

    data: str
    key: str
    name: str
    detail: str
    training: Training
    auditing: Auditing
    seeds: tuple[int, ...] = (0,)
    hardening: Hardening = _HARDENING

    @property
    def label(self) -> str:
        """Its name with the detail."""
        return listed(self.name, self.detail)

    def run(self, kind: str, seed: int = 0) -> str:
        """The folder of a training; `kind` is one of `doubleback.paper.compared.KINDS`."""
        return f"runs/{self.data}-{self.key}-{kind}-{seed}"


@dataclass(frozen=True)
class Scale:
    """All that a reproduction of one size is made of.

    Attributes:
        name: in `SCALES`.
        about: whom it is for, and what it takes.
        autoencoders: the rows of Tables 1 and 2.
        classifiers: training of each classifier that owes nothing to an autoencoder, by data set and model.
        mixtures: of `classify`, by data set.
        labelled: how the hardened run of a data set learns labels, but for where it starts; by data set.
        of_labelled: the mixtures of `classify` on such a code.
        robustness: of `robustness`, by data set.
        transitions: of `transition`, for Figure 6.
        figure_1: of the audits of Figure 1, but for the classes.
    """

    name: str
    about: str
    autoencoders: tuple[Autoencoder, ...]
    classifiers: Mapping[tuple[str, str], Training]
    mixtures: Mapping[str, Mixture]
    labelled: Mapping[str, Training]
    robustness: Mapping[str, Robustness]
    of_labelled: Mixture = Mixture(components=1, covariance="diag")
    transitions: Transition = _TRANSITIONS
    figure_1: Auditing = _FIGURE_1

    def autoencoder(self, data: str, key: str) -> Autoencoder:
        """The row of this data set and short name."""
        return next(row for row in self.autoencoders if (row.data, row.key) == (data, key))

    def expected(self, folder: str) -> float | None:
        """Minutes of the command that fills this folder, None where nobody has measured it."""
        return _minutes().get(self.name, {}).get(re.sub(r"-\d+(?=/|$)", "", folder))


def listed(*words: str) -> str:
    """The given values of a thing, without empty ones.

    >>> listed("VAE", "", "latent 8")
    'VAE, latent 8'
    """
    return ", ".join(word for word in words if word)


@cache
def _minutes() -> dict[str, dict[str, float]]:
    """By scale and by folder, without the seed: measured on two cores, two commands side by side."""
    stored: dict[str, Any] = json.loads((files("doubleback.paper") / "minutes.json").read_text(encoding="utf-8"))
    return stored


def _trained(training: Training, model: str, **sizes: Any) -> Training:
    return replace(training, architecture=Architecture(model, Sizes(**sizes)))


def _vae(data: str, training: Training, auditing: Auditing, seeds: tuple[int, ...] = (0,)) -> Autoencoder:
    return Autoencoder(data, "vae", "VAE", "", _trained(training, "vae"), auditing, seeds)


def _conv_vae(data: str, training: Training, auditing: Auditing, seeds: tuple[int, ...] = (0,)) -> Autoencoder:
    return Autoencoder(data, "conv-vae", "VAE", "convolutional", _trained(training, "conv-vae"), auditing, seeds)


def _draws(
    data: str, steps: int, training: Training, auditing: Auditing, seeds: tuple[int, ...] = (0,)
) -> tuple[Autoencoder, ...]:
    """Without attention, and with a window of 12x12."""
    draw = _drawing(data, training, auditing, seeds)
    return (
        draw("draw", f"no attention, T = {steps}", steps=steps),
        draw("draw-12", f"window 12, T = {steps}", steps=steps, **_WINDOW),
    )


def _variants(
    data: str, steps: int, training: Training, auditing: Auditing, seeds: tuple[int, ...] = (0,)
) -> tuple[Autoencoder, ...]:
    """DRAW with attention: its window, its steps, its code and its LSTMs in turn."""
    draw, same, fewer = _drawing(data, training, auditing, seeds), f"window 12, T = {steps}", steps // 2
    return (
        draw("draw-5", f"window 5, T = {steps}", steps=steps, read_size=5, write_size=5),
        draw("draw-T", f"window 12, T = {fewer}", steps=fewer, **_WINDOW),
        draw("draw-latent", f"{same}, latent 8", steps=steps, latent=8, **_WINDOW),
        draw("draw-lstm", f"{same}, LSTM 128", steps=steps, hidden=(128,), **_WINDOW),
    )


def _drawing(
    data: str, training: Training, auditing: Auditing, seeds: tuple[int, ...] = (0,)
) -> Callable[..., Autoencoder]:
    def draw(key: str, detail: str, **sizes: Any) -> Autoencoder:
        return Autoencoder(data, key, "DRAW", detail, _trained(training, "draw", **sizes), auditing, seeds)

    return draw


def _hardened(epochs: int, *rows: Autoencoder) -> tuple[Autoencoder, ...]:
    """These rows, hardened for so many epochs."""
    loop = replace(_HARDENING.loop, epochs=epochs)
    return tuple(replace(row, hardening=replace(_HARDENING, loop=loop)) for row in rows)


def _classifiers(grey: Training, colour: Training) -> dict[tuple[str, str], Training]:
    models = {("mnist", "mlp"): grey, ("mnist", "lenet"): grey, ("svhn", "cvnet"): colour}
    return {(data, model): _trained(training, model) for (data, model), training in models.items()}


def _training(limit: Unsaid[int] = LEFT_OUT, **loop: Any) -> Training:
    return Training(Data(limit=limit), loop=Loop(precision="fast", **loop))


def _learning(labels: Labels, **loop: Any) -> Training:
    """With labels, from a run that will be named; its images are that run's."""
    return replace(_training(max_grad_norm=labels.label_weight, **loop), labels=labels)


_WINDOW = {"read_size": 12, "write_size": 12}
_TWICE, _THRICE = (0, 1), (0, 1, 2)
_ALL_IMAGES = _training()
_COLOUR_EPS = Threats(eps=("2/255", "4/255", "8/255"))
_TIED = {"mnist": Mixture(), "svhn": Mixture(covariance="tied")}
_LABELLED = {
    "mnist": _learning(Labels(2000.0, 1.5), epochs=20, batch_size=128, learning_rate=2e-3),
    "svhn": _learning(Labels(3000.0, shift=3, invert=True), epochs=45, batch_size=128, learning_rate=2e-3),
}


def _smoke() -> Scale:
    training = _training(1000, epochs=3, batch_size=50)
    # With the KL's whole weight, or with fewer epochs, every reconstruction is alike.
    grey = replace(_training(1000, epochs=12, batch_size=50), kl_weight=0.1)
    auditing = Auditing(Pairing(pairs=3), Price(3), Search(steps=20))
    threats = Threats(steps=5, queries=20)
    return Scale(
        name="smoke",
        about="Does everything run? A thousand images, a few epochs: minutes on two cores, figures that say nothing.",
        autoencoders=_hardened(
            1,
            _vae("mnist", grey, auditing, (0, 1)),
            *_draws("mnist", 2, grey, auditing),
            *_variants("mnist", 2, grey, auditing),
            replace(_conv_vae("celeba", training, auditing, (0, 1)), detail=""),
            _draws("celeba", 2, training, auditing)[1],
            replace(_conv_vae("svhn", training, auditing), detail=""),
        ),
        classifiers=_classifiers(training, training),
        mixtures=dict.fromkeys(("mnist", "svhn"), Mixture(components=1)),
        labelled=dict.fromkeys(("mnist", "svhn"), _learning(Labels(100.0), epochs=2, batch_size=50)),
        robustness={
            "mnist": Robustness((), threats, samples=20),
            "svhn": Robustness((), replace(threats, eps=_COLOUR_EPS.eps), samples=20),
        },
        transitions=Transition((), count=4, walk=Walk(steps=20, beyond=5)),
        figure_1=replace(auditing, pairing=Pairing(pairs=1)),
    )


def _cpu() -> Scale:
    draws, faces, auditing = _training(epochs=4), 9000, Auditing()
    return Scale(
        name="cpu",
        about="4.3 hours on two cores: smaller DRAWs, fewer faces and SVHN images than the paper's, VAEs three times.",
        autoencoders=(
            _vae("mnist", _ALL_IMAGES, auditing, _THRICE),
            *_hardened(4, *_draws("mnist", 8, draws, auditing, _TWICE), *_variants("mnist", 8, draws, auditing)),
            *_hardened(
                8,
                _conv_vae("celeba", _training(faces, epochs=8), auditing, _THRICE),
                _draws("celeba", 8, _training(faces, epochs=6), auditing, _TWICE)[1],
            ),
            _conv_vae("svhn", _training(6800, epochs=40), auditing, _THRICE),
        ),
        classifiers=_classifiers(_ALL_IMAGES, _training(6800)),
        mixtures=_TIED,
        labelled=_LABELLED,
        robustness={
            "mnist": Robustness((), Threats(queries=300), samples=400),
            "svhn": Robustness((), replace(_COLOUR_EPS, queries=300), samples=300),
        },
    )


def _full() -> Scale:
    draws, auditing = _training(epochs=20), Auditing()
    return Scale(
        name="full",
        about="The paper's sizes, for a GPU: all images, DRAW with T = 16, 20 pairs x 51 coefficients, 1,000 images.",
        autoencoders=(
            _vae("mnist", _ALL_IMAGES, auditing, _THRICE),
            _conv_vae("mnist", _ALL_IMAGES, auditing, _THRICE),
            *_draws("mnist", 16, draws, auditing, _TWICE),
            *_variants("mnist", 16, draws, auditing, _TWICE),
            _vae("celeba", _ALL_IMAGES, auditing, _THRICE),
            _conv_vae("celeba", _ALL_IMAGES, auditing, _THRICE),
            *_draws("celeba", 16, _ALL_IMAGES, auditing, _TWICE),
            _conv_vae("svhn", _ALL_IMAGES, auditing, _THRICE),
        ),
        classifiers=_classifiers(_ALL_IMAGES, _ALL_IMAGES),
        mixtures=_TIED,
        labelled=_LABELLED,
        robustness={"mnist": Robustness(()), "svhn": Robustness((), _COLOUR_EPS)},
    )


SCALES = {scale.name: scale for scale in (_smoke(), _cpu(), _full())}
