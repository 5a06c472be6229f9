"""The text of messages about processed files.

Cells, names and error texts come from files that anybody may have written. They are shortened, and changed so that
chats, mail programs and web pages show them as text and make no links, mentions or markup of them.
"""

from datetime import UTC, datetime

import msgspec

from anomvae.notify.cooldown import Step
from anomvae.records.folder import Kind, Manifest, Message, Quarantined, ToldRow
from anomvae.records.sentences import rejection_sentences
from anomvae.report.sanitize import sanitize

MOST_ROWS = 5  # worst rows that a message names
LONGEST = 200  # characters of one text
# Characters of which chats make links, mentions and code, with harmless ones that look alike.
INERT = str.maketrans({"<": "‹", ">": "›", "@": "＠", "[": "(", "]": ")", "`": "'", "*": "∗"})


def found(fact: Manifest, folder: str, step: Step) -> Message:
    """The message about a file with flagged rows or a verdict that calls for attention.

    Args:
        fact: the manifest of the file.
        folder: the input folder, as the user named it.
        step: what the cooldown has made of it.
    """
    result = fact.result
    counts = f"{result.critical:,} critical and {result.flagged:,} flagged of {result.scored:,} rows"
    rows = [inert(text) for text in rejection_sentences(result.why)]
    rows += [f"drift: {inert(text)}" for text in _drift(fact)]
    rows += [
        f"line {row.line}: {inert('; '.join(reason.text for reason in row.reasons))}"
        for row in result.worst[:MOST_ROWS]
    ]
    return _scored(
        fact, _message(fact, folder, step, "found", headline=f"{counts}, verdict {result.verdict}", lines=rows)
    )


def quarantined(fact: Quarantined, folder: str, step: Step) -> Message:
    """The message about a file that was put in quarantine. Arguments as for `found`."""
    location = f"line {fact.line}: " if fact.line is not None else ""
    lines = [f"{location}{inert(fact.message)}", f"to judge it again: {inert(fact.retry)}"]
    message = _message(fact, folder, step, "quarantined", headline=f"quarantined ({fact.reason_code})", lines=lines)
    return msgspec.structs.replace(message, reason_code=fact.reason_code)


def recovered(fact: Manifest, folder: str, step: Step) -> Message:
    """The message about the first good file after trouble. Arguments as for `found`."""
    headline = "recovered, this file is as it should be"
    return _scored(fact, _message(fact, folder, step, "recovered", headline=headline, lines=[]))


def as_json(message: Message) -> str:
    """A message as JSON that does no harm where it is pasted into HTML, either."""
    text = msgspec.json.encode(message).decode()
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def inert(text: str) -> str:
    """Untrusted text as one line that a chat shows as it is."""
    return sanitize(text, LONGEST).translate(INERT).replace("://", ":∕∕")


def _message(
    fact: Manifest | Quarantined, folder: str, step: Step, kind: Kind, *, headline: str, lines: list[str]
) -> Message:
    """A message without the figures of a scored file."""
    since = datetime.fromtimestamp(step.since, UTC).isoformat(timespec="seconds") if step.more else ""
    more = [f"{step.more:,} more file{'s' * (step.more > 1)} since {since}"] if step.more else []
    return Message(
        kind=kind,
        title=f"anomvae: {inert(fact.file)}: {headline}",
        text="\n".join([*lines, *more, f"folder {inert(folder)}, delivery {fact.delivery_id[:12]}"]),
        folder=sanitize(folder, LONGEST),
        file=sanitize(fact.file, LONGEST),
        delivery_id=fact.delivery_id,
        model_id=fact.model_id,
        at=fact.committed_utc,
        verdict="failed",
        more=step.more,
        since=since,
    )


def _scored(fact: Manifest, message: Message) -> Message:
    """A message with the figures of a scored file added."""
    result = fact.result
    return msgspec.structs.replace(
        message,
        verdict=result.verdict,
        rows=result.rows,
        scored=result.scored,
        rejected=result.rejected,
        flagged=result.flagged,
        critical=result.critical,
        drift=tuple(sanitize(text, LONGEST) for text in _drift(fact)),
        worst=tuple(
            ToldRow(
                line=row.line,
                severity=row.severity,
                critical=row.critical,
                reasons=tuple(sanitize(reason.text, LONGEST) for reason in row.reasons),
            )
            for row in result.worst[:MOST_ROWS]
        ),
    )


def _drift(fact: Manifest) -> tuple[str, ...]:
    """How the rows of a drifted file differ from training, one sentence for each change."""
    return fact.result.drift.told if fact.result.drift else ()
