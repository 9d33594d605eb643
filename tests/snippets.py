"""The snippets of the documents, as tests find them.

A snippet is a fenced block with a language.  HTML comments right above it, which readers
do not see, tell a test what it needs to know besides:

    <!-- first: ... -->          what goes before a fragment, on lines of its own

and in documents that are gone through from top to bottom (tests/sessions.py)

    <!-- not run: why -->        it is left out
    <!-- prints: ... -->         its output has a match of this regular expression
    <!-- in the background: ... -->  it is started; the next one follows when this was printed
    <!-- then the background prints: ... -->  after it, something in the background prints this
"""

from __future__ import annotations

import re
import shlex
import textwrap
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

ROOT = Path(__file__).parents[1]

#: All documents that people read, by their paths from the root.
DOCUMENTS = sorted(
    path.relative_to(ROOT).as_posix()
    for path in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("**/*.md")]
)

_COMMENT = re.compile(r"<!--\s*([\w ]+?)\s*(?::\s?(.*?))?\s*-->\n", re.S)
_FENCED = re.compile(r"^( *)```([^`\n]*)\n(.*?)^\1```$", re.M | re.S)


@dataclass(frozen=True)
class Snippet:
    """A block of a document."""

    document: str
    line: int
    language: str
    code: str
    #: What the comments above it say, by their first words.
    notes: dict[str, str] = field(default_factory=dict)

    @property
    def whole(self) -> str:
        """The code, after what a comment has before it."""
        first = self.notes.get("first", "")
        return f"{first}\n{self.code}" if first else self.code

    def __str__(self) -> str:
        return f"{self.document}:{self.line}"


def snippets(document: str, *languages: str) -> list[Snippet]:
    """Return the snippets of *document*, of these *languages* or of all."""
    text = (ROOT / document).read_text()
    found = []
    for fenced in _FENCED.finditer(text):
        indent, language, code = fenced.groups()
        if languages and language not in languages:
            continue
        line = text.count("\n", 0, fenced.start()) + 1
        code = re.sub(f"^{indent}", "", code, flags=re.M)
        found.append(Snippet(document, line, language, code, _notes(text[: fenced.start()])))
    return found


def _notes(before: str) -> dict[str, str]:
    """Return what the comments at the end of *before* say."""
    notes = {}
    while (start := before.rfind("<!--")) >= 0:
        comment = _COMMENT.fullmatch(before[start:])
        if comment is None:
            break
        notes[comment[1]] = textwrap.dedent(comment[2] or "")
        before = before[:start].rstrip(" ")
    return notes


#: Programs to which a word "antiphon" is something else: a package, a user.
_OTHERS = {"pip", "rabbitmqctl", "curl", "sed"}


def commands(code: str) -> list[list[str]]:
    """Return the calls of ``antiphon`` in lines of a shell, their words as it would split them."""
    found = []
    for line in code.replace("\\\n", " ").splitlines():
        words = shlex.shlex(line.removeprefix("$ "), posix=True, punctuation_chars="|&;()<>")
        words.whitespace_split = True
        for simple in _simple_commands(list(words)):
            if "antiphon" in simple and not _OTHERS & set(simple):
                found.append(simple[simple.index("antiphon") + 1 :])
    return found


def _simple_commands(words: list[str]) -> list[list[str]]:
    """Split what a line runs where one command ends, without what goes to and from files."""
    parts: list[list[str]] = [[]]
    for before, word in pairwise(["", *words]):
        if word and set(word) <= set("|&;()"):
            parts.append([])
        elif word and set(word) <= set("<>&"):
            if before.isdigit():  # 2>file
                parts[-1].pop()
        elif not before or not set(before) <= set("<>&"):
            parts[-1].append(word)
    return parts
