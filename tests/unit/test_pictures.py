"""The pictures of the documents are readable everywhere, by everybody."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from tests.snippets import DOCUMENTS, ROOT

PICTURES = sorted((ROOT / "docs" / "pictures").iterdir())


def named(path: Path) -> str:
    """Return what a picture is called in the output of tests."""
    return path.name


@pytest.mark.parametrize("picture", PICTURES, ids=named)
def test_pictures_say_what_they_show(picture: Path) -> None:
    """Who cannot see it hears its title and its description."""
    svg = "{http://www.w3.org/2000/svg}"
    drawing = ET.parse(picture).getroot()

    assert all(drawing.findtext(f"{svg}{name}") for name in ("title", "desc"))


@pytest.mark.parametrize("picture", PICTURES, ids=named)
def test_pictures_are_for_light_and_dark(picture: Path) -> None:
    """Each has colours for both, on a ground of its own, and fetches nothing."""
    text = picture.read_text()

    assert "prefers-color-scheme: dark" in text
    assert [] == re.findall(r"(?:href|src)=|url\((?!#)|@import|<script", text)


def test_each_picture_is_shown() -> None:
    """A picture that no document shows is out of date before anybody sees it."""
    shown = {
        (ROOT / document).parent.joinpath(to).resolve()
        for document in DOCUMENTS
        for alternative, to in re.findall(r"!\[([^]]+)\]\(([^)]+)\)", (ROOT / document).read_text())
    }

    assert set(PICTURES) == shown
