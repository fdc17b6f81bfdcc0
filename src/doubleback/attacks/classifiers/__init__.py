"""Attacks on classifiers: change an image by at most eps, and change what it is taken for.

`losses` says what is minimised, `attack` what every attack shares; `gradient` holds FGSM, PGD, APGD and random noise,
`scores` the search that asks for scores alone.
"""

from doubleback.attacks.classifiers.attack import Adversarial, ClassifierAttack
from doubleback.attacks.classifiers.gradient import apgd, fgsm, pgd, random_noise
from doubleback.attacks.classifiers.losses import Misclassification, margin, usable_losses
from doubleback.attacks.classifiers.scores import square

__all__ = [
    "Adversarial",
    "ClassifierAttack",
    "Misclassification",
    "apgd",
    "fgsm",
    "margin",
    "pgd",
    "random_noise",
    "square",
    "usable_losses",
]
