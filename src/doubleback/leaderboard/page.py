"""The leaderboard as one HTML page that needs no network, and as Markdown."""

from collections.abc import Sequence
from pathlib import Path

from doubleback.errors import InputError
from doubleback.files import write_text
from doubleback.leaderboard.ranking import Entry, Table, tables
from doubleback.leaderboard.reading import read_audits
from doubleback.report.cells import Cell, in_markdown
from doubleback.report.page import refuse_others
from doubleback.report.templates import templates

MARK = "<!-- doubleback leaderboard -->"
_EXPLAINED = (
    "Each table is one protocol: the same images, the same pairs, the same attacks with the same settings. Figures of "
    "two tables cannot be compared. In brackets stands the 95\u00a0% interval over pairs. The worst case (AUDDC) "
    "says how hard a model is to steer: higher is better. Damage says how far its reconstruction can be moved: lower "
    "is better. Read both beside the reconstruction: a model that reconstructs badly can look robust. What a check has "
    "flagged is not to be trusted: it is struck through and has no rank."
)


def write_leaderboard(
    folders: Sequence[Path], output: Path, markdown: Path | None = None, command: str | None = None
) -> Path:
    """Rank all audits in these folders, and write the page.

    Args:
        folders: those that hold audits, themselves or anywhere below.
        output: the HTML file.
        markdown: a file for the same tables in Markdown; None: none is written.
        command: the command line that asked for it, for the page's foot.

    Returns:
        The page.

    Raises:
        InputError: no audit is found, a file is damaged, or a page cannot be written or is somebody else's.
    """
    for path, ends in ((output, (".html", ".htm")), (markdown, (".md",))):
        if path is not None and path.suffix.lower() not in ends:
            raise InputError(f"{path} is not the name of such a file; end it in {ends[0]}")
    refuse_others(output)
    if markdown is not None:
        refuse_others(markdown, MARK.encode())
    found = tables(read_audits(folders))
    write_text(output, as_html(found, command))
    if markdown is not None:
        write_text(markdown, as_markdown(found))
    return output


def as_html(found: Sequence[Table], command: str | None = None) -> str:
    """The page, as text."""
    return (
        templates("leaderboard")
        .get_template("leaderboard.html")
        .render(
            tables=found,
            models=sum(len(one.entries) for one in found),
            data=list(dict.fromkeys(one.images for one in found)),
            threats=list(dict.fromkeys(one.label for one in found)),
            explained=_EXPLAINED,
            command=command,
        )
    )


def as_markdown(found: Sequence[Table]) -> str:
    """The tables in Markdown, with every name made harmless."""
    lines = [
        MARK,
        "# Leaderboard",
        "",
        f"{_EXPLAINED} ≈: it cannot be told apart from the one above, pair by pair.",
        "",
    ]
    for table in found:
        lines += [f"## {in_markdown(table.images)}: {in_markdown(table.label)}", ""]
        lines += [in_markdown(f"{table.threat} {table.search}. Ranked by {table.ranked_by}."), ""]
        lines += ["| | model | made | worst case | damage | reconstruction, L2 |", "|---:|---|---|---:|---:|---:|"]
        lines += [_line(one) for one in table.entries]
        lines.append("")
        lines += [f"- {in_markdown(one.name)}: {in_markdown(says)}" for one in table.entries for says in one.flags]
        lines += [""] if any(one.flags for one in table.entries) else []
    return "\n".join(lines).rstrip() + "\n"


def _line(one: Entry) -> str:
    name = in_markdown(one.name)
    made = f"{one.made} ({in_markdown(one.how)})" if one.how else one.made
    words = [name, made, *map(_figure, (one.worst, one.damage, one.reconstruction))]
    if one.flags:
        words = [f"~~{word}~~" for word in words]
    words[0] += f" ({one.pairs})" if one.pairs else ""
    return f"| {'≈ ' if one.note else ''}{one.place or ''} | {' | '.join(words)} |"


def _figure(cell: Cell) -> str:
    return f"{cell.text} {cell.interval}".strip()
