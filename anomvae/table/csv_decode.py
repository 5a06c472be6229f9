"""From the bytes of a CSV file to its records: decompression, encodings, physical lines, and fields between quotes.

`TextSource` makes text of bytes, `PhysicalLines` makes lines of the text, `CsvRecords` makes records of the lines.
Memory is bounded: at most one record (8 MiB) and one read buffer are held. Reading is strict: a byte that is not valid
in the stated encoding ends the file with its line and offset; nothing is replaced or guessed.
"""

import codecs
import csv
import hashlib
import re
import sys
import zlib
from collections import deque
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from itertools import chain, islice
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from anomvae.errors import DataError, EnvironmentFault
from anomvae.records.sentences import TableWarning

CHUNK = 1 << 19  # bytes that are read at a time
MAX_RECORD = 8 << 20  # characters of one line or record
MAX_INFLATED = 1 << 40  # bytes of a decompressed file
MAX_FIELD = 1 << 20  # characters
MAX_COLUMNS = 10_000
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
BYTE_ORDER_MARKS = (  # the one of UTF-32 begins like the one of UTF-16, so it is compared first
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
COMMENTS = ("#", "//")
STRAY_MARK = TableWarning(code="stray_bom")


class ResumePoint(msgspec.Struct, frozen=True):
    """Where reading goes on in a file that has grown since it was last read.

    `size` and `lines` are the bytes and the physical lines of the part that was read; `digest` is the hashlib object
    that has taken these bytes; `counters` is the state of the counters behind it (`model.counters.CounterState`).
    """

    size: int
    lines: int
    digest: Any
    counters: dict[str, dict[str, tuple[float, int]]] = {}


class TextRecord(msgspec.Struct, frozen=True):
    """One record of a table: its fields, the physical line that it starts on, and why it is unreadable, if it is.

    `comment`: whether it is one line that begins as a comment does, with `#` or `//` outside of quotes.
    """

    fields: list[str]
    line: int
    error: DataError | None = None
    comment: bool = False


class TextSource:
    """The text of one input, which is read once: a path, or `-` for standard input.

    Args:
        name: the path, or `-`; a name that ends in `.gz` must be gzip-compressed.
        encoding: of text without a byte-order mark.
        file: the input, opened by the caller and left open; None to open `name`.
        resume: start after this part of `file`, which was read before.

    Attributes:
        warnings: what was noticed and tolerated.
        bom_encoding: the encoding that the file's byte-order mark names; None where it has no mark.
        ends_with_newline: whether the last byte read was a line feed.
    """

    def __init__(
        self, name: str, encoding: str = "utf-8", file: BinaryIO | None = None, resume: ResumePoint | None = None
    ) -> None:
        self.name, self.encoding = name, encoding
        self.warnings: list[TableWarning] = []
        self.bom_encoding: str | None = None
        self.ends_with_newline = False
        self._file, self._resume = file, resume
        self._digest = resume.digest.copy() if resume else hashlib.sha256()
        self._bytes_read = 0
        self._wide = False  # whether a character has two or four bytes (UTF-16, UTF-32), some of which are NUL

    @property
    def sha256(self) -> str:
        """Hash of the bytes read so far: of the whole file once `blocks` has ended."""
        return self._digest.hexdigest()

    def blocks(self) -> Iterator[str]:
        """The text in blocks of whole lines with their ends; CR, LF and CRLF end a line, nothing else does.

        Raises:
            DataError: the file is no text, is not in the stated encoding, or has a line of more than 8 MiB.
            EnvironmentFault: it could not be read to its end.
        """
        chunks = self._read() if self._resume else self._decompressed(self._read())
        return _whole_lines(self._decoded(self._checked(chunks)))

    def _read(self) -> Iterator[bytes]:
        try:
            with self._opened() as file:
                while chunk := file.read(CHUNK):
                    self._digest.update(chunk)
                    self._bytes_read += len(chunk)
                    yield chunk
        except OSError as error:
            raise EnvironmentFault(f"{self.name}: reading failed ({error.strerror}).") from error

    def _opened(self) -> AbstractContextManager[BinaryIO]:
        if self._file is None:
            return open_input(self.name)
        self._file.seek(self._resume.size if self._resume else 0)
        return nullcontext(self._file)

    def _decompressed(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        first = next(chunks, b"")
        zipped = first.startswith(GZIP)
        named = self.name.endswith(".gz")
        if zipped and not named and self.name != "-":
            raise DataError("compressed_input", "is gzip-compressed; name it .csv.gz")
        if named and not zipped:
            raise DataError("bad_gzip", "is named .gz but is not gzip-compressed")
        chunks = chain((first,), chunks)
        return self._gunzip(chunks) if zipped else chunks

    def _gunzip(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        total, ended, inflater = 0, False, zlib.decompressobj(31)
        try:
            for chunk in chunks:
                data = chunk
                while data:
                    if ended:
                        if not data.startswith(b"\x1f"):
                            raise DataError("bad_gzip", "has bytes after the end of its gzip data")
                        inflater, ended = zlib.decompressobj(31), False
                    out = inflater.decompress(data, CHUNK)
                    total += len(out)
                    if total > max(100 << 20, 200 * self._bytes_read) or total > MAX_INFLATED:
                        message = f"inflates to more than {total:,} bytes, over 200 times its size"
                        raise DataError("inflate_limit", message)
                    yield out
                    ended = inflater.eof
                    data = inflater.unused_data if ended else inflater.unconsumed_tail
        except zlib.error as error:
            raise DataError("bad_gzip", f"is damaged gzip data ({error})") from error
        if not ended:
            raise DataError("bad_gzip", "is cut off inside its gzip data")

    def _checked(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        """The same bytes without a final Ctrl-Z; refuses what is no text, and warns of a missing final line end."""
        first = next(chunks, b"")
        while len(first) < 4096 and (more := next(chunks, b"")):
            first += more
        if not first:
            raise DataError("empty_file", "is empty")
        if not self._resume:
            self._sniff(first)
        held = b""
        for chunk in chain((first,), chunks):
            if b"\0" * 16 in held[-16:] + chunk and not self._wide:
                raise DataError("nul_tail", "holds a block of NUL bytes: it was cut off or never fully written")
            yield held
            held = chunk
        self.ends_with_newline = held.endswith(b"\n")
        if held.endswith(b"\x1a") and not self._wide:
            held = held[:-1]
            self.warnings.append(TableWarning(code="ctrl_z"))
        if held and not held.rstrip(b"\0").endswith((b"\n", b"\r")):
            self.warnings.append(TableWarning(code="no_final_newline"))
        yield held

    def _sniff(self, first: bytes) -> None:
        """Refuse well-known formats that are no CSV, and note the encoding that a byte-order mark names."""
        for magic, what in MAGIC.items():
            if first.startswith(magic):
                raise DataError("not_csv", f"is {what}, not CSV")
        self.bom_encoding = next((name for mark, name in BYTE_ORDER_MARKS if first.startswith(mark)), None)
        self._wide = (self.bom_encoding or self.encoding).replace("_", "-").lower().startswith(("utf-16", "utf-32"))
        if not self._wide:
            _refuse_unmarked_wide(first)
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
        decoder = codecs.getincrementaldecoder(self.bom_encoding or self.encoding)("strict")
        line, offset = 1, 0
        for chunk in chain((start,), chunks):
            pending = len(decoder.getstate()[0])
            try:
                text = decoder.decode(chunk)
            except UnicodeDecodeError as error:
                raise self._undecodable(error, line, offset - pending) from error
            marked = "\ufeff" in (text if line > 1 else text[text.find("\n") + 1 :])
            if marked and STRAY_MARK not in self.warnings:
                self.warnings.append(STRAY_MARK)
            line += text.count("\n")
            offset += len(chunk)
            yield text
        try:
            yield decoder.decode(b"", final=True)
        except UnicodeDecodeError as error:
            raise self._undecodable(error, line, offset) from error

    def _undecodable(self, error: UnicodeDecodeError, line: int, offset: int) -> DataError:
        """The error of a byte that is not valid in the file's encoding.

        Args:
            error: of the decoder.
            line: on which the decoder's input starts.
            offset: of the decoder's input in the text, in bytes.
        """
        at = offset + error.start
        line += error.object[: error.start].count(b"\n")
        code = "encoding_unknown" if self._wide else "encoding_not_utf8"
        hint = " (perhaps --encoding cp1252 when fitting)" if self.encoding == "utf-8" and not self._wide else ""
        byte = error.object[error.start] if error.start < len(error.object) else 0
        message = f"byte 0x{byte:02x} at offset {at:,} is not {self.bom_encoding or self.encoding}{hint}"
        return DataError(code, message, line=line, offset=at)


class PhysicalLines(Iterator[str]):
    """The lines of blocks of whole lines, one by one; between two blocks, the next one can be taken as a whole.

    Args:
        blocks: text, each block of whole lines with their ends.

    Attributes:
        characters: in the blocks of which lines were taken one by one.
    """

    def __init__(self, blocks: Iterator[str]) -> None:
        self._blocks = blocks
        self._reversed: list[str] = []  # lines of the block in work, the last one first
        self._ahead: deque[str] = deque()  # blocks that were read and not taken
        self.characters = 0

    def __next__(self) -> str:
        """The next line with its end."""
        if not self._reversed:
            block = self._ahead.popleft() if self._ahead else next(self._blocks)
            self.characters += len(block)
            self._reversed = LINES(block)[::-1]
        return self._reversed.pop()

    def peek(self, most: int, characters: int) -> list[str]:
        """The next lines, which stay: at most so many, and no more once they have so many characters."""
        lines: list[str] = []
        while len(lines) < most and characters > 0 and (line := next(self, None)) is not None:
            lines.append(line)
            characters -= len(line)
        self._reversed += reversed(lines)
        return lines

    def take_block(self, reserve: int = 0) -> str | None:
        """The next block; None where lines of the block before it are left, and where too few lines follow.

        Args:
            reserve: so many lines must follow; of the last blocks, these are left.
        """
        if self._reversed:
            return None
        # The first lines of a block are counted, and those of most tables are enough.
        while not self._ahead or sum(x.count("\n", 0, 4096) or 1 for x in islice(self._ahead, 1, None)) < reserve:
            if (more := next(self._blocks, None)) is None:
                return self._take_head(reserve)
            self._ahead.append(more)
        return self._ahead.popleft()

    def _take_head(self, reserve: int) -> str | None:
        """All that is left but the last lines; None where there are no more than these."""
        text = "".join(self._ahead)
        end = len(text)
        for _ in range(reserve + 1 if text.endswith("\n") else reserve):
            end = text.rfind("\n", 0, max(end, 0))
        if end < 0 or not text:
            return None
        self._ahead = deque(filter(None, [text[end + 1 :]]))
        return text[: end + 1]

    def give_back(self, block: str) -> None:
        """Put back the block that was taken last, so that its lines are taken one by one."""
        self._ahead.appendleft(block)


class CsvRecords(Iterator[TextRecord]):
    """The records of a delimited text.

    Args:
        lines: physical lines with their ends.
        delimiter: one character.

    Raises:
        DataError: while reading, where the text can no longer be split into rows with certainty.
    """

    def __init__(self, lines: Iterator[str], delimiter: str) -> None:
        csv.field_size_limit(MAX_FIELD)
        self._record = _RecordLines()
        self._reader = csv.reader(_limited(lines, self._record), delimiter=delimiter, strict=True)

    @property
    def lines_read(self) -> int:
        """Physical lines taken so far."""
        return self._record.lines_read

    def skip(self, lines: int) -> None:
        """Count lines that were read without this reader."""
        self._record.lines_read += lines

    def __next__(self) -> TextRecord:
        """The next record that is not a blank line."""
        while True:
            self._record.lines, self._record.size = [], 0
            try:
                fields = next(self._reader)
            except csv.Error as error:
                return TextRecord([], self._record.start, self._row_error(str(error)), self._record.comment)
            if fields:
                has_nul = any("\0" in line for line in self._record.lines)
                nul_error = DataError("nul_byte", "holds a NUL byte", line=self._record.start) if has_nul else None
                comment = fields[0][:1] in ("#", "/") and self._record.comment
                return TextRecord(fields, self._record.start, nul_error, comment)

    def _row_error(self, csv_message: str) -> DataError:
        """Why the record in work is unreadable.

        Args:
            csv_message: of the csv module's error.

        Returns:
            The error of this record alone, where the next record begins for certain on the next line.

        Raises:
            DataError: the following rows may be out of step, so that the file as a whole is refused.
        """
        line = self._record.start
        if "unexpected end of data" in csv_message:
            raise DataError("unclosed_quote", "a quote is opened here and never closed", line=line)
        text = "".join(self._record.lines)
        if "field larger" in csv_message:
            error = DataError("field_too_long", "a field is longer than 1 MiB", line=line)
            in_step = '"' not in text
        else:
            error = DataError("bad_quoting", "text stands after a closing quote", line=line)
            in_step = len(self._record.lines) == 1 and text.count('"') % 2 == 0
        if not in_step:
            raise error
        return error


class _RecordLines:
    """The physical lines of the record in work; apart from `CsvRecords`, which would else hold itself in a cycle.

    Attributes:
        lines: those taken so far, with `size` characters.
        lines_read: physical lines of the text taken so far.
    """

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.size = 0
        self.lines_read = 0

    @property
    def start(self) -> int:
        """The line on which the record starts."""
        return self.lines_read - len(self.lines) + 1

    @property
    def comment(self) -> bool:
        """Whether the record is one line that begins as a comment does."""
        return len(self.lines) == 1 and self.lines[0].startswith(COMMENTS)


def _limited(lines: Iterator[str], record: _RecordLines) -> Iterator[str]:
    """The same lines, counted in `record`.

    Raises:
        DataError: the record has more than 8 MiB.
    """
    for line in lines:
        record.lines_read += 1
        record.lines.append(line)
        record.size += len(line)
        if record.size > MAX_RECORD:
            message = "a quote is opened here and not closed within 8 MiB"
            raise DataError("unclosed_quote", message, line=record.start)
        yield line


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


def _refuse_unmarked_wide(first: bytes) -> None:
    """Refuse UTF-16 and UTF-32 without a byte-order mark: every second byte, or three of four, are NUL."""
    share = first[:4096].count(0) / len(first[:4096])
    if share > 0.6 and not first.startswith(b"\0" * 16):
        raise DataError("encoding_unknown", "looks like UTF-32 without a byte-order mark")
    if 0.2 < share <= 0.6 and b"\0" * 16 not in first[:4096]:
        message = "looks like UTF-16 without a byte-order mark; save it as UTF-8 or fit with --encoding"
        raise DataError("encoding_utf16_no_bom", message)


def _whole_lines(chunks: Iterator[str]) -> Iterator[str]:
    """Blocks of whole lines from chunks of text.

    Raises:
        DataError: a line is longer than 8 MiB.
    """
    rest, number = "", 1
    for chunk in chunks:
        text = rest + chunk
        # A CR at the very end may belong to an LF in the next chunk.
        end = max(text.rfind("\n"), text.rfind("\r", 0, len(text) - 1 if text else 0)) + 1
        if end:
            yield text[:end]
            number += text.count("\n", 0, end) if "\r" not in text else len(LINES(text[:end]))
        rest = text[end:]
        if len(rest) > MAX_RECORD:
            raise DataError("record_too_long", "a line is longer than 8 MiB", line=number)
    if rest:
        yield rest
