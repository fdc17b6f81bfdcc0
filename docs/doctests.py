"""An extension of griffe: the doctests of a docstring are shown as code, which Markdown would take for quotations."""

import re
from typing import Any

import griffe

DOCTEST = re.compile(r"(?:^[ \t]*>>> .*\n?(?:^[ \t]*\S.*\n?)*)+", re.MULTILINE)


class Doctests(griffe.Extension):
    """Fences around every doctest."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Mend the docstring of a function, a class or a module."""
        if obj.docstring is not None and ">>>" in obj.docstring.value:
            text = obj.docstring.value
            obj.docstring.value = DOCTEST.sub(lambda found: f"```pycon\n{found[0].rstrip()}\n```\n", text)
