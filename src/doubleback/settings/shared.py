"""Settings that several commands have, declared once. Imports no torch."""

from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from doubleback.settings.headings import Heading

Victim = Annotated[
    Positional[Path],
    arg(
        metavar="VICTIM",
        help="The model: a run of `doubleback train` or `harden`; a folder of diffusers, transformers or pythae; "
        "hub:owner/name; a function of yours that returns it, as file.py:function; or a file of torch.export or "
        "TorchScript.",
    ),
]
Images = Annotated[
    str | None, arg(metavar="NAME|PATH", help_behavior_hint="(default: those of the run)"), Heading.IMAGES
]
Side = Annotated[
    int | None,
    arg(
        metavar="N",
        help="Crop and resize the images to this height and width. Only for a model that is not a run.",
        help_behavior_hint="(default: as they are)",
    ),
    Heading.IMAGES,
]
Goals = Annotated[
    tuple[str, ...] | None,
    arg(metavar="GOAL [GOAL ...]", help_behavior_hint="(default: latent output)"),
    Heading.GOALS,
]
Part = Annotated[
    Literal["test", "validation"],
    arg(help="Which images: test to report figures, validation to choose settings by."),
    Heading.IMAGES,
]
Code = Annotated[
    str | None,
    arg(
        metavar="FILE:FUNCTION",
        help="If you gave `classify` a function, give it again here. doubleback runs code only if you name it.",
        help_behavior_hint="(default: none)",
    ),
    Heading.OWN_MODEL,
]
