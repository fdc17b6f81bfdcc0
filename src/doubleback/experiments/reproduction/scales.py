"""How large a reproduction is: which autoencoders, on how many images, attacked how hard. Imports no torch."""

import re
from dataclasses import dataclass, field

Flags = tuple[str, ...]


@dataclass(frozen=True)
class Autoencoder:
    """A row of Tables 1 and 2: one architecture on one data set, to be trained plain and hardened.

    Attributes:
        data: mnist, svhn or celeba.
        key: short name, unique on its data set.
        label: as the tables say it.
        flags: of `train`.
        seeds: of its trainings.
        audit: flags of `audit`.
    """

    data: str
    key: str
    label: str
    flags: Flags
    seeds: tuple[int, ...] = (0,)
    audit: Flags = ()

    def run(self, kind: str, seed: int = 0) -> str:
        """The folder of a training, `kind` plain or hardened."""
        return f"runs/{self.data}-{self.key}-{kind}-{seed}"


@dataclass(frozen=True)
class Scale:
    """All that a reproduction of one size is made of.

    Attributes:
        about: whom it is for, and what it takes.
        autoencoders: the rows of Tables 1 and 2.
        classifiers: flags of `train` for each classifier that owes nothing to an autoencoder, by data set and model.
        mixture: flags of `classify`, by data set.
        robustness: flags of `robustness`, by data set.
        transitions: flags of `transition` for Figure 6.
        figure_1: flags of the audits of Figure 1.
        minutes: measured on two cores, by the folder that a command fills, without its seed.
    """

    about: str
    autoencoders: tuple[Autoencoder, ...]
    classifiers: dict[tuple[str, str], Flags]
    mixture: dict[str, Flags]
    robustness: dict[str, Flags]
    transitions: Flags
    figure_1: Flags
    minutes: dict[str, float] = field(default_factory=dict)

    def autoencoder(self, data: str, key: str) -> Autoencoder:
        """The row of this data set and short name."""
        return next(row for row in self.autoencoders if (row.data, row.key) == (data, key))

    def expected(self, folder: str) -> float | None:
        """Minutes, None where nobody has measured it."""
        return self.minutes.get(re.sub(r"-\d+(?=/|$)", "", folder))


def _words(text: str) -> Flags:
    return tuple(text.split())


def _draw(data: str, key: str, label: str, sizes: str, flags: str, audit: str) -> Autoencoder:
    return Autoencoder(data, key, f"DRAW, {label}", _words(f"--model draw {sizes} {flags}"), audit=_words(audit))


def _draws(data: str, flags: str, audit: str, steps: int) -> tuple[Autoencoder, ...]:
    """Without attention, and with a window of 12x12."""
    T = f"--model.steps {steps}"
    return (
        _draw(data, "draw", f"no attention, T = {steps}", T, flags, audit),
        _draw(data, "draw-12", f"window 12, T = {steps}", f"{T} {_WINDOW}", flags, audit),
    )


def _variants(data: str, flags: str, audit: str, steps: int) -> tuple[Autoencoder, ...]:
    """DRAW with attention: its window, its steps, its code and its LSTMs in turn."""
    T, same, fewer = f"--model.steps {steps}", f"window 12, T = {steps}", steps // 2
    small = "--model.read-size 5 --model.write-size 5"
    return (
        _draw(data, "draw-5", f"window 5, T = {steps}", f"{T} {small}", flags, audit),
        _draw(data, "draw-T", f"window 12, T = {fewer}", f"--model.steps {fewer} {_WINDOW}", flags, audit),
        _draw(data, "draw-latent", f"{same}, latent 8", f"{T} {_WINDOW} --model.latent 8", flags, audit),
        _draw(data, "draw-lstm", f"{same}, LSTM 128", f"{T} {_WINDOW} --model.hidden 128", flags, audit),
    )


_WINDOW = "--model.read-size 12 --model.write-size 12"
_FAST = "--precision fast"
_COLOUR_EPS = "--eps 2/255 4/255 8/255"

_CPU_AUDIT = "--coefficients 15"
_SMOKE = f"--limit 1000 --epochs 3 --batch-size 50 {_FAST}"
_SMOKE_GREY = f"--limit 1000 --epochs 12 --batch-size 50 --kl-weight 0.1 {_FAST}"  # else every reconstruction is alike
_SMOKE_AUDIT = "--pairs 3 --coefficients 3 --steps 20"

# On two cores, two commands side by side, other work beside some of them.
_CPU_MINUTES = {
    "runs/mnist-vae-plain": 2.4,
    "runs/mnist-vae-hardened": 3.3,
    "runs/mnist-vae-lambda-1": 4.6,
    "runs/mnist-vae-output-10": 4.5,
    "runs/mnist-draw-plain": 5.3,
    "runs/mnist-draw-hardened": 8.4,
    "runs/mnist-draw-12-plain": 5.0,
    "runs/mnist-draw-12-hardened": 8.9,
    "runs/mnist-draw-5-plain": 3.7,
    "runs/mnist-draw-5-hardened": 5.3,
    "runs/mnist-draw-T-plain": 2.3,
    "runs/mnist-draw-T-hardened": 4.1,
    "runs/mnist-draw-latent-plain": 4.6,
    "runs/mnist-draw-latent-hardened": 7.2,
    "runs/mnist-draw-lstm-plain": 3.5,
    "runs/mnist-draw-lstm-hardened": 4.2,
    "runs/celeba-conv-vae-plain": 4.2,
    "runs/celeba-conv-vae-hardened": 6.1,
    "runs/celeba-draw-12-plain": 2.8,
    "runs/celeba-draw-12-hardened": 5.1,
    "runs/svhn-conv-vae-plain": 3.8,
    "runs/svhn-conv-vae-hardened": 5.8,
    "runs/mnist-vae-plain/audit": 0.2,
    "runs/mnist-vae-hardened/audit": 0.2,
    "runs/mnist-vae-lambda-1/audit": 0.2,
    "runs/mnist-vae-output-10/audit": 0.2,
    "runs/mnist-draw-plain/audit": 1.6,
    "runs/mnist-draw-hardened/audit": 1.0,
    "runs/mnist-draw-12-plain/audit": 1.6,
    "runs/mnist-draw-12-hardened/audit": 1.1,
    "runs/mnist-draw-5-plain/audit": 1.1,
    "runs/mnist-draw-5-hardened/audit": 0.9,
    "runs/mnist-draw-T-plain/audit": 0.8,
    "runs/mnist-draw-T-hardened/audit": 0.5,
    "runs/mnist-draw-latent-plain/audit": 1.4,
    "runs/mnist-draw-latent-hardened/audit": 1.0,
    "runs/mnist-draw-lstm-plain/audit": 1.1,
    "runs/mnist-draw-lstm-hardened/audit": 0.7,
    "runs/celeba-conv-vae-plain/audit": 1.0,
    "runs/celeba-conv-vae-hardened/audit": 1.0,
    "runs/celeba-draw-12-plain/audit": 1.9,
    "runs/celeba-draw-12-hardened/audit": 1.6,
    "runs/svhn-conv-vae-plain/audit": 0.3,
    "runs/svhn-conv-vae-hardened/audit": 0.3,
    "classifiers/mnist-vae-plain": 0.2,
    "classifiers/mnist-vae-hardened": 0.2,
    "classifiers/mnist-vae-lambda-1": 0.2,
    "classifiers/mnist-vae-output-10": 0.2,
    "runs/mnist-mlp": 0.6,
    "runs/mnist-lenet": 1.5,
    "robustness/mnist": 4.4,
    "classifiers/svhn-conv-vae-plain": 0.1,
    "classifiers/svhn-conv-vae-hardened": 0.1,
    "runs/svhn-cvnet": 2.9,
    "robustness/svhn": 19.3,
    "figure1/mnist-draw-12-hardened": 1.2,
    "figure3": 0.1,
    "figure6": 0.2,
    "figure1/mnist-draw-12-plain": 1.0,
}

SCALES = {
    "smoke": Scale(
        about="Does everything run? A thousand images, a few epochs: minutes on two cores, figures that say nothing.",
        autoencoders=(
            Autoencoder("mnist", "vae", "VAE", _words(f"--model vae {_SMOKE_GREY}"), (0, 1), _words(_SMOKE_AUDIT)),
            *_draws("mnist", _SMOKE_GREY, _SMOKE_AUDIT, 2),
            *_variants("mnist", _SMOKE_GREY, _SMOKE_AUDIT, 2),
            Autoencoder(
                "celeba", "conv-vae", "VAE", _words(f"--model conv-vae {_SMOKE}"), (0, 1), _words(_SMOKE_AUDIT)
            ),
            _draws("celeba", _SMOKE, _SMOKE_AUDIT, 2)[1],
            Autoencoder("svhn", "conv-vae", "VAE", _words(f"--model conv-vae {_SMOKE}"), audit=_words(_SMOKE_AUDIT)),
        ),
        classifiers={
            ("mnist", "mlp"): _words(_SMOKE),
            ("mnist", "lenet"): _words(_SMOKE),
            ("svhn", "cvnet"): _words(_SMOKE),
        },
        mixture={"mnist": _words("--components 1"), "svhn": _words("--components 1")},
        robustness={
            "mnist": _words("--samples 20 --steps 5 --queries 20"),
            "svhn": _words(f"--samples 20 --steps 5 --queries 20 {_COLOUR_EPS}"),
        },
        transitions=_words("--count 4 --steps 20 --beyond 5"),
        figure_1=_words("--pairs 1 --coefficients 3 --steps 20"),
    ),
    "cpu": Scale(
        about="Two hours on two cores: smaller DRAWs, fewer faces and SVHN images than the paper's, VAEs three times.",
        autoencoders=(
            Autoencoder("mnist", "vae", "VAE", _words(f"--model vae {_FAST}"), (0, 1, 2)),
            *_draws("mnist", f"--epochs 4 {_FAST}", _CPU_AUDIT, 8),
            *_variants("mnist", f"--epochs 4 {_FAST}", _CPU_AUDIT, 8),
            Autoencoder(
                "celeba",
                "conv-vae",
                "VAE, convolutional",
                _words(f"--model conv-vae --limit 9000 --epochs 8 {_FAST}"),
                (0, 1, 2),
                _words(_CPU_AUDIT),
            ),
            _draws("celeba", f"--limit 9000 --epochs 6 {_FAST}", _CPU_AUDIT, 8)[1],
            Autoencoder(
                "svhn",
                "conv-vae",
                "VAE, convolutional",
                _words(f"--model conv-vae --limit 6800 --epochs 40 {_FAST}"),
                audit=_words(_CPU_AUDIT),
            ),
        ),
        classifiers={
            ("mnist", "mlp"): _words(_FAST),
            ("mnist", "lenet"): _words(_FAST),
            ("svhn", "cvnet"): _words(f"--limit 6800 {_FAST}"),
        },
        mixture={"mnist": (), "svhn": _words("--covariance tied")},
        robustness={
            "mnist": _words("--samples 400 --queries 300"),
            "svhn": _words(f"--samples 300 --queries 300 {_COLOUR_EPS}"),
        },
        transitions=_words("--count 200"),
        figure_1=_words("--pairs 8 --coefficients 100"),
        minutes=_CPU_MINUTES,
    ),
    "full": Scale(
        about="The paper's sizes, for a GPU: all images, DRAW with T = 16, 20 pairs x 51 coefficients, 1,000 images.",
        autoencoders=(
            Autoencoder("mnist", "vae", "VAE", _words(f"--model vae {_FAST}"), (0, 1, 2)),
            Autoencoder("mnist", "conv-vae", "VAE, convolutional", _words(f"--model conv-vae {_FAST}"), (0, 1, 2)),
            *_draws("mnist", f"--epochs 20 {_FAST}", "", 16),
            *_variants("mnist", f"--epochs 20 {_FAST}", "", 16),
            Autoencoder("celeba", "vae", "VAE", _words(f"--model vae {_FAST}"), (0, 1, 2)),
            Autoencoder("celeba", "conv-vae", "VAE, convolutional", _words(f"--model conv-vae {_FAST}"), (0, 1, 2)),
            *_draws("celeba", _FAST, "", 16),
            Autoencoder("svhn", "conv-vae", "VAE, convolutional", _words(f"--model conv-vae {_FAST}"), (0, 1, 2)),
        ),
        classifiers={
            ("mnist", "mlp"): _words(_FAST),
            ("mnist", "lenet"): _words(_FAST),
            ("svhn", "cvnet"): _words(_FAST),
        },
        mixture={"mnist": (), "svhn": _words("--covariance tied")},
        robustness={"mnist": (), "svhn": _words(_COLOUR_EPS)},
        transitions=_words("--count 200"),
        figure_1=_words("--pairs 8 --coefficients 100"),
    ),
}
