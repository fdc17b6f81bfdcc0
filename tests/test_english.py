"""Plain English: words that make a reader stop get better ones, and sentences are short.

It reads the pages, and the docstrings, comments, help texts and error lines of src; not code, tables or written blocks.
"""

import ast
import inspect
import io
import re
import tokenize
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCE = sorted((ROOT / "src").rglob("*.py"))
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]
GUIDES = {
    "README.md",
    "CONTRIBUTING.md",
    "docs/index.md",
    "docs/get-started.md",
    "docs/concepts.md",
    "docs/hardening.md",
}
INDENTED = r"(?<=\n\n)(?: {4}[^\n]*\n+)+"  # code or an equation
COMMANDS = r"\A(?: *doubleback [^\n]*(?:\n|\Z)){2,}\Z"  # command lines and nothing else
LONGEST, SHORT = 35, 28  # words, up to a stop, a colon or a semicolon; elsewhere, and in a guide

BETTER = {
    r"\bhang(?:s|ing)? on\b": "depend on",
    r"\b(?:is|are) seen to\b|\bsees? to it\b": "say who does it: `X checks that ...`",
    r"\b(?:wherefore|thereof|whereof|whereby|therein|nought|lest|anew|albeit)\b": "so, nothing, in case, again",
    r"\bof before\b|\bdearest\b": "earlier; slowest, most expensive",
    r"\bserv(?:e|es|ed)\b": "work best, suit, be enough",
    r"\bat hand\b": "available",
    r"\bbites?\b": "work, have an effect",
    r"\bthe like\b": "name them, or `similar ones`",
    r"\bmay not let\b": "does not allow",
    r"\bin (?:the )?place of\b": "instead of",
    r"\bby which\b|^Of which\b": "two sentences, or `whose`, `with which`, `how much`",
    r"\b(?:is|are|be|was|were|not|nothing|so|it|as) said\b": "give, leave out, set, state",
    r"\bfor want of\b": "because ... is missing",
    r"\basked for again\b|\bgone on with\b": "run again, continued",
    r"\b(?:be|not|is|are) had\b": "be reached, be measured, exist",
    r"(?<!there )\b(?:is|are) none\b(?! of)": "there is none, not one of",
    r"\bof one's own\b|\bof somebody's own\b": "your own",
    r"\ball but\b(?! `)": "almost, all except",
    r"\bin turns\b": "alternately",
    r"(?<!there )(?<!There )\b(?:is|are) no (?!longer\b|more\b|better\b|worse\b|less\b|other\b)": "is not a",
    r"\ba line (?:says|asks|names|on stderr)\b": "a message",
    r"[.;] [Ee]lse\b": "otherwise",
    r"\bthe very\b|\bmend(?:s|ed|ing)?\b": "exactly the same; fix",
    r"\b(?:upon|aught|lay|lain)\b": "on, anything, was",
    r"^(?:What is not|Never (?:is|are|does)|Nothing (?:is|has) .* but)\b": "subject, verb, object",
}


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def blank(text: str, *patterns: str) -> str:
    """The text without what a pattern finds; its lines keep their numbers."""
    for pattern in patterns:
        text = re.sub(pattern, lambda found: "\n" * found[0].count("\n"), text, flags=re.MULTILINE | re.DOTALL)
    return text


def page(path: Path) -> Iterator[tuple[int, str]]:
    """The prose of a page, a line at a time."""
    written, code = r"^<!-- (?:from|frontier).*?<!-- end -->", r"^```.*?^```$"
    text = blank(path.read_text(encoding="utf-8"), written, code, INDENTED, r"^ *\|[^\n]*$")
    yield from enumerate(text.splitlines(), 1)


def source(path: Path) -> Iterator[tuple[int, str]]:
    """The comments and the texts of a module: docstrings, help, error lines; a line at a time, equations left out."""
    text = path.read_text(encoding="utf-8")
    last = 0  # the line of the last comment
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT and not re.match("# (?:type|noqa)", token.string):
            if token.start[0] != last + 1 or token.line[: token.start[1]].strip():
                yield token.start[0], ""
            last = token.start[0]
            yield last, token.string.lstrip("# ")
    nodes = list(ast.walk(ast.parse(text)))
    inside = {part for found in nodes if isinstance(found, ast.JoinedStr) for part in found.values}
    for found in nodes:
        if isinstance(found, ast.JoinedStr):
            words = "".join(str(part.value) if isinstance(part, ast.Constant) else "x" for part in found.values)
        elif isinstance(found, ast.Constant) and isinstance(found.value, str) and found not in inside:
            words = found.value
        else:
            continue
        if len(words.split()) >= 4 and re.search("[.,;:]", words):
            yield from enumerate(
                ["", *blank(inspect.cleandoc(words), COMMANDS, INDENTED, r"^ *>>>.*?$").splitlines(), ""],
                found.lineno - 1,
            )


def sentences(lines: Iterable[tuple[int, str]]) -> Iterator[tuple[int, str]]:
    """Each sentence with its first line; code is one word, a point of a list and an argument start a sentence."""
    begun, words = 0, ""
    for number, line in [*lines, (0, "")]:
        starts = not line.strip() or re.match(r"\s*(?:[-*#]+ |\d+\. |: |\w+(?:, \w+)*: )", line)
        plain = re.sub(r"`[^`]+`", "`1`", re.sub(r"\]\([^)]*\)", "]", line))
        for place, part in enumerate(re.split(r"(?<=[.!?:;]) +", plain)):
            if words and (starts or place or words[-1] in ".!?:;"):
                yield begun, words
                words = ""
            begun, words = (begun, f"{words} {part.strip()}") if words else (number, part.strip())


def stumbles(path: Path) -> list[str]:
    """Where a reader of this file would stop, and what to write."""
    found = []
    for number, sentence in sentences(page(path) if path.suffix == ".md" else source(path)):
        place = f"{name(path)}:{number}: "
        for pattern, better in BETTER.items():
            found += [f"{place}{words[0]!r}: better {better} ({sentence})" for words in re.finditer(pattern, sentence)]
        length, most = len(re.findall(r"[A-Za-z][\w'-]*", sentence)), SHORT if name(path) in GUIDES else LONGEST
        if length > most:
            found.append(f"{place}{length} words, at most {most}: make two sentences of it ({sentence})")
    return list(dict.fromkeys(found))


@pytest.mark.parametrize("path", [*PAGES, *SOURCE], ids=name)
def test_a_file_is_written_in_plain_english(path: Path) -> None:
    assert not (found := stumbles(path)), "\n".join(found)


def test_riddles_and_long_sentences_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    shown = tmp_path / "shown.md"
    shown.write_text("It works.\n\n```\nThe default hangs on it.\n```\n\nThe default\nhangs on `it`.\n\n| at hand |\n")
    assert [found.split(": ")[:2] for found in stumbles(shown)] == [["shown.md:7", "'hangs on'"]]
    module = tmp_path / "module.py"
    docstring = '"""Text.\n\n        x = what is said\n\n    Args:\n        x: is no number.\n    """\n'
    module.write_text(
        f"x = 1  # at hand\ndef f():\n    {docstring}    raise ValueError(f'{{x}} is no file; mend it')\n"
    )
    places = [found[len("module.py:") :].split(": ")[:2] for found in stumbles(module)]
    assert places == [["1", "'at hand'"], ["8", "'is no '"], ["10", "'is no '"], ["10", "'mend'"]]
    commands = "doubleback audit a; x hangs on b, so\n" * 2
    module.write_text(f'STEPS = """{commands}"""\nONE = """{commands}It is no step.\n"""\n')
    assert {found[len("module.py:") :].split(": ")[1] for found in stumbles(module)} == {"'hangs on'", "'is no '"}
    module.write_text(f'STEPS = """{commands}"""\n')
    assert stumbles(module) == []
    long = tmp_path / "long.md"
    long.write_text("word " * LONGEST + "word.\n\n" + "word; " * LONGEST)
    assert [found[: found.index("words")] for found in stumbles(long)] == ["long.md:1: 36 "]
