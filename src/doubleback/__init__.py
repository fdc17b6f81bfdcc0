"""doubleback: train autoencoders that survive attack, attack any autoencoder, and measure what it withstands.

    images = doubleback.load_images("digits")
    model = doubleback.VAE(images.image_shape)
    doubleback.fit(doubleback.Objective(model, penalty="reconstruction"), images, epochs=60)
    print(doubleback.audit(model, images).results())

Public names are imported when first used, so `import doubleback` takes no time.
"""

from doubleback._version import __version__ as __version__

TYPE_CHECKING = False  # not that of `typing`: with `-m`, one that lies in the current folder would be imported here
if TYPE_CHECKING:  # for editors and type checkers: the same names as below
    from doubleback.attacks import Attack as Attack
    from doubleback.attacks import Canvas as Canvas
    from doubleback.attacks import Damage as Damage
    from doubleback.attacks import Drift as Drift
    from doubleback.attacks import Goal as Goal
    from doubleback.attacks import Latent as Latent
    from doubleback.attacks import Layers as Layers
    from doubleback.attacks import Output as Output
    from doubleback.attacks import Rate as Rate
    from doubleback.attacks import Scores as Scores
    from doubleback.attacks import Surrogate as Surrogate
    from doubleback.attacks import apgd as apgd
    from doubleback.attacks import fgsm as fgsm
    from doubleback.attacks import latent_attack as latent_attack
    from doubleback.attacks import output_attack as output_attack
    from doubleback.attacks import pgd as pgd
    from doubleback.attacks import square as square
    from doubleback.attacks import untargeted_attack as untargeted_attack
    from doubleback.attacks.standard import STANDARD as STANDARD
    from doubleback.auditing import Audited as Audited
    from doubleback.auditing import audit as audit
    from doubleback.auditing import check as check
    from doubleback.auditing import damage as damage
    from doubleback.auditing import r_margin as r_margin
    from doubleback.auditing import universal as universal
    from doubleback.data import ImageData as ImageData
    from doubleback.data import Split as Split
    from doubleback.data import load_images as load_images
    from doubleback.defences import defended as defended
    from doubleback.errors import InputError as InputError
    from doubleback.experiments.classifiers import load_classifier as load_classifier
    from doubleback.experiments.runs import load_run as load_run
    from doubleback.hardening import Hardened as Hardened
    from doubleback.hardening import harden as harden
    from doubleback.metrics.curve import auddc as auddc
    from doubleback.mixture import LatentMixtureClassifier as LatentMixtureClassifier
    from doubleback.models import DRAW as DRAW
    from doubleback.models import MLP as MLP
    from doubleback.models import VAE as VAE
    from doubleback.models import Autoencoder as Autoencoder
    from doubleback.models import AutoencoderAdapter as AutoencoderAdapter
    from doubleback.models import Classifier as Classifier
    from doubleback.models import ConvVAE as ConvVAE
    from doubleback.models import CvNet as CvNet
    from doubleback.models import LeNet as LeNet
    from doubleback.models import LipschitzAE as LipschitzAE
    from doubleback.models import Reconstruction as Reconstruction
    from doubleback.models import Surviving as Surviving
    from doubleback.models import wrap as wrap
    from doubleback.objective import Labelled as Labelled
    from doubleback.objective import Objective as Objective
    from doubleback.objective import TrainingObjective as TrainingObjective
    from doubleback.objective import penalty as penalty
    from doubleback.report import write_report as write_report
    from doubleback.robustness import robust_accuracy as robust_accuracy
    from doubleback.settings import Auditing as Auditing
    from doubleback.settings import BallSearch as BallSearch
    from doubleback.settings import Budget as Budget
    from doubleback.settings import Hardening as Hardening
    from doubleback.settings import Loop as Loop
    from doubleback.settings import Pairing as Pairing
    from doubleback.settings import Penalty as Penalty
    from doubleback.settings import Price as Price
    from doubleback.settings import Range as Range
    from doubleback.settings import Search as Search
    from doubleback.settings import Threat as Threat
    from doubleback.settings import Threats as Threats
    from doubleback.settings import Walk as Walk
    from doubleback.training import fit as fit
    from doubleback.transition import image_transition as image_transition

_ROOMS = {
    "attacks": "Attack Canvas Damage Drift Goal Latent Layers Output Rate Scores Surrogate apgd fgsm latent_attack "
    "output_attack pgd square untargeted_attack",
    "attacks.standard": "STANDARD",
    "auditing": "Audited audit check damage r_margin universal",
    "data": "ImageData Split load_images",
    "defences": "defended",
    "errors": "InputError",
    "experiments.classifiers": "load_classifier",
    "experiments.runs": "load_run",
    "hardening": "Hardened harden",
    "metrics.curve": "auddc",
    "mixture": "LatentMixtureClassifier",
    "models": "DRAW MLP VAE Autoencoder AutoencoderAdapter Classifier ConvVAE CvNet LeNet LipschitzAE "
    "Reconstruction Surviving wrap",
    "objective": "Labelled Objective TrainingObjective penalty",
    "report": "write_report",
    "robustness": "robust_accuracy",
    "settings": "Auditing BallSearch Budget Hardening Loop Pairing Penalty Price Range Search Threat Threats Walk",
    "training": "fit",
    "transition": "image_transition",
}
_HOMES = {name: room for room, names in _ROOMS.items() for name in names.split()}
__all__ = sorted(_HOMES)


def __getattr__(name: str) -> object:
    if name in _HOMES:
        import importlib

        return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
