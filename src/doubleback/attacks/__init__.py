"""Attacks: an engine that minimises row by row, and what to minimise.

On autoencoders: `engine` (in a box, with a price on the distortion), `sweep`, `autoencoder`. On classifiers: `goal`
(losses, margin), `ball`, `projected` (in a ball of radius eps), `classifier` (FGSM, PGD, APGD), `square` (scores only).
All share `rows`.
"""

from doubleback.attacks.autoencoder import latent_attack, output_attack, untargeted_attack
from doubleback.attacks.classifier import Adversarial, apgd, fgsm, pgd, random_noise
from doubleback.attacks.engine import minimize
from doubleback.attacks.square import square
from doubleback.attacks.sweep import Attack, coefficient_sweep

__all__ = [
    "Adversarial",
    "Attack",
    "apgd",
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
