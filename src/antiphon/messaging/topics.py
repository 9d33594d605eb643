"""AMQP topic matching: which patterns match a routing key.

A key is words between dots; in a pattern ``*`` stands for one word and ``#``
for any number of words, none included.  The rules are RabbitMQ's (checked
against a real one): ``""`` has no words, ``"a..b"`` has an empty one.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from typing import Generic, TypeVar

Target = TypeVar("Target", bound=Hashable)

#: Routing keys whose targets are remembered; a program uses few distinct ones.
MAX_REMEMBERED = 4096


def split_words(key: str) -> list[str]:
    """Return the words of a routing key or pattern; none for the empty text."""
    return key.split(".") if key else []


class _Node(Generic[Target]):
    __slots__ = ("children", "targets")

    def __init__(self) -> None:
        self.children: dict[str, _Node[Target]] = {}
        self.targets: dict[Target, None] = {}


class TopicTable(Generic[Target]):
    """A set of (pattern, target) pairs; finds the targets of a key.

    Not thread-safe: its owner holds a lock.
    """

    def __init__(self) -> None:
        self._root: _Node[Target] = _Node()
        self._remembered: dict[str, tuple[Target, ...]] = {}

    def bind(self, pattern: str, target: Target) -> None:
        """Add a pair; adding it twice is adding it once."""
        node = self._root
        for word in split_words(pattern):
            node = node.children.setdefault(word, _Node())
        node.targets[target] = None
        self._remembered.clear()

    def unbind(self, pattern: str, target: Target) -> None:
        """Remove a pair; one that is not there is no error."""
        path = [self._root]
        words = split_words(pattern)
        for word in words:
            child = path[-1].children.get(word)
            if child is None:
                return
            path.append(child)
        path[-1].targets.pop(target, None)
        for parent, word, node in reversed(list(zip(path, words, path[1:], strict=False))):
            if not node.targets and not node.children:
                del parent.children[word]
        self._remembered.clear()

    def match(self, key: str) -> tuple[Target, ...]:
        """Return each target once that has a pattern which matches *key*."""
        found = self._remembered.get(key)
        if found is None:
            if len(self._remembered) >= MAX_REMEMBERED:
                self._remembered.clear()
            found = tuple(dict.fromkeys(self._search(split_words(key))))
            self._remembered[key] = found
        return found

    def _search(self, words: list[str]) -> Iterator[Target]:
        # Each (node, words eaten) is looked at once, so that patterns with many
        # '#' cost no more than nodes times words.
        seen: set[tuple[int, int]] = set()
        todo = [(self._root, 0)]
        while todo:
            node, eaten = todo.pop()
            if (id(node), eaten) in seen:
                continue
            seen.add((id(node), eaten))
            if eaten == len(words):
                yield from node.targets
            if (rest := node.children.get("#")) is not None:
                todo.extend((rest, upto) for upto in range(eaten, len(words) + 1))
            if eaten < len(words):
                word = words[eaten]
                todo.extend(
                    (child, eaten + 1)
                    for pattern in {word, "*"} - {"#"}
                    if (child := node.children.get(pattern)) is not None
                )


class TopicPattern:
    """One pattern, to be compared with keys; safe from any thread.

    Args:
        pattern: words, ``*`` and ``#``.
    """

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        self._table: TopicTable[bool] = TopicTable()
        self._table.bind(pattern, True)

    def matches(self, key: str) -> bool:
        """Return whether the pattern matches *key*."""
        # Not by match(), which remembers keys: that needs a lock, and memory a pattern.
        return any(self._table._search(split_words(key)))
