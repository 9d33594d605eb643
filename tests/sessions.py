"""Whole documents, as a reader goes through them: commands and programs, from top to bottom.

All blocks of a document run in one shell, so that what one exports the next one has.
The comments above them are told in tests/snippets.py.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.snippets import Snippet, snippets

#: Documents whose commands and programs belong together.
FOLLOWED = (
    "README.md",
    "docs/how-to/mend-dead-letters.md",
    "docs/how-to/move-from-encore.md",
    "docs/how-to/serve-a-store.md",
    "docs/how-to/share-work.md",
    "docs/how-to/stores-from-a-shell.md",
    "docs/how-to/test-with-real-servers.md",
    "docs/tutorial/first-steps.md",
)

#: Of these languages is what readers run.
RUN = ("sh", "console", "python")

#: Seconds for a document, and for what the background shall print.
TIMEOUT_S = 160
PATIENCE_S = 30

#: What is another one at each run: a time, and a version of a key.
_CHANGING = re.compile(r"(?:(?:\d{4}-\d\d-\d\d )?\d\d:\d\d:\d\d(?:\.\d+)?|\d+-\d+-[0-9a-f]{16})")

#: What comes before the first block.  Each job of the background is a group of processes,
#: which ends with the shell.
_PREAMBLE = """
set -euo pipefail -m
trap 'for job in $(jobs -p); do kill -TERM -- "-$job" 2>/dev/null || :; done; wait' EXIT
await() {
    for _ in $(seq PATIENCE); do
        grep -qE -e "$1" "$SESSION"/*.background && return
        sleep 0.1
    done
    echo "the background has not printed $1:" "$(cat "$SESSION"/*.background)" >&2
    return 1
}
""".replace("PATIENCE", str(PATIENCE_S * 10))


def script(document: str, *, before: str = "", replaced: Mapping[str, str] | None = None) -> str:
    """Return what a shell has to do to go through *document*.

    Args:
        document: its path from the root.
        before: what the shell does first.
        replaced: in all blocks: names of the servers of a reader, say.
    """
    parts = [_PREAMBLE, before]
    for number, snippet in enumerate(snippets(document, *RUN)):
        if "not run" not in snippet.notes:
            parts.append(_step(snippet, number, replaced or {}))
    return "\n".join(parts)


def run(
    script: str, folder: Path, environment: Mapping[str, str], *, timeout_s: float = TIMEOUT_S
) -> str:
    """Run a script of ``script()`` in *folder*; return what was printed, block by block.

    Raises:
        AssertionError: a command failed or complained, or the background kept silent.
    """
    session = folder / "session"
    session.mkdir()
    shell = subprocess.Popen(
        ["bash", "-c", script],
        cwd=folder,
        env={**environment, "SESSION": str(session)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with shell:
        try:
            printed, complaints = shell.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            shell.terminate()  # it ends what it has in the background
            printed, complaints = shell.communicate(timeout=10)
    assert 0 == shell.returncode, f"{printed[-3000:]}\n{complaints[-3000:]}"
    assert not re.search(r"Traceback|Warning|Error\b", complaints), complaints[-3000:]
    return printed


def missing(document: str, printed: str) -> list[str]:
    """Return what a document says that its commands print, and they have not."""
    outputs = dict(re.findall(r"^@@ (\d+)\n(.*?)(?=^@@ |\Z)", printed, re.M | re.S))
    found = []
    for number, snippet in enumerate(snippets(document, *RUN)):
        if "not run" in snippet.notes or "in the background" in snippet.notes:
            continue
        output = outputs[str(number)]
        for expected in _expected(snippet):
            if not re.search(expected, output, re.M):
                found.append(f"{snippet}: no {expected!r} in {output!r}")
    return found


def _step(snippet: Snippet, number: int, replaced: Mapping[str, str]) -> str:
    """Return what the shell does for one block."""
    code = snippet.whole
    if snippet.language == "console":
        typed = re.findall(r"^\$ (.*(?:\\\n.*)*)", snippet.code, re.M)
        code = "\n".join([snippet.notes.get("first", ""), *typed])
    for usual, here in replaced.items():
        code = code.replace(usual, here)
    if snippet.language == "python":
        code = f"{sys.executable} -W error - <<'END_OF_PROGRAM'\n{code}\nEND_OF_PROGRAM"
    lines = [f"printf '\\n@@ {number}\\n'"]
    if "in the background" in snippet.notes:
        lines.append(f'( {code.strip()}\n) >"$SESSION/{number}.background" 2>&1 &')
        lines.append(_await(snippet.notes["in the background"]))
    else:
        lines.append(code)
    if "then the background prints" in snippet.notes:
        lines.append(_await(snippet.notes["then the background prints"]))
    return "\n".join(lines)


def _await(pattern: str) -> str:
    quoted = pattern.replace("'", "'\\''")
    return f"await '{quoted}'"


def _expected(snippet: Snippet) -> list[str]:
    """Return patterns of what a block prints."""
    patterns = [snippet.notes["prints"]] if "prints" in snippet.notes else []
    if snippet.language == "console":
        shown = re.sub(r"^\$ .*(?:\\\n.*)*", "", snippet.code, flags=re.M).splitlines()
        patterns += [_pattern(line) for line in shown if line.strip(" …")]
    return patterns


def _pattern(line: str) -> str:
    """Return a pattern of a line of output: with any time and version, and anything for ``…``."""
    pattern, place = "^", 0
    for found in _CHANGING.finditer(line):
        pattern += _fixed(line[place : found.start()]) + _CHANGING.pattern
        place = found.end()
    return pattern + _fixed(line[place:].rstrip())


def _fixed(text: str) -> str:
    return re.escape(text).replace("…", ".*")
