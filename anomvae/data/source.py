"""Bytes to physical lines of text: compression, encodings, and everything that is not a table.

Bounded: at most one physical line (8 MiB) and one read buffer are held. Strict: a byte that is not of the
stated encoding ends the file, with its line and offset; nothing is replaced or guessed.
"""

import codecs
import hashlib
import re
import sys
import zlib
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from anomvae.errors import DataError, EnvironmentFault

CHUNK = 1 << 19
MAX_RECORD = 8 << 20
MAX_INFLATED = 1 << 40
LINES = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+").findall
GZIP = b"\x1f\x8b"
MAGIC = {
    b"PK\x03\x04": "a zip or Excel file",
    b"PAR1": "a Parquet file (name it .parquet)",
    b"%PDF": "a PDF",
    b"\xd0\xcf\x11\xe0": "an old Excel file",
    b"\x89PNG": "an image",
    b"\x28\xb5\x2f\xfd": "zstd-compressed",
    b"BZh": "bzip2-compressed",
    b"\xfd7zXZ": "xz-compressed",
}
# The UTF-32 mark begins like the UTF-16 one, so it is asked first.
MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


class Base(msgspec.Struct, frozen=True):
    """Where a grown file goes on: bytes and physical lines before it, and the hash of those bytes so far."""

    size: int
    lines: int
    digest: Any


class Source:
    """One input, read once: a path, or `-` for standard input.

    Args:
        name: the path, or `-`; its ending tells of compression.
        encoding: of text without a byte-order mark.
        file: the input, opened by the caller and left open; None to open `name`.
        base: go on after this part of `file`, which was read before.

    Attributes:
        warnings: what was noticed and let pass.
        mark: the encoding that a byte-order mark tells, if there is one.
        sha256: of the bytes read so far; of the file once `blocks` has ended.
        ends_line: whether the last byte read was a line feed.
    """

    def __init__(
        self, name: str, encoding: str = "utf-8", file: BinaryIO | None = None, base: Base | None = None
    ) -> None:
        self.name, self.encoding = name, encoding
        self.warnings: list[str] = []
        self.mark: str | None = None
        self.ends_line = False
        self._file, self._base = file, base
        self._digest = base.digest.copy() if base else hashlib.sha256()
        self._raw = 0
        self._wide = False

    @property
    def sha256(self) -> str:
        """Hash of the bytes read."""
        return self._digest.hexdigest()

    def blocks(self) -> Iterator[str]:
        """Pieces of text that are whole lines with their ends; CR, LF and CRLF end a line, nothing else does."""
        chunks = self._bytes() if self._base else self._inflated(self._bytes())
        return _whole(self._decoded(self._checked(chunks)))

    def _bytes(self) -> Iterator[bytes]:
        try:
            with self._opened() as file:
                while chunk := file.read(CHUNK):
                    self._digest.update(chunk)
                    self._raw += len(chunk)
                    yield chunk
        except OSError as error:
            raise EnvironmentFault(f"{self.name}: reading failed ({error.strerror}).") from error

    def _opened(self) -> AbstractContextManager[BinaryIO]:
        if self._file is None:
            return open_input(self.name)
        self._file.seek(self._base.size if self._base else 0)
        return nullcontext(self._file)

    def _inflated(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        first = next(chunks, b"")
        zipped = first.startswith(GZIP)
        named = self.name.endswith(".gz")
        if zipped and not named and self.name != "-":
            raise DataError("compressed_input", "is gzip-compressed; name it .csv.gz")
        if named and not zipped:
            raise DataError("bad_gzip", "is named .gz but is not gzip-compressed")
        return self._gunzip(first, chunks) if zipped else _chain(first, chunks)

    def _gunzip(self, first: bytes, chunks: Iterator[bytes]) -> Iterator[bytes]:
        total, ended, inflater = 0, False, zlib.decompressobj(31)
        try:
            for chunk in _chain(first, chunks):
                data = chunk
                while data:
                    if ended:
                        if not data.startswith(b"\x1f"):
                            raise DataError("bad_gzip", "has bytes after the end of its gzip data")
                        inflater, ended = zlib.decompressobj(31), False
                    out = inflater.decompress(data, CHUNK)
                    total += len(out)
                    self._limit(total)
                    yield out
                    ended = inflater.eof
                    data = inflater.unused_data if ended else inflater.unconsumed_tail
        except zlib.error as error:
            raise DataError("bad_gzip", f"is damaged gzip data ({error})") from error
        if not ended:
            raise DataError("bad_gzip", "is cut off inside its gzip data")

    def _limit(self, total: int) -> None:
        if total > max(100 << 20, 200 * self._raw) or total > MAX_INFLATED:
            raise DataError("inflate_limit", f"inflates to more than {total:,} bytes, over 200 times its size")

    def _checked(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        """Refuse what is no text, drop a final Ctrl-Z, and tell of a missing final line end."""
        first = next(chunks, b"")
        while len(first) < 4096 and (more := next(chunks, b"")):
            first += more
        if not first:
            raise DataError("empty_file", "is empty")
        if not self._base:
            self._sniff(first)
        held = b""
        for chunk in _chain(first, chunks):
            if b"\0" * 16 in held[-16:] + chunk and not self._wide:
                raise DataError("nul_tail", "holds a block of NUL bytes: it was cut off or never fully written")
            yield held
            held = chunk
        self.ends_line = held.endswith(b"\n")
        if held.endswith(b"\x1a") and not self._wide:
            held = held[:-1]
            self.warnings.append("ctrl_z: a final Ctrl-Z was ignored")
        if held and not held.rstrip(b"\0").endswith((b"\n", b"\r")):
            self.warnings.append("no_final_newline: the last line has no line end; the file may be cut off")
        yield held

    def _sniff(self, first: bytes) -> None:
        for magic, what in MAGIC.items():
            if first.startswith(magic):
                raise DataError("not_csv", f"is {what}, not CSV")
        self.mark = next((name for mark, name in MARKS if first.startswith(mark)), None)
        self._wide = (self.mark or self.encoding).replace("_", "-").lower().startswith(("utf-16", "utf-32"))
        if not self._wide:
            _refuse_wide(first)
            start = first.lstrip(codecs.BOM_UTF8 + b" \t\r\n")[:200].lower()
            if start.startswith((b"<!doctype", b"<html", b"<?xml", b"<head", b"<body")):
                raise DataError("not_csv", "is an HTML or XML page, not CSV")
            if start.startswith((b"{", b"[{", b"[[")):
                raise DataError("not_csv", "looks like JSON, not CSV")

    def _decoded(self, chunks: Iterator[bytes]) -> Iterator[str]:
        start = next(chunks, b"")
        while not start:
            more = next(chunks, None)
            if more is None:
                return
            start = more
        decoder = codecs.getincrementaldecoder(self.mark or self.encoding)("strict")
        line, offset = 1, 0
        for chunk in _chain(start, chunks):
            pending = len(decoder.getstate()[0])
            try:
                text = decoder.decode(chunk)
            except UnicodeDecodeError as error:
                raise self._bad_bytes(error, line, offset - pending) from error
            if "\ufeff" in (text if line > 1 else text[text.find("\n") + 1 :]):
                self._warn_mark()
            line += text.count("\n")
            offset += len(chunk)
            yield text
        try:
            yield decoder.decode(b"", final=True)
        except UnicodeDecodeError as error:
            raise self._bad_bytes(error, line, offset) from error

    def _warn_mark(self) -> None:
        warning = "stray_bom: a byte-order mark stands inside the file and was kept as text"
        if warning not in self.warnings:
            self.warnings.append(warning)

    def _bad_bytes(self, error: UnicodeDecodeError, line: int, base: int) -> DataError:
        at = base + error.start
        line += error.object[: error.start].count(b"\n")
        code = "encoding_unknown" if self._wide else "encoding_not_utf8"
        hint = " (perhaps --encoding cp1252 when fitting)" if self.encoding == "utf-8" and not self._wide else ""
        byte = error.object[error.start] if error.start < len(error.object) else 0
        message = f"byte 0x{byte:02x} at offset {at:,} is not {self.mark or self.encoding}{hint}"
        return DataError(code, message, line=line, offset=at)


def open_input(name: str) -> BinaryIO:
    """Open a path or standard input for reading bytes.

    Raises:
        DataError: `unreadable`, where the path is missing, a folder, or not permitted.
    """
    if name == "-":
        return sys.stdin.buffer
    try:
        if not Path(name).is_file():
            raise FileNotFoundError(2, "no such file" if not Path(name).exists() else "not a regular file")
        return Path(name).open("rb")
    except OSError as error:
        raise DataError("unreadable", f"cannot be read ({error.strerror})") from error


def _refuse_wide(first: bytes) -> None:
    """UTF-16 and UTF-32 without a mark show as NULs in every second, or in three of four bytes."""
    share = first[:4096].count(0) / len(first[:4096])
    if share > 0.6 and not first.startswith(b"\0" * 16):
        raise DataError("encoding_unknown", "looks like UTF-32 without a byte-order mark")
    if 0.2 < share <= 0.6 and b"\0" * 16 not in first[:4096]:
        message = "looks like UTF-16 without a byte-order mark; save it as UTF-8 or fit with --encoding"
        raise DataError("encoding_utf16_no_bom", message)


def _chain(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from rest


def _whole(chunks: Iterator[str]) -> Iterator[str]:
    """Pieces of whole lines from pieces of text; a line of more than 8 MiB ends the file."""
    rest, number = "", 1
    for chunk in chunks:
        text = rest + chunk
        # A CR at the very end may belong to an LF in the next piece.
        end = max(text.rfind("\n"), text.rfind("\r", 0, len(text) - 1 if text else 0)) + 1
        if end:
            yield text[:end]
            number += text.count("\n", 0, end) if "\r" not in text else len(LINES(text[:end]))
        rest = text[end:]
        if len(rest) > MAX_RECORD:
            raise DataError("record_too_long", "a line is longer than 8 MiB", line=number)
    if rest:
        yield rest
