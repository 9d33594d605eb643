"""Topics of notifications: ``<event id>.<origin>``, and how subscribers ask for them."""

from __future__ import annotations

from antiphon.errors import InvalidTopic, MissingOrigin

#: The number of a kind of event, or one word.
EventId = int | str

#: What a publisher has for an origin until somebody says one.
UNKNOWN = "unknown"

#: Bytes of UTF-8 in a topic, which is an AMQP short string.
MAX_TOPIC_BYTES = 255


def checked_id(event_id: object) -> EventId:
    """Return *event_id* in the one form that is kept: a number, also for text of digits.

    Raises:
        InvalidTopic: it cannot be one word of a topic.
    """
    if isinstance(event_id, int) and not isinstance(event_id, bool):
        return int(event_id)
    if not isinstance(event_id, str) or not event_id or set(event_id) & set(".*#"):
        raise InvalidTopic(
            f"an event id is a number, or one word without '.', '*' and '#', not {event_id!r}"
        )
    return int(event_id) if event_id.isdecimal() and str(int(event_id)) == event_id else event_id


def topic_of(event_id: EventId, origin: object) -> str:
    """Return the topic of an event.

    Args:
        event_id: of its kind.
        origin: one or several words with dots between them.

    Raises:
        MissingOrigin: *origin* is none, or ``"unknown"``.
        InvalidTopic: a word of it is empty, or a wildcard, or it is too long.
    """
    if origin is None or origin == "" or origin == UNKNOWN:
        raise MissingOrigin(
            f"event {event_id} has no origin (it is {origin!r}): give one to the publisher, to "
            "create_event() or to publish_event(); subscribers ask by it"
        )
    words = origin.split(".") if isinstance(origin, str) else [""]
    if not all(words) or {"*", "#"} & set(words):
        raise InvalidTopic(
            f"the origin of event {event_id} is {origin!r}; an origin is words with dots between "
            "them, of which none is empty, '*' or '#'"
        )
    topic = f"{event_id}.{origin}"
    _check_length(topic)
    return topic


def binding_key(event_id: object = None, origin: str | None = None) -> str:
    """Return the pattern of the topics that a subscriber hears.

    Args:
        event_id: None, or ``"*"``, for every kind.
        origin: words, of which ``*`` stands for any one, and ``#`` for any number;
            None for every origin.

    Raises:
        InvalidTopic: it makes no pattern.
    """
    kind = "*" if event_id is None or event_id == "*" else checked_id(event_id)
    return checked_pattern(f"{kind}.{'#' if origin is None else origin}")


def checked_pattern(pattern: str) -> str:
    """Return *pattern*; raise ``InvalidTopic`` if it is none, or matches nothing."""
    if not isinstance(pattern, str) or not all(pattern.split(".")):
        raise InvalidTopic(
            f"a binding key is words with dots between them, of which none is empty, not "
            f"{pattern!r}; '*' stands for one word, '#' for any number"
        )
    _check_length(pattern)
    return pattern


def _check_length(topic: str) -> None:
    size = len(topic.encode("utf-8", "surrogatepass"))
    if size > MAX_TOPIC_BYTES:
        raise InvalidTopic(
            f"the topic {topic[:60]!r}… has {size} bytes; {MAX_TOPIC_BYTES} are allowed: give a "
            "shorter origin"
        )
