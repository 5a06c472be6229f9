"""What is sent to people and programs: one message about one delivery. Every cell in it is harmless text already."""

from typing import Literal

from anomvae.results import Record, Verdict

Kind = Literal["found", "quarantined", "recovered"]


class ToldRow(Record, frozen=True, kw_only=True):
    """One of the worst rows of a file, with its reasons in words."""

    line: int
    severity: float
    critical: bool
    reasons: tuple[str, ...]


class Message(Record, frozen=True, kw_only=True, tag_field="schema", tag="anomvae.message/1"):
    """A file that was found wanting, one that was refused, or the first good one after such.

    `title` and `text` say it in words; the rest is the same for programs. `drift` says how rows differ from training.
    `more` files of this kind were judged since `since` without a message of their own (the cooldown).
    """

    kind: Kind
    title: str
    text: str
    folder: str
    file: str
    delivery_id: str
    model_id: str
    at: str
    verdict: Verdict
    rows: int = 0
    scored: int = 0
    rejected: int = 0
    flagged: int = 0
    critical: int = 0
    reason_code: str = ""
    drift: tuple[str, ...] = ()
    worst: tuple[ToldRow, ...] = ()
    more: int = 0
    since: str = ""


RECORDS = (Message,)
