"""Who is told what, and how often: pure, a step a delivery.

Files that are wanting in the same way are one topic: a message for the first, then only counts until the cooldown is
over. The first good file after trouble is told as well, and closes all topics, so that trouble after it is told at
once; good news keep the cooldown, too.
"""

from collections.abc import Mapping

import msgspec

from anomvae.storage.outbox import Topic

GOOD = ""  # the topic of good news


class Step(msgspec.Struct, frozen=True):
    """What one delivery means: whether to tell it, how many `more` there were `since`, and the topics after it."""

    tell: bool
    topics: Mapping[str, Topic]
    more: int = 0
    since: float = 0.0


def trouble(topics: Mapping[str, Topic], name: str, now: float, cooldown: float) -> Step:
    """A file that is wanting.

    Args:
        topics: what people were told of lately.
        name: in which way it is wanting.
        now: Unix seconds.
        cooldown: seconds.
    """
    last = topics.get(name)
    if last is None:
        return Step(True, {**topics, name: Topic(now)})
    if 0 <= now - last.told < cooldown:
        return Step(False, {**topics, name: Topic(last.told, last.more + 1)})
    return Step(True, {**topics, name: Topic(now)}, last.more, last.told)


def good(topics: Mapping[str, Topic], now: float, cooldown: float) -> Step | None:
    """A good file; None where there was no trouble before it. Arguments as in `trouble`."""
    told = [topic for name, topic in topics.items() if name != GOOD]
    last = topics.get(GOOD)
    if not told or (last is not None and 0 <= now - last.told < cooldown):
        return None
    return Step(True, {GOOD: Topic(now)}, sum(topic.more for topic in told), min(topic.told for topic in told))
