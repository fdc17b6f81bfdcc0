"""Under which heading the help shows a setting. Imports no torch."""

from collections.abc import Mapping
from enum import Enum
from typing import ClassVar


class Heading(Enum):
    """The groups of `doubleback COMMAND --help`, in their order. The value is what the page says.

    A class of settings names the heading of its fields as `HEADING`. A field of another heading carries that in its
    annotation.
    """

    START = "start here"
    OWN_MODEL = "a model that doubleback has not trained"
    GOALS = "attack"
    PAIRS = "pairs of images to attack"
    BUDGET = "an attacker with a budget"
    DEFENCES = "between the attacker and the model"
    IMAGES = "images"
    HARDENING = "hardening"
    MODEL = "model"
    TRAINING = "training"
    PENALTY = "penalty"
    LABELS = "labels"
    CLASSIFIER = "classifier"
    WALK = "the way from class to class"
    OUTPUT = "output"
    MACHINE = "machine"


class Command:
    """Base of the commands: how their help is laid out."""

    HEADING: ClassVar = Heading.OUTPUT
    FIRST: ClassVar[tuple[str, ...]] = ()
    """The settings that a beginner needs, beside those that have no default."""
    DEFAULTS: ClassVar[Mapping[str, str]] = {}
    """What the help says of a default that differs from command to command, by the name of the field."""
    REFUSED: ClassVar[tuple[str, ...]] = ()
    """Settings that only other commands can use: the help leaves them out, and so does the Tab key."""
