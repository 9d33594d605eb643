"""The documents lead to each other, and to nothing that is not there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"

#: All documents that people read, by their paths from the root.
DOCUMENTS = sorted(
    path.relative_to(ROOT).as_posix()
    for path in [*ROOT.glob("*.md"), *DOCS.rglob("*.md"), *(ROOT / "benchmarks").rglob("*.md")]
)


def links(document: Path) -> list[str]:
    """Return where the links of *document* lead, but for those to other sites."""
    text = re.sub(r"^```.*?^```", "", document.read_text(), flags=re.M | re.S)
    return [to for to in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in to]


def anchors(document: Path) -> set[str]:
    """Return the names under which the headings of *document* are found, as GitHub has them."""
    titles = re.findall(r"^#+ (.*)$", document.read_text(), re.M)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("document", DOCUMENTS)
def test_no_link_is_dead(document: str) -> None:
    """The file is there, and the heading in it."""
    here = ROOT / document
    dead = []
    for to in links(here):
        path, _, anchor = to.partition("#")
        target = here.parent / path if path else here
        if not target.exists() or (anchor and anchor not in anchors(target)):
            dead.append(to)

    assert [] == dead


def test_the_index_has_every_document() -> None:
    """Whoever looks for something finds it without a search."""
    listed = {(DOCS / to).resolve() for to in links(DOCS / "README.md")}

    assert {*DOCS.glob("*/*.md"), DOCS / "api" / "index.rst"} == listed
