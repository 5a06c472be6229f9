"""The text around an error in a file, to be shown in a quarantine reason. Whoever prints it has to escape it."""

from typing import BinaryIO

MOST = 80
FAR = 64 << 20  # bytes that are searched for a line


def around(file: BinaryIO, line: int | None, offset: int | None) -> str:
    """Up to 80 characters of an open file around an offset, or of a line; empty where it cannot be found."""
    if offset is not None:
        return _text(file, max(offset - MOST // 2, 0))
    if line is None:
        return ""
    start = _start(file, line)
    return "" if start is None else _text(file, start).partition("\\n")[0]


def _start(file: BinaryIO, line: int) -> int | None:
    file.seek(0)
    at, number = 0, 1
    while number < line and at < FAR:
        chunk = file.readline(1 << 16)
        if not chunk or b"\r" in chunk.removesuffix(b"\r\n"):  # other line ends: the count would be wrong
            return None
        at += len(chunk)
        number += chunk.endswith(b"\n")
    return at if number == line else None


def _text(file: BinaryIO, at: int) -> str:
    file.seek(at)
    text = file.read(MOST).decode("utf-8", "backslashreplace")
    return text.encode("unicode_escape").decode("ascii")[:MOST]
