"""Models of other people's libraries, known by what they look like: one file a library, none of which is imported here.

Each file has `parts_of(net, **further)`, which gives the `Parts` of a model of its library, or None. A new library is a
file and its name in `LIBRARIES`.
"""

import importlib
from inspect import signature
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from doubleback.models.victim import Parts

LIBRARIES = ("compressai", "diffusers", "exported", "pythae", "transformers")


def parts_of(net: Any, **further: Any) -> "Parts | None":
    """What is known of a model of one of the `LIBRARIES`; None of any other.

    Args:
        net: the model.
        further: settings of its library's file.

    Raises:
        InputError: such a model of its library cannot be attacked.
    """
    homes = {kind.__module__.partition(".")[0] for kind in type(net).__mro__}
    for library in LIBRARIES:
        known = importlib.import_module(f"{__name__}.{library}")
        if known.HOME not in homes or (further and not further.keys() <= signature(known.parts_of).parameters.keys()):
            continue
        if (parts := known.parts_of(net, **further)) is not None:
            return parts  # type: ignore[no-any-return]
    return None
