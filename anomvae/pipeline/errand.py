"""What is asked of a worker, and what it answers: plain data, since it crosses a process's border as JSON."""

from typing import TypeVar

import msgspec

from anomvae.errors import DataError, EnvironmentFault, UnsyncedError
from anomvae.pipeline.deliver import ChangedError, Job, Scored
from anomvae.pipeline.piece import Part
from anomvae.results import FileResult
from anomvae.settings import ScoreSettings


class Original(msgspec.Struct, frozen=True):
    """An object of a place, such as s3://bucket/in, that was copied: what a machine fetches that has not the copy."""

    place: str
    name: str


class Delivery(msgspec.Struct, frozen=True, tag=True):
    """Score the file that comes along, or on another machine the one at `path`, into temporary files."""

    job: Job
    model: str
    model_id: str
    path: bytes
    original: Original | None = None


class File(msgspec.Struct, frozen=True, tag=True):
    """Score a file by its name, into the open output that comes along, if one does."""

    name: str
    target: str
    suffix: str
    settings: ScoreSettings
    model: str
    model_id: str


class Done(msgspec.Struct, frozen=True, tag=True):
    """The file was scored: what became of a delivery, of a file by its name, or of a stretch."""

    delivery: Scored | None = None
    file: FileResult | None = None
    part: Part | None = None


class Refused(msgspec.Struct, frozen=True, tag=True):
    """The file is no table of this schema."""

    code: str
    message: str
    line: int | None
    column: str | None
    offset: int | None


class Changed(msgspec.Struct, frozen=True, tag=True):
    """The file is no longer the one of the job."""


class ModelChanged(msgspec.Struct, frozen=True, tag=True):
    """The model's file does not hold the model of the task any more, or the place its object."""


class Fault(msgspec.Struct, frozen=True, tag=True):
    """The machine failed."""

    code: str
    message: str
    unsynced: bool


class Failed(msgspec.Struct, frozen=True, tag=True):
    """A bug, or no memory; or, said by the parent, that the worker died over the task."""

    message: str


Task = Delivery | File
Answer = Done | Refused | Changed | ModelChanged | Fault | Failed

T = TypeVar("T")


class ModelChangedError(Exception):
    """The task's model or object is not to be had any more; who has it can score the file."""


class FailedError(Exception):
    """The worker failed or died over the file; the message says how."""


def outcome(answer: Answer, kind: type[T]) -> T:
    """What an answer brings, to a task with outcomes of this kind.

    Raises:
        DataError: the file is refused.
        ChangedError: it is no longer the one of the job.
        ModelChangedError: the model is no longer the one of the task.
        FailedError: a bug, no memory, or the worker's death.
        EnvironmentFault: the machine failed.
    """
    match answer:
        case Done(delivery, file, part):
            found = delivery or file or part
            assert isinstance(found, kind)  # noqa: S101 (the worker answers each task in its own kind)
            return found
        case Refused(code, message, line, column, offset):
            raise DataError(code, message, line=line, column=column, offset=offset)
        case Fault(code, message, unsynced):
            fault = (UnsyncedError if unsynced else EnvironmentFault)(message)
            fault.code = code
            raise fault
        case Changed():
            raise ChangedError
        case ModelChanged():
            raise ModelChangedError
        case Failed(message):
            raise FailedError(message)
