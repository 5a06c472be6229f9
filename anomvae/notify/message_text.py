"""A delivery as a message: cells made harmless and short, for programs, chats and mail alike."""

from datetime import UTC, datetime

import msgspec

from anomvae.notify.cooldown import Step
from anomvae.records.folder import Kind, Manifest, Message, Quarantined, ToldRow
from anomvae.records.results import RowResult
from anomvae.report.sanitize import sanitize

ROWS = 5  # worst rows that are told
CELL = 200
# Chats make links, mentions and code of these, and call what a link names.
INERT = str.maketrans({"<": "‹", ">": "›", "@": "＠", "[": "(", "]": ")", "`": "'", "*": "∗"})


def found(fact: Manifest, folder: str, step: Step) -> Message:
    """A file that was found wanting."""
    result = fact.result
    counts = f"{result.critical:,} critical and {result.flagged:,} flagged of {result.scored:,} rows"
    rows = [f"drift: {inert(told)}" for told in drift_of(fact)]
    rows += [
        f"line {row.line}: {inert('; '.join(reason.text for reason in row.reasons))}" for row in result.worst[:ROWS]
    ]
    return _scored(fact, _message(fact, folder, step, "found", told=f"{counts}, verdict {result.verdict}", lines=rows))


def quarantined(fact: Quarantined, folder: str, step: Step) -> Message:
    """A file that was refused."""
    place = f"line {fact.line}: " if fact.line is not None else ""
    lines = [f"{place}{inert(fact.message)}", f"to judge it again: {inert(fact.retry)}"]
    message = _message(fact, folder, step, "quarantined", told=f"quarantined ({fact.reason_code})", lines=lines)
    return msgspec.structs.replace(message, reason_code=fact.reason_code)


def recovered(fact: Manifest, folder: str, step: Step) -> Message:
    """The first good file after trouble."""
    told = "recovered, this file is as it should be"
    return _scored(fact, _message(fact, folder, step, "recovered", told=told, lines=[]))


def as_json(message: Message) -> str:
    """A message as JSON that stays inert inside HTML, too."""
    text = msgspec.json.encode(message).decode()
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def inert(text: str) -> str:
    """Untrusted text as one line that a chat shows as it is."""
    return sanitize(text, CELL).translate(INERT).replace("://", ":∕∕")


def _message(
    fact: Manifest | Quarantined, folder: str, step: Step, kind: Kind, *, told: str, lines: list[str]
) -> Message:
    since = datetime.fromtimestamp(step.since, UTC).isoformat(timespec="seconds") if step.more else ""
    more = [f"{step.more:,} more file{'s' * (step.more > 1)} since {since}"] if step.more else []
    return Message(
        kind=kind,
        title=f"anomvae: {inert(fact.file)}: {told}",
        text="\n".join([*lines, *more, f"folder {inert(folder)}, delivery {fact.delivery_id[:12]}"]),
        folder=sanitize(folder, CELL),
        file=sanitize(fact.file, CELL),
        delivery_id=fact.delivery_id,
        model_id=fact.model_id,
        at=fact.committed_utc,
        verdict="failed",
        more=step.more,
        since=since,
    )


def _scored(fact: Manifest, message: Message) -> Message:
    """The message with the figures of a file that was scored."""
    result = fact.result
    return msgspec.structs.replace(
        message,
        verdict=result.verdict,
        rows=result.rows,
        scored=result.scored,
        rejected=result.rejected,
        flagged=result.flagged,
        critical=result.critical,
        drift=tuple(sanitize(told, CELL) for told in drift_of(fact)),
        worst=tuple(_row(row) for row in result.worst[:ROWS]),
    )


def drift_of(fact: Manifest) -> tuple[str, ...]:
    """How the rows of a drifted file differ from training."""
    return fact.result.drift.told if fact.result.drift else ()


def _row(row: RowResult) -> ToldRow:
    reasons = tuple(sanitize(reason.text, CELL) for reason in row.reasons)
    return ToldRow(line=row.line, severity=row.severity, critical=row.critical, reasons=reasons)
