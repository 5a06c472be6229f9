"""What can go wrong, and the exit code that each kind owns.

AnomvaeError (70: a bug when it is raised bare)
├── UsageError        2   a flag, a configuration key, a combination that makes no sense
├── DataError         3   a file is unreadable or breaks the schema; carries a reason code and a place
├── ModelError        4   a model file is missing, corrupt, or of an unknown format
├── HeldError         75  another instance works on this folder
└── EnvironmentFault  74  the disk is full, an I/O error: nobody's data is to blame
    └── UnsyncedError     an fsync failed: what was written may be gone, the process must end

Messages are one line: what happened, where, what to do. Inner rooms raise the cause; the pipeline adds
the file with `DataError.within`; the command line prints.
"""

import errno
from typing import ClassVar, Self


class AnomvaeError(Exception):
    """Base of every error that anomvae raises on purpose."""

    exit_code: ClassVar[int] = 70
    code: str = "internal"


class UsageError(AnomvaeError):
    """A flag, a setting or a combination of them that cannot be carried out."""

    exit_code = 2
    code = "usage"


class DataError(AnomvaeError):
    """A table that cannot be read as what it claims to be.

    Args:
        code: reason code of the bad-input catalogue, such as `row_width`.
        message: what happened and what to do, without the file's name.
        file: the file as the user named it.
        line: physical line, 1-based, the header is 1.
        column: the column's name.
        offset: byte offset in the decoded or raw stream, where it helps.
    """

    exit_code = 3

    def __init__(
        self,
        code: str,
        message: str,
        *,
        file: str | None = None,
        line: int | None = None,
        column: str | None = None,
        offset: int | None = None,
    ) -> None:
        super().__init__(message)
        self.code, self.message = code, message
        self.file, self.line, self.column, self.offset = file, line, column, offset

    def within(self, file: str) -> Self:
        """Name the file that the error happened in, unless it is named already."""
        self.file = self.file or file
        return self

    def __str__(self) -> str:
        place = self.file or ""
        if self.line is not None:
            place += f":{self.line}" if place else f"line {self.line}"
        return f"{place}: {self.message} [{self.code}]" if place else f"{self.message} [{self.code}]"


class ModelError(AnomvaeError):
    """A model file that is missing, corrupt, unsafe or of a format this version does not know."""

    exit_code = 4
    code = "model"


class HeldError(AnomvaeError):
    """Another instance works on this input or output folder."""

    exit_code = 75
    code = "held"


class EnvironmentFault(AnomvaeError):  # noqa: N818 (a fault of the machine, not of the call)
    """The machine failed, not the data: disk full, I/O error, permission on our own files."""

    exit_code = 74
    code = "environment"

    @classmethod
    def of(cls, error: OSError, what: str) -> "EnvironmentFault":
        """A failed call to the system, as a fault whose `code` says which kind it is."""
        fault = cls(f"{what} ({error.strerror or error}).")
        fault.code = FAULTS.get(error.errno or 0, "environment")
        return fault


class UnsyncedError(EnvironmentFault):
    """An fsync failed. The kernel may have dropped the data and call it clean, so going on is not safe.

    See "Can Applications Recover from fsync Failures?", USENIX ATC 2020.
    """


FAULTS = {
    errno.ENOSPC: "disk_full",
    errno.EDQUOT: "disk_full",
    errno.EIO: "io_error",
    errno.EMFILE: "too_many_open_files",
    errno.ENFILE: "too_many_open_files",
    errno.ENOMEM: "out_of_memory",
    errno.EROFS: "read_only",
}

# Which code wins where several ended differently.
PRECEDENCE = (70, 74, 75, 4, 3, 1, 5, 0)


def worst(codes: list[int]) -> int:
    """The exit code of a run whose parts ended with `codes`."""
    return next((code for code in PRECEDENCE if code in codes), 0)
