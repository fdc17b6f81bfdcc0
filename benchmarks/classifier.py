"""The mixture classifier: how long fitting takes, and PGD beside foolbox's: python -m benchmarks.classifier

Ten 10-component full-covariance mixtures are fitted to the 60,000 32-dimensional codes of MNIST's training images. Then
`pgd` and foolbox's `LinfPGD` attack the same frozen classifier on the same test images, from random starts, with the
same steps and step size, cross-entropy both: once with every row kept to the last step, once with fooled rows leaving.
The two take turns, and the median counts. The last line is JSON.
"""

import argparse
import statistics
import time
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from benchmarks.recording import mnist_or_digits, record, told
from doubleback.attacks.classifiers import pgd
from doubleback.data import ImageData, Split, as_classes
from doubleback.experiments.runs import load_run
from doubleback.mixture import LatentMixtureClassifier
from doubleback.models import VAE
from doubleback.objective import Objective
from doubleback.progress import progress_bar
from doubleback.tensors import as_unit
from doubleback.training import fit

EPS, STEPS, STEP_SIZE = (0.1, 0.2), 40, 1 / 30  # step size in units of eps: foolbox's default


def load(given: argparse.Namespace) -> tuple[VAE, ImageData, str]:
    """A trained run, or a VAE hardened now: on MNIST, or the bundled digits if that cannot be had."""
    if given.run:
        run = load_run(given.run)
        return run.autoencoder, as_classes(run.images())[0], str(run.settings.images.data)
    images = mnist_or_digits()
    epochs = 60 if images.name == "digits" else 1 if given.quick else 5
    torch.manual_seed(0)
    model = VAE(images.image_shape)
    fit(Objective(model, penalty="reconstruction"), images, epochs=epochs)
    return model.eval(), images, images.name


def fitted(model: VAE, images: ImageData) -> tuple[LatentMixtureClassifier, dict[str, Any]]:
    """The classifier on all labelled images that are no test images, and the seconds for it, encoding included."""
    parts = (images.train, images.validation)
    every = Split(torch.cat([part.images for part in parts]), torch.cat([part.labels for part in parts]))  # type: ignore[misc]
    started = time.perf_counter()
    classifier = LatentMixtureClassifier.fit(model, every.images, every.labels)  # type: ignore[arg-type]
    seconds = time.perf_counter() - started
    return classifier.requires_grad_(False), {
        "codes": len(every),
        "dimensions": model.noise_shape[0],
        "seconds": seconds,
    }


def foolbox_pgd(classifier: LatentMixtureClassifier, x: Tensor, y: Tensor, eps: float) -> Callable[[], float]:
    """An attack that returns the robust accuracy."""
    import foolbox

    attack = foolbox.attacks.LinfPGD(rel_stepsize=STEP_SIZE, steps=STEPS, random_start=True)
    model = foolbox.PyTorchModel(classifier, bounds=(0, 1), device="cpu")

    def run() -> float:
        _, _, fooled = attack(model, x, y, epsilons=[eps])
        return 1 - fooled.float().mean().item()

    return run


def our_pgd(
    classifier: LatentMixtureClassifier, x: Tensor, y: Tensor, eps: float, *, keep: bool
) -> Callable[[], float]:
    """An attack that returns the robust accuracy."""

    def run() -> float:
        found = pgd(classifier, x, y, eps=[eps], steps=STEPS, step_size=STEP_SIZE, losses=["cross-entropy"], keep=keep)
        return 1 - found.fooled.float().mean().item()

    return run


def in_turns(attacks: dict[str, Callable[[], float]], rounds: int) -> tuple[dict[str, float], dict[str, float]]:
    """Median seconds of each, and what each returned last."""
    seconds: dict[str, list[float]] = {name: [] for name in attacks}
    accuracy = {}
    with progress_bar("attacking", rounds * len(attacks)) as advance:
        for _ in range(rounds):
            for name, attack in attacks.items():
                started = time.perf_counter()
                accuracy[name] = attack()
                seconds[name].append(time.perf_counter() - started)
                advance(1, name)
    return {name: statistics.median(times) for name, times in seconds.items()}, accuracy


def compared(classifier: LatentMixtureClassifier, x: Tensor, y: Tensor, eps: float, rounds: int) -> dict[str, Any]:
    """The three side by side at one epsilon."""
    attacks = {
        "foolbox": foolbox_pgd(classifier, x, y, eps),
        "kept": our_pgd(classifier, x, y, eps, keep=True),
        "leaving": our_pgd(classifier, x, y, eps, keep=False),
    }
    seconds, accuracy = in_turns(attacks, rounds)
    for name, taken in seconds.items():
        rate, times = len(x) * STEPS / taken, seconds["foolbox"] / taken
        print(
            f"eps {eps}  {name:8} {taken:6.2f} s {rate:9.0f} image-steps/s = {times:.2f} times foolbox's, "
            f"robust accuracy {accuracy[name]:.3f}"
        )
    ratios = {f"throughput_{name}": seconds["foolbox"] / seconds[name] for name in ("kept", "leaving")}
    return {"seconds": seconds, "robust_accuracy": accuracy, **ratios}


def main() -> None:
    """Print a table, and JSON last."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", help="folder of a trained autoencoder; by default one is trained now")
    parser.add_argument("--images", type=int, help="how many test images are attacked (default: 1000; quick: 200)")
    parser.add_argument("--rounds", type=int, help="turns of each attack (default: 5; quick: 3)")
    parser.add_argument("--quick", action="store_true", help="within a minute")
    given = parser.parse_args()
    warnings.filterwarnings("ignore", category=UserWarning)  # of foolbox, about the mode of the model
    model, images, data = load(given)
    classifier, mixtures = fitted(model, images)
    count = given.images or (200 if given.quick else 1000)
    x, y = as_unit(images.test.images[:count]), images.test.labels[:count]  # type: ignore[index]
    print(f"mixtures: {mixtures['codes']} codes of {mixtures['dimensions']} dimensions in {mixtures['seconds']:.1f} s")
    found = {str(eps): compared(classifier, x, y, eps, given.rounds or (3 if given.quick else 5)) for eps in EPS}
    figures = {"data": data, "mixtures": mixtures, "images": count, "steps": STEPS, "eps": found}
    record("classifier", figures, quick=given.quick)


if __name__ == "__main__":
    told(main)
