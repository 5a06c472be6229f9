"""The outbox: messages that are to be sent, in the ledger's own database, so that each is as official as its delivery.

A message leaves the outbox when its outlet has taken it. A process that dies before that sends it again, under the same
key, by which the receiver can drop duplicates (a transactional outbox with delivery at least once). Topics remember
what messages were sent about lately, which decides whether the next file causes one.
"""

from collections.abc import Mapping, Sequence

import msgspec

from anomvae.folder.database import Database
from anomvae.records.folder import Messages


class OutboxMessage(msgspec.Struct, frozen=True):
    """One message for one outlet. `key` is the same however often it is sent."""

    outlet: str
    key: str
    body: str
    message_id: int = 0


class Topic(msgspec.Struct, frozen=True):
    """When a message about something was last sent, in Unix seconds, and how many more files there were since."""

    sent: float
    more: int = 0


class OutboxUpdate(msgspec.Struct, frozen=True):
    """What one delivery changes in the outbox.

    Attributes:
        at: when its messages may first be sent, in Unix seconds.
        messages: what is to be sent.
        topics: all topics as they are after it.
    """

    at: float
    messages: tuple[OutboxMessage, ...]
    topics: Mapping[str, Topic]


class Outbox:
    """The outbox of an open ledger.

    Args:
        db: the ledger's database.
    """

    def __init__(self, db: Database) -> None:
        self._db = db

    def add(self, update: OutboxUpdate) -> None:
        """Add the messages and topics of a delivery, inside the transaction that commits it."""
        row = "INSERT OR IGNORE INTO outbox(outlet, key, body, created, next_try) VALUES (?, ?, ?, ?, ?)"
        self._db.executemany(row, ((one.outlet, one.key, one.body, update.at, update.at) for one in update.messages))
        self._db.execute("DELETE FROM topic")
        topics = ((name, topic.sent, topic.more) for name, topic in update.topics.items())
        self._db.executemany("INSERT INTO topic VALUES (?, ?, ?)", topics)

    def topics(self) -> dict[str, Topic]:
        """The topics of the messages that were sent lately, by name."""
        return {name: Topic(sent, more) for name, sent, more in self._db.rows("SELECT name, told, more FROM topic")}

    def due(self, outlet: str, now: float, most: int) -> list[OutboxMessage]:
        """Messages that are due to be sent.

        Args:
            outlet: the name of the outlet that takes them.
            now: Unix seconds.
            most: how many at most.

        Returns:
            Those first that have been due for longest.
        """
        where = "WHERE outlet = ? AND given_up IS NULL AND next_try <= ? ORDER BY next_try, letter_id LIMIT ?"
        rows = self._db.rows(f"SELECT outlet, key, body, letter_id FROM outbox {where}", (outlet, now, most))
        return [OutboxMessage(*row) for row in rows]

    def sent(self, messages: Sequence[OutboxMessage]) -> None:
        """Remove messages that their outlets have taken."""
        if messages:
            with self._db.transaction():
                ids = ((message.message_id,) for message in messages)
                self._db.executemany("DELETE FROM outbox WHERE letter_id = ?", ids)

    def failed(
        self, message: OutboxMessage, error: str, *, next_try: float | None = None, given_up: float | None = None
    ) -> None:
        """Note that a message could not be sent: either when to try again, or when it was given up for good.

        Args:
            message: the message.
            error: what went wrong.
            next_try: Unix seconds.
            given_up: Unix seconds.
        """
        change = """UPDATE outbox SET attempts = attempts + 1, error = ?, next_try = coalesce(?, next_try), given_up = ?
            WHERE letter_id = ?"""
        with self._db.transaction():
            self._db.execute(change, (error, next_try, given_up, message.message_id))

    def give_up_old(self, before: float, now: float) -> int:
        """Give up what has been waiting since before a time; returns how many those are."""
        return self._give_up("created < ?", (before,), "too old", now)

    def give_up_unconfigured(self, outlets: tuple[str, ...], now: float) -> int:
        """Give up messages to outlets that are not configured any more; returns how many those are."""
        marks = ", ".join("?" * len(outlets))
        return self._give_up(f"outlet NOT IN ({marks})", outlets, "not configured any more", now)

    def _give_up(self, which: str, values: tuple[float | str, ...], why: str, now: float) -> int:
        query = f"SELECT count(*) FROM outbox WHERE given_up IS NULL AND {which}"
        count = int(self._db.rows(query, values)[0][0])
        if count:
            change = f"UPDATE outbox SET error = outlet || ': ' || ?, given_up = ? WHERE given_up IS NULL AND {which}"
            with self._db.transaction():
                self._db.execute(change, (why, now, *values))
        return count

    def forget(self, before: float) -> None:
        """Remove what was given up before a time, in Unix seconds."""
        if self._db.rows("SELECT 1 FROM outbox WHERE given_up < ? LIMIT 1", (before,)):
            with self._db.transaction():
                self._db.execute("DELETE FROM outbox WHERE given_up < ?", (before,))

    def messages(self) -> Messages:
        """How many messages wait and how many were given up; none in a ledger from before there was an outbox."""
        if not self._db.rows("SELECT 1 FROM sqlite_master WHERE name = 'outbox'"):
            return Messages()
        counts = "count(*) FILTER (WHERE given_up IS NULL), count(given_up)"
        waiting, given_up = self._db.rows(f"SELECT {counts} FROM outbox")[0]
        newest = "SELECT error FROM outbox WHERE error <> '' ORDER BY coalesce(given_up, next_try) DESC LIMIT 1"
        errors = self._db.rows(newest) if waiting or given_up else []
        return Messages(waiting=waiting, given_up=given_up, error=errors[0][0] if errors else "")
