"""The models of `benchmarks.zoo`, each under a name that a command takes: benchmarks.strangers:diffusers_vqmodel

    PYTHONPATH=. doubleback audit benchmarks.strangers:diffusers_vqmodel --weights FILE --data PATH --image-size 32

`NAMES` has them all, with the title of each in the zoo.
"""

import re
from collections.abc import Callable
from typing import Any

from benchmarks.zoo import KINDS

NAMES = {re.sub(r"\W+", "_", title).strip("_").lower(): title for title in KINDS}


def __getattr__(name: str) -> Callable[[], Any]:
    if name not in NAMES:
        raise AttributeError(name)
    return KINDS[NAMES[name]].make
