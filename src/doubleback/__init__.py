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
    from doubleback.attacks import latent_attack, output_attack, untargeted_attack
    from doubleback.auditing import audit
    from doubleback.data import load_images
    from doubleback.experiments.folders import load_run
    from doubleback.metrics.curve import auddc
    from doubleback.models import DRAW, VAE, Autoencoder, AutoencoderAdapter, ConvVAE, Reconstruction
    from doubleback.objective import Objective
    from doubleback.report import write_report
    from doubleback.training import fit

__all__ = [
    "DRAW",
    "VAE",
    "Autoencoder",
    "AutoencoderAdapter",
    "ConvVAE",
    "Objective",
    "Reconstruction",
    "auddc",
    "audit",
    "fit",
    "latent_attack",
    "load_images",
    "load_run",
    "output_attack",
    "untargeted_attack",
    "write_report",
]

_HOMES = {
    "DRAW": "models",
    "VAE": "models",
    "Autoencoder": "models",
    "AutoencoderAdapter": "models",
    "ConvVAE": "models",
    "Objective": "objective",
    "Reconstruction": "models",
    "auddc": "metrics.curve",
    "audit": "auditing",
    "fit": "training",
    "latent_attack": "attacks",
    "load_images": "data",
    "load_run": "experiments.folders",
    "output_attack": "attacks",
    "untargeted_attack": "attacks",
    "write_report": "report",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
