"""Names of sets, files and recipes as they are written out: none can end a line or a cell, or say anything but itself."""

from __future__ import annotations

_MARKDOWN = {c: f"\\{c}" for c in "\\`*[]<>|"}
_LATEX = {**{c: f"\\{c}" for c in "&%$#_{}"}, "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
_LATEX |= {
    "\\": r"\textbackslash{}",
    "±": r"$\pm$",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "[": "{[}",
    "]": "{]}",
}


def line(text: str) -> str:
    """For a terminal or a log: what is no visible character (line ends, colours, marks that turn the reading order) as
    its code, `\\n`, `\\x1b`, `\\u202e`."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def lines(text: str) -> str:
    """`line` of every line."""
    return "\n".join(map(line, text.split("\n")))


def markdown(text: str) -> str:
    """For a cell or a sentence of markdown, HTML in it included."""
    return "".join(_MARKDOWN.get(c, c) for c in line(text))


def latex(text: str) -> str:
    return "".join(_LATEX.get(c, c) for c in line(text))


def csv(text: str) -> str:
    """For a cell of CSV, whose commas and quotes are the writer's: spreadsheets run what begins with one of `=+-@`."""
    text = line(text)
    return f"'{text}" if text[:1] in tuple("=+-@") and not _is_number(text) else text


def plot(text: str) -> str:
    """For a picture by matplotlib, which reads what stands between two `$` as a formula."""
    return line(text).replace("$", r"\$")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
