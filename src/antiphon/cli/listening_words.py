"""Topic patterns of bindings, in the words of those who listen."""

from __future__ import annotations

from antiphon.wire.routing import ANY_CLASS, ROOT_NAME, unescape_word

#: Shown for listeners of everything.
ALL = "all events"


def in_words(exchange: str | None, pattern: str) -> str | None:
    """Return what a binding asks for, as ``Class from origin``.

    Args:
        exchange: None for the system's own; another one has patterns of its own.
        pattern: the topic pattern.

    Returns:
        None for a binding that only helps another one: events whose key was too
        long for their classes.
    """
    if exchange is not None:
        return f"{pattern} on {exchange}"
    words = pattern.split(".")
    if words[0] == ANY_CLASS:
        return None
    start = next((i for i, word in enumerate(words) if word[:1] in ("@", "+")), len(words))
    classes = [word for word in words[:start] if word != "#"]
    name = _plain(classes[-1]) if classes else ROOT_NAME
    what = ALL if name == ROOT_NAME else name.removeprefix("antiphon:")
    if start == len(words):
        return what
    rest = words[start:]
    is_prefix = rest[-1] in ("#", "*")
    origin = ".".join(_plain(word[1:]) for word in rest if word not in ("#", "*"))
    return f"{what} from {origin}{'.*' if is_prefix else ''}"


def all_in_words(bindings: tuple[tuple[str | None, str], ...]) -> list[str]:
    """Return what several bindings ask for, each once, in order."""
    return sorted({text for one in bindings if (text := in_words(*one)) is not None})


def _plain(word: str) -> str:
    try:
        return unescape_word(word)
    except ValueError:
        return word
