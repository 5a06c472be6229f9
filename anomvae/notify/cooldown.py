"""Which processed files cause a message: pure functions from what was sent lately to what is sent now.

Files with the same kind of trouble share a topic. The first of them causes a message; those that follow within the
cooldown are only counted. The first good file after trouble causes a message as well and closes all topics, so that new
trouble is reported at once. Messages about good files keep the cooldown, too.
"""

from collections.abc import Mapping

import msgspec

from anomvae.folder.outbox import Topic

GOOD = ""  # the topic of messages about good files


class Step(msgspec.Struct, frozen=True):
    """What one processed file leads to.

    Attributes:
        send: whether a message is sent.
        topics: the topics afterwards.
        more: files of this topic that were only counted since its last message.
        since: when that message was sent, in Unix seconds.
    """

    send: bool
    topics: Mapping[str, Topic]
    more: int = 0
    since: float = 0.0


def trouble(topics: Mapping[str, Topic], name: str, now: float, cooldown: float) -> Step:
    """The step for a file with trouble.

    Args:
        topics: the topics of the messages that were sent lately, by name.
        name: the topic of the file: its kind of trouble.
        now: Unix seconds.
        cooldown: seconds in which a topic causes one message only.

    Returns:
        Whether a message is sent, and the topics afterwards.
    """
    last = topics.get(name)
    if last is None:
        return Step(True, {**topics, name: Topic(now)})
    if 0 <= now - last.sent < cooldown:
        return Step(False, {**topics, name: Topic(last.sent, last.more + 1)})
    return Step(True, {**topics, name: Topic(now)}, last.more, last.sent)


def good(topics: Mapping[str, Topic], now: float, cooldown: float) -> Step | None:
    """The step for a good file.

    Args:
        topics: the topics of the messages that were sent lately, by name.
        now: Unix seconds.
        cooldown: seconds in which good files cause one message only.

    Returns:
        Whether a message is sent, and the topics afterwards; None where nothing is to be done.
    """
    troubles = [topic for name, topic in topics.items() if name != GOOD]
    last = topics.get(GOOD)
    if not troubles or (last is not None and 0 <= now - last.sent < cooldown):
        return None
    return Step(True, {GOOD: Topic(now)}, sum(topic.more for topic in troubles), min(topic.sent for topic in troubles))
