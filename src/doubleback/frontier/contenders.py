"""The defences that are compared: trained ones, those at test time, and the one with a proof."""

from collections.abc import Iterator
from dataclasses import dataclass

from doubleback.settings.penalty import Penalty


@dataclass(frozen=True)
class Trained:
    """The victim trained on with a penalty, within the budget, by `harden`."""

    penalty: Penalty
    about: str


@dataclass(frozen=True)
class Longer:
    """The victim trained on without a penalty: what longer training does alone, whatever the budget."""

    about: str


@dataclass(frozen=True)
class AtTestTime:
    """A defence about the victim, of the greatest strength that keeps to the budget on validation images.

    Attributes:
        kind: as `--defend` calls it.
        strengths: what is tried, the strongest first.
        about: what it does.
    """

    kind: str
    strengths: tuple[float, ...]
    about: str

    @property
    def steps(self) -> Iterator[str]:
        """Every strength as `--defend` has it."""
        return (f"{self.kind}:{strength:g}" for strength in self.strengths)


@dataclass(frozen=True)
class Proven:
    """A Lipschitz autoencoder, trained from scratch on the victim's images; one for each slope, whatever the budget."""

    slopes: tuple[float, ...]
    about: str


Contender = Trained | Longer | AtTestTime | Proven

CONTENDERS: dict[str, Contender] = {
    "spectral": Trained(Penalty("spectral"), "double backpropagation: the largest singular value, at blends"),
    "targeted": Trained(Penalty("targeted"), "double backpropagation: the distance to another image, at blends"),
    "targeted+spectral": Trained(Penalty("targeted+spectral"), "double backpropagation: the sum of these two"),
    "reconstruction": Trained(Penalty("reconstruction"), "double backpropagation as in the paper, at the images"),
    "reconstruction-blends": Trained(Penalty("reconstruction", at="blends"), "the same at blends"),
    "output": Trained(Penalty("output"), "double backpropagation: the Jacobian's Frobenius norm, at the images"),
    "noise": Trained(
        Penalty("noise"), "noisy images are to be reconstructed without their noise (Vincent et al. 2008)"
    ),
    "smooth-code": Trained(Penalty("smooth-code"), "the code stays under the worst small change (Cemgil et al. 2020)"),
    "kept-code": Trained(Penalty("kept-code"), "adversarial fine-tuning of the encoder (Schlarmann et al. 2024)"),
    "longer": Longer("no defence: the same training without a penalty"),
    "jpeg": AtTestTime("jpeg", (5, 10, 20, 30, 40, 50, 60, 70, 80, 90, 95), "JPEG compression before the model"),
    "quantize": AtTestTime("quantize", (1, 2, 3, 4, 5, 6, 7, 8), "fewer bits before the model"),
    "resize": AtTestTime("resize", (0.25, 0.33, 0.5, 0.67, 0.75, 0.9), "smaller, and back"),
    "smooth": AtTestTime(
        "smooth", (0.5, 0.3, 0.2, 0.15, 0.1, 0.07, 0.05, 0.03, 0.02), "mean over noisy copies (Cohen et al. 2019)"
    ),
    "hmc": AtTestTime("hmc", (2,), "Hamiltonian Monte Carlo on the code (Kuzina et al. 2022)"),
    "lipschitz": Proven((1.0, 2.0), "orthogonal layers, a certified worst case (Barrett et al. 2022)"),
}
