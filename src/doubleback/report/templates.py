"""Where a page's template is read from: its own room first, then the report's, whose head and style all pages share."""

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined


def templates(*rooms: str) -> Environment:
    """Templates of these rooms, such as "frontier", and of the report; the texts in them are escaped.

    `head.html` begins a page and its style, and takes `page_title`. The page may add to the style, and must end it.
    """
    loaders = [PackageLoader(f"doubleback.{room}", "") for room in (*rooms, "report")]
    return Environment(
        loader=ChoiceLoader(loaders), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
