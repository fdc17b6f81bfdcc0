"""Let labels shape the code that a mixture classifies: python examples/labelled_codes.py RUN [--against CLASSIFIER]

The mixture on the code of an autoencoder (`doubleback classify`) knows only what the code holds, and nobody has told
the encoder what the classes are. Here the autoencoder learns on with the labels (`doubleback.Labelled`): its code is to
tell the classes apart, by a gradient that double backpropagation keeps small. Then the mixture is fitted anew, chosen
on validation images, and attacked by every means, beside another classifier on the same images.
"""

import argparse
from itertools import product
from pathlib import Path

import torch

import doubleback
from doubleback.data import Split
from doubleback.evaluation import classification_quality, reconstruction_quality
from doubleback.settings import Loop

_OF_THE_TRAINING = ("epochs", "weight", "gradient_weight", "learning_rate", "shift", "invert", "seed")
MIXTURES = list(product(("full", "tied", "diag"), (1, 2, 4, 8)))


def accuracy(classifier: doubleback.LatentMixtureClassifier, split: Split) -> float:
    """The share of the images that it classifies rightly."""
    return classification_quality(classifier, split)["accuracy"] or 0.0


def chosen(model: doubleback.Autoencoder, images: doubleback.ImageData) -> doubleback.LatentMixtureClassifier:
    """The mixture that classifies most of the validation images rightly."""
    best, most = None, -1.0
    for covariance, components in MIXTURES:
        one = doubleback.LatentMixtureClassifier.fit(
            model, images.train.images, images.train.labels, covariance=covariance, components=components
        )
        share = accuracy(one, images.validation)
        print(f"{covariance:5} {components:2} components: validation {share:.4f}")
        if share > most:
            best, most = one, share
    assert best is not None
    return doubleback.LatentMixtureClassifier(model, best.mixtures, images.label_names or best.classes)


def main(arguments: list[str] | None = None) -> dict[str, float]:
    """Learn the labels, fit the mixtures, attack the best.

    Returns:
        Test accuracy, the L2 errors, and the worst case at each eps.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="a run of `doubleback train` or `harden`, of images with labels")
    parser.add_argument("--against", type=Path, help="a run of a classifier, such as cvnet, on the same images")
    parser.add_argument("--epochs", type=int, default=45)
    parser.add_argument("--weight", type=float, default=3000.0, help="of the classes, in nats of the ELBO")
    parser.add_argument("--gradient-weight", type=float, default=0.3)
    parser.add_argument("--learning-rate", type=float, default=2e-3)
    parser.add_argument("--shift", type=int, default=3, help="pixels by which training images are moved")
    parser.add_argument("--invert", action="store_true", help="invert half of the training images, as suits SVHN")
    parser.add_argument("--eps", nargs="+", default=["2/255", "4/255", "8/255"])
    parser.add_argument("--images", type=int, default=300, help="test images that are attacked")
    parser.add_argument("--queries", type=int, default=300, help="of the Square attack")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--output", type=Path, default=Path("labelled-codes"), help="the checkpoint; type again to go on"
    )
    given = parser.parse_args(arguments)

    run = doubleback.load_run(given.run)
    model, images = run.model, run.images()
    found = {"l2_before": reconstruction_quality(model, images.test.images)["reconstruction_l2"]}
    torch.manual_seed(given.seed)
    objective = doubleback.Labelled(
        model,
        int(images.train.labels.max()) + 1,
        given.weight,
        gradient_weight=given.gradient_weight,
        shift=given.shift,
        invert=given.invert,
    )
    loop = Loop(given.epochs, 128, given.learning_rate, max_grad_norm=given.weight, seed=given.seed, precision="fast")
    asked = {name: value for name, value in vars(given).items() if name in _OF_THE_TRAINING}
    identity = f"{run.weights} {images.fingerprint} {asked}"
    doubleback.fit(objective, images, loop, folder=given.output, resume=True, identity=identity)
    found["l2"] = reconstruction_quality(model, images.test.images)["reconstruction_l2"]

    classifier = chosen(model, images)
    found["accuracy"] = accuracy(classifier, images.test)
    x, y = images.test.images[: given.images], images.test.labels[: given.images]
    models = {"labelled": classifier}
    if given.against is not None:
        models["other"] = doubleback.load_classifier(given.against).model
    threats = doubleback.Threats(eps=tuple(given.eps), queries=given.queries, seed=given.seed)
    for name, withstood in doubleback.robust_accuracy(models, x, y, threats=threats).items():
        results = withstood.results(given.eps)
        print(name, "worst case", results["worst_case"], results["ci95"]["worst_case"], "flags", results["flags"])
        if name == "labelled":
            found |= {f"worst_case {eps}": share for eps, share in results["worst_case"].items()}
    print(found)
    return found


if __name__ == "__main__":
    main()
