"""How a page's template is read: its own room first, then the report's, whose head and style every page shares."""

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined


def templates(*rooms: str) -> Environment:
    """Templates of these rooms, such as "frontier", and of the report; what they show is escaped.

    `head.html` begins a page up to its style, which the page may go on with; it takes `page_title`.
    """
    loaders = [PackageLoader(f"doubleback.{room}", "") for room in (*rooms, "report")]
    return Environment(
        loader=ChoiceLoader(loaders), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
