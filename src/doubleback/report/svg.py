"""A drawing as inline SVG that takes the page's font and colours, so that it can be read in light and in dark.

matplotlib knows no CSS. So everything is drawn in stand-in colours. In the SVG's text `currentColor` and the page's
variables `--run-0`, `--run-1`, ... then replace them.
"""

import io
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import matplotlib
from markupsafe import Markup, escape
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.text import Text

from doubleback.terminal import plain

SERIES = 6  # colours on the page; more runs start over
INK = "#0a0b0c"
_STAND_INS = {INK: "currentColor"} | {f"#0a0b{i:02x}": f"var(--run-{i - 16})" for i in range(16, 16 + SERIES)}
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "doubleback",
    "text.usetex": False,
    "text.parse_math": False,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "font.size": 10,
}


@dataclass(frozen=True)
class Panel:
    """A figure on the page: its title, a few words, the drawing."""

    title: str
    note: str
    svg: Markup


def colour(place: int) -> str:
    """The colour that the run or model of this place is drawn in."""
    return f"#0a0b{16 + place % SERIES:02x}"


def shorten(name: str, width: int = 22) -> str:
    """A name for a figure: at most `width` characters."""
    return name if len(name) <= width else name[: width - 1] + "\u2026"


@contextmanager
def drawing_as(style: dict[Any, Any]) -> Iterator[None]:
    """Draw with matplotlib's own defaults and this style. A matplotlibrc in some folder then changes nothing."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(style)
        yield


def spell_out(figure: Figure) -> None:
    """Spell out what does not print in a figure's words. Fonts have no control characters, and fail at half a surrogate
    pair."""
    for text in figure.findobj(Text):
        text.set_text("\n".join(map(plain, text.get_text().split("\n"))))


def draw_svg(
    draw: Callable[[Axes], None], key: str, label: str, size: tuple[float, float], *, bleed: bool = False
) -> Markup:
    """Draw, and return an `<svg>` without a size of its own.

    Args:
        draw: called with the axes.
        key: the prefix of its ids, so that they are unique on the page; any text.
        label: what it shows, for those who cannot see it.
        size: inches; ten points of text are as high as in any other drawing of this width.
        bleed: the axes fill the drawing from edge to edge, without room for labels.
    """
    text = io.StringIO()
    with drawing_as(_STYLE), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # the page's font may have a glyph that matplotlib's lacks
        figure = Figure(figsize=size, layout=None if bleed else "constrained")
        FigureCanvasSVG(figure)
        figure.patch.set_visible(False)
        axes = figure.add_axes((0, 0, 1, 1)) if bleed else figure.add_subplot()
        axes.patch.set_visible(False)
        axes.grid(color=INK, alpha=0.12, lw=0.6)
        axes.tick_params(which="both", left=False, bottom=False)
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.spines["bottom"].set_alpha(0.4)
        draw(axes)
        spell_out(figure)
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    return Markup(_inline(text.getvalue(), _identifier(key), label))


def _inline(svg: str, key: str, label: str) -> str:
    box = re.search(r'viewBox="([^"]*)"', svg)
    assert box is not None
    body = svg[svg.index("<defs>", box.end()) :]
    body = re.sub(r"<style.*?</style>", "", body, flags=re.S)
    body = re.sub(r"font-family: [^;\"]*;? ?", "", body)
    body = re.sub(r' (d|transform|x|y|width|height)="[^"]*"', _rounded, body)
    body = re.sub(r'\bid="|(?<=url\()#|\bxlink:href="#', lambda mark: _prefixed(mark[0], key), body)
    for stand_in, colour in _STAND_INS.items():
        body = body.replace(stand_in, colour)
    return f'<svg viewBox="{box[1]}" role="img" aria-label="{escape(label)}">{body}'


def _identifier(key: str) -> str:
    """The key. Signs that an id or a reference to it cannot hold are spelt out.

    >>> _identifier("curves-l2 (wide)")
    'curves-l2_20__28_wide_29_'
    """
    return re.sub(r"[^\w-]", lambda sign: f"_{ord(sign[0]):x}_", key)


def _rounded(attribute: re.Match[str]) -> str:
    return re.sub(r"(\.\d\d)\d+", r"\1", attribute[0])


def _prefixed(mark: str, key: str) -> str:
    return {'id="': f'id="{key}-', "#": f"#{key}-"}.get(mark, f'href="#{key}-')
