"""How large the counted repetitions of a pattern are, before it is compiled.

The library ``regex`` writes out what has to come so many times: ``a{1000000}`` takes
270 MB, and ``((a{1000}){1000}){1000}`` all there is, before any timeout begins.
"""

from __future__ import annotations

import math
import re

from antiphon.errors import InvalidSearch

#: Elements that a pattern may have when its repetitions are written out; 700 bytes each at most.
MAX_WRITTEN_OUT = 20_000

#: How often at least: ``{3}``, ``{3,}``, ``{3,5}``.
_COUNT = re.compile(r"\{([0-9]{1,20})(?:,[0-9]*)?\}")

#: Syntax after which a bracket, or a part of a class, may not be what it looks like.
_ODD = re.compile(r"\(\?#|\(\?[a-zA-Z0-9-]*[xV]|\[[:.=]")


def check_repeats(pattern: str) -> None:
    """Raise ``InvalidSearch`` if what *pattern* repeats is too large."""
    product = math.prod(max(1, int(count)) for count in _COUNT.findall(pattern))
    if len(pattern) * product <= MAX_WRITTEN_OUT:
        return
    if _ODD.search(pattern) or _written_out(pattern) > MAX_WRITTEN_OUT:
        raise InvalidSearch(
            f"match {pattern!r:.200} repeats too much: written out, its counted repetitions have"
            f" more than {MAX_WRITTEN_OUT} elements; write + or * for large counts"
        )


def _written_out(pattern: str) -> int:
    """Return how many elements there are; rather too many than too few."""
    # Of each group that is open: the elements before its last one, and the last one.
    groups = [[0, 0]]
    position = 0
    while position < len(pattern):
        character = pattern[position]
        group = groups[-1]
        if character == "{" and (found := _COUNT.match(pattern, position)):
            group[1] *= max(1, int(found[1]))
            position = found.end()
            continue
        if character == "(":
            groups.append([0, 0])
        elif character == ")" and len(groups) > 1:
            groups.pop()
            groups[-1] = [sum(groups[-1]), sum(group) + 1]
        elif character == ")":  # there is no such group: as if it were about all
            groups[-1] = [0, sum(group) + 1]
        else:
            groups[-1] = [sum(group), 1]
        position = _end_of_element(pattern, position)
    return sum(map(sum, groups))


def _end_of_element(pattern: str, position: int) -> int:
    if pattern[position] == "\\":
        return position + 2
    if pattern[position] == "[":
        # A bracket that comes first belongs to the class.
        begin = position + (2 if pattern.startswith("^", position + 1) else 1)
        end = begin + 1 if pattern.startswith("]", begin) else begin
        while end < len(pattern) and pattern[end] != "]":
            end += 2 if pattern[end] == "\\" else 1
        return end + 1
    return position + 1
