"""What the pages made from the code share: Markdown tables, and blocks of a page that are filled in."""

import re
from collections.abc import Iterable, Mapping, Sequence

NOTE = "<!-- Made by `make docs` from {source}; changes here are lost. -->\n"
BLOCK = re.compile(r"(<!-- table: ([\w-]+) -->\n).*?(<!-- end -->\n)", re.DOTALL)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; a bar in a cell is no border."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)


def code(text: str) -> str:
    """Text as it is, empty for nothing."""
    return f"`{text}`" if text else ""


def paragraph(text: str | None) -> str:
    """A docstring's text, its lines joined; paragraphs stay apart."""
    return "\n\n".join(" ".join(part.split()) for part in (text or "").split("\n\n")).strip()


def filled(page: str, tables: Mapping[str, str]) -> str:
    """The page with every marked block made anew.

    Raises:
        KeyError: a block asks for a table that nobody makes.
    """
    return BLOCK.sub(lambda block: block[1] + tables[block[2]] + block[3], page)
