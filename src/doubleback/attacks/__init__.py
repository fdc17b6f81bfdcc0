"""Attacks: an engine that minimises row by row, and what to minimise.

On autoencoders an attack is a value (`attack`): a goal (`goals/`), a capability (`sweep`: a price on the distortion;
`budget`: a ball about the image) and what is known (`knowledge`). On classifiers: `classifiers/`. `engine` minimises in
the box, `projected` in a `ball` of radius eps by the gradient, `squares` by scores alone; `rows` is what all share.
"""

from doubleback.attacks.attack import Attack, Capability, attacks_of, latent_attack, output_attack, untargeted_attack
from doubleback.attacks.budget import Within
from doubleback.attacks.classifiers import Adversarial, apgd, fgsm, pgd, random_noise, square
from doubleback.attacks.engine import minimize
from doubleback.attacks.examples import Examples
from doubleback.attacks.goals import Canvas, Damage, Drift, Goal, Latent, Layers, Output, Own, Rate
from doubleback.attacks.knowledge import Gradient, Knowledge, Scores, Surrogate
from doubleback.attacks.sweep import coefficient_sweep

__all__ = [
    "Adversarial",
    "Attack",
    "Canvas",
    "Capability",
    "Damage",
    "Drift",
    "Examples",
    "Goal",
    "Gradient",
    "Knowledge",
    "Latent",
    "Layers",
    "Output",
    "Own",
    "Rate",
    "Scores",
    "Surrogate",
    "Within",
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
