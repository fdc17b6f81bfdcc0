"""doubleback: train autoencoders that survive attack, attack any autoencoder, and measure what it withstands.

    images = doubleback.load_images("digits")
    model = doubleback.VAE(images.image_shape)
    doubleback.fit(doubleback.Objective(model, penalty="reconstruction"), images, epochs=60)
    print(doubleback.audit(model, images).results())

Public names are imported when first used, so `import doubleback` takes no time.
"""

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from doubleback.attacks import apgd, fgsm, latent_attack, output_attack, pgd, square, untargeted_attack
    from doubleback.auditing import audit
    from doubleback.data import load_images
    from doubleback.experiments.classifiers import load_classifier
    from doubleback.experiments.folders import load_run
    from doubleback.metrics.curve import auddc
    from doubleback.mixture import LatentMixtureClassifier
    from doubleback.models import (
        DRAW,
        MLP,
        VAE,
        Autoencoder,
        AutoencoderAdapter,
        Classifier,
        ConvVAE,
        CvNet,
        LeNet,
        Reconstruction,
    )
    from doubleback.objective import Objective
    from doubleback.report import write_report
    from doubleback.robustness import robust_accuracy
    from doubleback.training import fit
    from doubleback.transition import image_transition

__all__ = [
    "DRAW",
    "MLP",
    "VAE",
    "Autoencoder",
    "AutoencoderAdapter",
    "Classifier",
    "ConvVAE",
    "CvNet",
    "LatentMixtureClassifier",
    "LeNet",
    "Objective",
    "Reconstruction",
    "apgd",
    "auddc",
    "audit",
    "fgsm",
    "fit",
    "image_transition",
    "latent_attack",
    "load_classifier",
    "load_images",
    "load_run",
    "output_attack",
    "pgd",
    "robust_accuracy",
    "square",
    "untargeted_attack",
    "write_report",
]

_HOMES = {
    "DRAW": "models",
    "MLP": "models",
    "VAE": "models",
    "Autoencoder": "models",
    "AutoencoderAdapter": "models",
    "Classifier": "models",
    "ConvVAE": "models",
    "CvNet": "models",
    "LatentMixtureClassifier": "mixture",
    "LeNet": "models",
    "Objective": "objective",
    "Reconstruction": "models",
    "apgd": "attacks",
    "auddc": "metrics.curve",
    "audit": "auditing",
    "fgsm": "attacks",
    "fit": "training",
    "image_transition": "transition",
    "latent_attack": "attacks",
    "load_classifier": "experiments.classifiers",
    "load_images": "data",
    "load_run": "experiments.folders",
    "output_attack": "attacks",
    "pgd": "attacks",
    "robust_accuracy": "robustness",
    "square": "attacks",
    "untargeted_attack": "attacks",
    "write_report": "report",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
