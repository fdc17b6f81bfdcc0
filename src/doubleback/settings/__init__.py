"""Settings: frozen dataclasses, checked as they are made, passed whole from the command line to where they are used.

Each setting is declared once, with its help. None stands for a setting that is left out. Imports no torch.
"""

from doubleback.settings.architecture import Architecture, Sizes
from doubleback.settings.ball import BallSearch
from doubleback.settings.checks import Settings
from doubleback.settings.hardening import Hardening
from doubleback.settings.images import Data
from doubleback.settings.labels import Labels
from doubleback.settings.loop import Loop
from doubleback.settings.mixture import Mixture
from doubleback.settings.penalty import Penalty
from doubleback.settings.robustness import Threats
from doubleback.settings.search import Auditing, Pairing, Price, Search
from doubleback.settings.threat import Budget, Threat
from doubleback.settings.training import Training
from doubleback.settings.transition import Walk
from doubleback.settings.victim import Range, Wrapping

__all__ = [
    "Architecture",
    "Auditing",
    "BallSearch",
    "Budget",
    "Data",
    "Hardening",
    "Labels",
    "Loop",
    "Mixture",
    "Pairing",
    "Penalty",
    "Price",
    "Range",
    "Search",
    "Settings",
    "Sizes",
    "Threat",
    "Threats",
    "Training",
    "Walk",
    "Wrapping",
]
