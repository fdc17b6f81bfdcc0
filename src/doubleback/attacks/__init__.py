"""Attacks: an engine that minimises row by row, and what to minimise.

On autoencoders: `goals` (what is to be reached), `sweep` (with a price on the distortion), `attack` (both as a value).
On classifiers: `classifiers/`. `engine` minimises in the box, `projected` in a `ball` of radius eps; `rows` is what all
share.
"""

from doubleback.attacks.attack import Attack, Capability, attacks_of, latent_attack, output_attack, untargeted_attack
from doubleback.attacks.classifiers import Adversarial, apgd, fgsm, pgd, random_noise, square
from doubleback.attacks.engine import minimize
from doubleback.attacks.goals import Damage, Goal, Latent, Output
from doubleback.attacks.sweep import Examples, coefficient_sweep

__all__ = [
    "Adversarial",
    "Attack",
    "Capability",
    "Damage",
    "Examples",
    "Goal",
    "Latent",
    "Output",
    "apgd",
    "attacks_of",
    "coefficient_sweep",
    "fgsm",
    "latent_attack",
    "minimize",
    "output_attack",
    "pgd",
    "random_noise",
    "square",
    "untargeted_attack",
]
