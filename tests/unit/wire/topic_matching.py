"""What a topic exchange does, from the definition and not from our code."""

from __future__ import annotations

from functools import cache


def topic_matches(binding: str, key: str) -> bool:
    """Return whether a topic exchange gives messages with *key* to a queue bound with *binding*.

    Words are what stands between dots; ``*`` is exactly one word, ``#`` any
    number of words, none included (AMQP 0-9-1, section 3.1.3.3).
    """
    pattern, words = binding.split("."), key.split(".")

    @cache
    def matches(i: int, j: int) -> bool:
        if i == len(pattern):
            return j == len(words)
        if pattern[i] == "#":
            return matches(i + 1, j) or (j < len(words) and matches(i, j + 1))
        return j < len(words) and pattern[i] in ("*", words[j]) and matches(i + 1, j + 1)

    return matches(0, 0)
