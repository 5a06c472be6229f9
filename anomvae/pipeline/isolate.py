"""A file that has been there when the scorer died is scored in a child process, with limits.

The child's death is evidence against the file; the parent's never is, since operators and power cuts kill parents.
The child runs the same line over the same open file and writes to the same temporary names; its parent commits.
"""

import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from typing import BinaryIO

import msgspec

from anomvae.errors import DataError, EnvironmentFault
from anomvae.pipeline.deliver import ChangedError, Job, Scored, work

ADDRESS_SPACE = 4 << 30
SECONDS = 120.0  # to which a second for every megabyte is added
POLL = 0.05
FAULT, CHANGED, REPLACED = 74, 75, 76  # exit codes of the child that are no evidence


class Errand(msgspec.Struct, frozen=True):
    """What the child is told: the job, the model, and the descriptor of the open file."""

    job: Job
    model: str
    model_id: str
    descriptor: int


class Refused(msgspec.Struct, frozen=True, tag=True):
    """The file is no table of this schema."""

    code: str
    message: str
    line: int | None
    column: str | None
    offset: int | None


class Told(msgspec.Struct, frozen=True, tag=True):
    """The file was scored."""

    scored: Scored


class DiedError(Exception):
    """The child died over the file; the message says how."""


def isolated(file: BinaryIO, job: Job, model: str, model_id: str, tick: Callable[[], None]) -> Scored:
    """Score an open file in a child process.

    Raises:
        DataError: the file is refused.
        ChangedError: the file, or the model, is no longer the one of the job.
        DiedError: the child died, or ran out of memory or time.
        EnvironmentFault: the child could not be started, or met a fault of the machine.
    """
    os.set_inheritable(file.fileno(), True)
    errand = msgspec.json.encode(Errand(job, model, model_id, file.fileno()))
    command = [sys.executable, "-m", "anomvae.pipeline.isolate"]
    pipe = subprocess.PIPE
    try:
        child = subprocess.Popen(
            command, stdin=pipe, stdout=pipe, stderr=pipe, pass_fds=(file.fileno(),), start_new_session=True
        )
    except OSError as error:
        raise EnvironmentFault.of(error, "a child process could not be started") from error
    try:
        answer, said = _ask(child, errand, os.fstat(file.fileno()).st_size, tick)
    finally:
        if child.poll() is None:
            child.kill()
        child.wait()
    return _result(child.returncode, answer, said)


def _ask(child: "subprocess.Popen[bytes]", errand: bytes, size: int, tick: Callable[[], None]) -> tuple[bytes, bytes]:
    """Hand over the errand and wait for the answer, and for what was said of a failure."""
    started, allowed = time.monotonic(), SECONDS + size / 1e6
    rest: bytes | None = errand
    while time.monotonic() - started < allowed:
        try:
            return child.communicate(rest, timeout=POLL)
        except subprocess.TimeoutExpired:
            rest = None
            tick()
    raise DiedError(f"took more than {allowed:.0f} s")


def _result(code: int, answer: bytes, said: bytes) -> Scored:
    if code == FAULT:
        raise EnvironmentFault("a child process met a fault of the machine.")
    if code in (CHANGED, REPLACED):
        raise ChangedError
    if code:
        last = said.decode("utf-8", "replace").strip().rpartition("\n")[2]
        raise DiedError(f"signal {-code}" if code < 0 else f"exit code {code}: {last}")
    try:
        told = msgspec.json.decode(answer, type=Told | Refused)
    except msgspec.DecodeError as error:
        raise DiedError("gave no answer") from error
    if isinstance(told, Refused):
        raise DataError(told.code, told.message, line=told.line, column=told.column, offset=told.offset)
    return told.scored


def main() -> int:
    """The child: an errand on stdin, an answer on stdout."""
    from anomvae.storage import model_file

    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    errand = msgspec.json.decode(sys.stdin.buffer.read(), type=Errand)
    detector = model_file.load(errand.model, generator=False)
    if detector.model_id != errand.model_id:
        return REPLACED
    try:
        with os.fdopen(errand.descriptor, "rb") as file:
            answer: Told | Refused = Told(work(file, errand.job, detector, lambda: None))
    except DataError as error:
        answer = Refused(error.code, error.message, error.line, error.column, error.offset)
    except ChangedError:
        return CHANGED
    except EnvironmentFault:
        return FAULT
    sys.stdout.buffer.write(msgspec.json.encode(answer))
    return 0


if __name__ == "__main__":
    sys.exit(main())
