"""The frontier as one HTML page: reconstruction against the worst case and against damage, and a sentence a budget."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes

from doubleback.files import write_text
from doubleback.folders import names_in, strange, within
from doubleback.frontier.contenders import CONTENDERS, Longer
from doubleback.frontier.row import PLAIN, Row, dominated, means
from doubleback.report.page import refuse_others
from doubleback.report.svg import INK, Panel, colour, draw_svg
from doubleback.report.templates import templates

PAGE = "frontier.html"
WORST, DAMAGE = "worst_case", "damage"
HIGHER = {WORST: True, DAMAGE: False}
_TITLES = {
    WORST: ("Worst-case AUDDC", "higher is harder to steer"),
    DAMAGE: ("Damage", "area over the distortion; lower is harder to break"),
}
_MARKERS = "osD^vPX*<>dph"


def write_page(folder: Path, rows: Sequence[Row], command: str) -> Path:
    """Write DIR/frontier.html.

    Args:
        folder: where it goes.
        rows: of one victim; the plain model's is among them.
        command: the line that asked for it.

    Raises:
        InputError: a page of somebody else stands there, or it cannot be written.
    """
    path = within(folder, PAGE)
    refuse_others(path)
    plain = next(row for row in rows if row.defence == PLAIN)
    measured = [row for row in rows if row.measured]
    text = (
        templates("frontier")
        .get_template("frontier.html")
        .render(
            sentences=sentences(rows),
            panels=[_panel(measured, plain, name) for name in HIGHER],
            table=[_line(row, plain, measured) for row in rows],
            abouts=[(name, one.about) for name, one in CONTENDERS.items()],
            pairs=len(plain.worst_case),
            command=command,
        )
    )
    write_text(path, text)
    return path


def refuse_strangers(folder: Path, names: Sequence[str]) -> None:
    """Refuse a folder that belongs to something else, before hours of work.

    Args:
        folder: where rows and page will go.
        names: of the rows' folders.

    Raises:
        InputError: it holds other things and no frontier, or a page of somebody else.
    """
    refuse_others(within(folder, PAGE))
    there = names_in(folder)
    if PLAIN not in there and there - {PAGE, *names}:
        raise strange(folder, "frontier")


def markdown(rows: Sequence[Row]) -> str:
    """The rows as a table for a page in Markdown."""
    plain = next(row for row in rows if row.defence == PLAIN)
    measured = [row for row in rows if row.measured]
    lines = [
        "| defence | budget | setting | L2 | worst-case AUDDC | damage | certified | on the front of | training, s |"
    ]
    lines.append("|---|---|---|---|---|---|---|---|---|")
    for said in (_line(row, plain, measured) for row in rows):
        figures = [said["defence"], said["within"], said["setting"]]
        if said["measured"]:
            figures += [f"{said['l2']} ({said['cost']})", f"{said['worst']} {said['gain']}".strip()]
            figures += [f"{said['damage']} {said['change']}".strip(), said["certified"], said["front"], said["seconds"]]
        lines.append("| " + " | ".join(figures + [""] * (9 - len(figures))) + " |")
    return "\n".join(lines)


def sentences(rows: Sequence[Row]) -> list[str]:
    """For each budget, the best defence, what it gains, and what it costs on test images."""
    plain = next(row for row in rows if row.defence == PLAIN)
    found = []
    for share in sorted({row.within for row in rows if row.within is not None}):
        inside = [row for row in rows if row.within == share and row.measured and bounded(row)]
        if not inside:
            found.append(f"Within {share:.0%} no defence was found.")
            continue
        steered, broken = (means([plain, *inside], name)[1:] for name in (WORST, DAMAGE))
        best, least = inside[steered.index(max(steered))], inside[broken.index(min(broken))]
        said = f"Within {share:.0%}, {_said(best, plain)} is the hardest to steer"
        also = best.defence == least.defence
        said += " and to break: " if also else ": "
        said += _changes(best, plain)
        if not also:
            said += f" {_said(least, plain).capitalize()} is the hardest to break: {_changes(least, plain)}"
        found.append(said)
    return found


def bounded(row: Row) -> bool:
    """Whether a budget bounds it: training without a penalty goes where it goes."""
    return row.within is not None and not isinstance(CONTENDERS.get(row.defence), Longer)


def _said(row: Row, plain: Row) -> str:
    return f"{row.defence} ({row.setting}; {row.cost(plain):+.1%} on test images)"


def _changes(row: Row, plain: Row) -> str:
    (worst, worst_now), (damage, damage_now) = (means([plain, row], name) for name in (WORST, DAMAGE))
    return (
        f"AUDDC {worst:.3f} becomes {worst_now:.3f} ({_gain(row, plain, WORST)}), "
        f"damage {damage:.2f} becomes {damage_now:.2f} ({_gain(row, plain, DAMAGE)})."
    )


def _gain(row: Row, plain: Row, name: str) -> str:
    mean, interval = row.gain(plain, name)
    return f"{mean:+.3f}" + (f" [{interval[0]:+.3f}, {interval[1]:+.3f}]" if interval else "")


def _line(row: Row, plain: Row, measured: Sequence[Row]) -> dict[str, Any]:
    """A row of the table, in words."""
    words: dict[str, Any] = {
        "defence": row.defence,
        "within": f"{row.within:.0%}" if bounded(row) else "",
        "setting": (row.setting or "nothing within the budget")
        + ("" if row.measured or not row.setting else ": no curve"),
        "measured": row.measured,
    }
    if not row.measured:
        return words
    front = [name for name, higher in HIGHER.items() if not dominated(row, measured, name, higher=higher)]
    return words | {
        "l2": f"{row.reconstruction_l2:.3f}",
        "cost": f"{row.cost(plain):+.1%}",
        "worst": f"{row.mean(WORST):.3f}",
        "gain": "" if row is plain else _gain(row, plain, WORST),
        "damage": f"{row.mean(DAMAGE):.2f}",
        "change": "" if row is plain else _gain(row, plain, DAMAGE),
        "certified": f"{row.mean('certified'):.3f}" if row.certified else "",
        "front": " and ".join({WORST: "steering", DAMAGE: "breaking"}[name] for name in front),
        "seconds": f"{row.seconds:.0f}" if row.seconds else "",
    }


def _panel(rows: Sequence[Row], plain: Row, name: str) -> Panel:
    title, note = _TITLES[name]
    return Panel(title, note, draw_svg(lambda axes: _draw(axes, rows, plain, name), name, f"{title} against the cost "
                                       "in reconstruction, a line for each defence", (7, 4.6)))  # fmt: skip


def _draw(axes: Axes, rows: Sequence[Row], plain: Row, name: str) -> None:
    """Cost on the way across, the figure on the way up; the rows that none dominates are joined."""
    kinds = list(dict.fromkeys(row.defence.partition(":")[0] for row in rows))
    for place, kind in enumerate(kinds):
        own = [row for row in rows if row.defence.partition(":")[0] == kind]
        x, y = [100 * row.cost(plain) for row in own], [row.mean(name) for row in own]
        bars = [row.interval(name) or (at, at) for row, at in zip(own, y, strict=True)]
        reach = [[at - low for at, (low, _) in zip(y, bars, strict=True)],
                 [high - at for at, (_, high) in zip(y, bars, strict=True)]]  # fmt: skip
        ink = INK if kind == PLAIN else colour(place - 1)
        axes.errorbar(x, y, yerr=reach, color=ink, marker=_MARKERS[place % len(_MARKERS)], ms=5, lw=0.8, elinewidth=0.5,
                      label=kind, alpha=0.9)  # fmt: skip
    front = sorted((row for row in rows if not dominated(row, rows, name, higher=HIGHER[name])),
                   key=lambda row: row.reconstruction_l2 or 0)  # fmt: skip
    axes.plot([100 * row.cost(plain) for row in front], [row.mean(name) for row in front], color=INK, lw=2, alpha=0.25,
              zorder=0)  # fmt: skip
    if max(100 * row.cost(plain) for row in rows) > 30:
        axes.set_xscale("symlog", linthresh=10)
    axes.set_xlabel("reconstruction L2 on test images, % above the plain model's")
    axes.set_ylabel(_TITLES[name][0])
    axes.legend(fontsize=8, ncols=2, frameon=False)
