"""Untrusted text made harmless: every cell, header and file name passes here on its way to a terminal or a page."""

import unicodedata

HARMFUL = frozenset({"Cc", "Cf", "Cs", "Cn", "Co", "Zl", "Zp"})
MARKS = frozenset({"Mn", "Me", "Mc"})


def sanitize(value: object, limit: int = 200) -> str:
    """A string that cannot move the cursor, change colours, reorder text or grow without bound.

    Controls, format characters, surrogates, private and unassigned code points become visible escapes; at
    most three combining marks follow a character; longer text is cut.
    """
    out: list[str] = []
    marks = 0
    for char in str(value)[: 4 * limit]:
        category = unicodedata.category(char)
        marks = marks + 1 if category in MARKS else 0
        if category in HARMFUL:
            out.append(_escaped(char))
        elif marks <= 3:
            out.append(char)
    text = "".join(out)
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _escaped(char: str) -> str:
    code = ord(char)
    if 0xDC80 <= code <= 0xDCFF:  # a byte that was no UTF-8, as os.fsdecode keeps it
        return f"\\x{code - 0xDC00:02x}"
    if code < 0x100:
        return {"\n": "\\n", "\t": "\\t", "\r": "\\r"}.get(char, f"\\x{code:02x}")
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
