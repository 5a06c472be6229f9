"""The tasks of a worker and its answers. They are data, since they go to another process as JSON."""

from typing import Literal, TypeVar

import msgspec

from anomvae.config import ScoreSettings
from anomvae.errors import DataError, EnvironmentFault, UnsyncedError
from anomvae.scoring.batch import ScoredChunk
from anomvae.scoring.summary import FileSummary
from anomvae.workers.delivery import ChangedError, Job, Scored


class Original(msgspec.Struct, frozen=True):
    """The object of a store that a file was copied from, for machines without the copy.

    `place` is the folder in the store, such as s3://bucket/in; `name` the object's name in it.
    """

    place: str
    name: str


class Delivery(msgspec.Struct, frozen=True, tag=True):
    """Score a file of a watched folder into temporary files: the open file that is sent along, or the one at `path`."""

    job: Job
    model: str
    model_id: str
    path: bytes
    original: Original | None = None


class File(msgspec.Struct, frozen=True, tag=True):
    """Score a file given by its name, into the open output that is sent along, if one is."""

    name: str
    target: str
    suffix: str
    settings: ScoreSettings
    model: str
    model_id: str


class Done(msgspec.Struct, frozen=True, tag=True):
    """The task was carried out: the result of a delivery, of a file given by its name, or of a chunk of a long file."""

    delivery: Scored | None = None
    file: FileSummary | None = None
    chunk: ScoredChunk | None = None


class ModelChangedError(Exception):
    """The model file no longer holds the task's model, or the store the task's object; the parent still has it."""


class FailedError(Exception):
    """The worker failed over the task, or died; the message says how."""


class Failure(msgspec.Struct, frozen=True, tag=True):
    """Why a task was not carried out: an exception as data.

    Attributes:
        kind: `refused` (DataError), `changed` (ChangedError), `model_changed` (ModelChangedError), `fault`, `unsynced`
            (EnvironmentFault, UnsyncedError), or `failed` (a bug, no memory, or the worker's death).
        code, message: those of the error.
        line, column, offset: where in the file, of a refused one.
    """

    kind: Literal["refused", "changed", "model_changed", "fault", "unsynced", "failed"]
    code: str = ""
    message: str = ""
    line: int | None = None
    column: str | None = None
    offset: int | None = None

    @classmethod
    def of(cls, error: Exception) -> "Failure":
        """The failure that an exception stands for."""
        match error:
            case DataError():
                return cls("refused", error.code, error.message, error.line, error.column, error.offset)
            case EnvironmentFault():
                return cls("unsynced" if isinstance(error, UnsyncedError) else "fault", error.code, str(error))
            case ChangedError():
                return cls("changed")
            case ModelChangedError():
                return cls("model_changed")
            case FailedError():  # of a worker that was given a chunk of this task
                return cls("failed", message=str(error))
        return cls("failed", message=f"{type(error).__name__}: {error}")

    def error(self) -> Exception:
        """The exception that this failure stands for."""
        match self.kind:
            case "refused":
                return DataError(self.code, self.message, line=self.line, column=self.column, offset=self.offset)
            case "fault" | "unsynced":
                fault = UnsyncedError(self.message) if self.kind == "unsynced" else EnvironmentFault(self.message)
                fault.code = self.code
                return fault
            case "changed":
                return ChangedError()
            case "model_changed":
                return ModelChangedError()
            case "failed":
                return FailedError(self.message)


Task = Delivery | File
Answer = Done | Failure

T = TypeVar("T")


def outcome(answer: Answer, kind: type[T]) -> T:
    """The result that an answer brings.

    Args:
        answer: what a worker has answered.
        kind: the type of result that tasks of this kind have.

    Raises:
        DataError: the file is refused.
        ChangedError: it is no longer the file of the task.
        ModelChangedError: the model is no longer the one of the task.
        FailedError: a bug, no memory, or the worker's death.
        EnvironmentFault: the machine failed.
    """
    if isinstance(answer, Failure):
        raise answer.error()
    result = answer.delivery or answer.file or answer.chunk
    assert isinstance(result, kind)  # noqa: S101 (a worker answers each task in its own kind)
    return result
