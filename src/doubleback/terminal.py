"""Text from elsewhere, made fit to be printed: no stranger's escape sequence, and a line stays a line."""

from unicodedata import category


def plain(text: object) -> str:
    r"""The text with everything that does not print spelt out: control characters, line ends, halves of surrogates.

    >>> plain("\x1b[31mred\nblue caf\u00e9")
    '\\x1b[31mred\\nblue café'
    """
    return "".join(one if one.isprintable() or category(one) == "Zs" else _spelt(one) for one in str(text))


def _spelt(one: str) -> str:
    return one.encode("unicode_escape").decode("ascii")
