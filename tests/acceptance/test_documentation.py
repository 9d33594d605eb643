"""The pages that ``make docs`` makes are whole, and fetch nothing from elsewhere."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest

from tests.snippets import DOCUMENTS, ROOT, snippets

#: The build takes ten seconds of two idle cores, and waits where others have them.
pytestmark = pytest.mark.timeout(300)

#: What programs import from.
PACKAGES = (
    "antiphon",
    "antiphon.archive",
    "antiphon.events.api",
    "antiphon.notifications",
    "antiphon.server",
    "antiphon.terminal.api",
    "antiphon.wire",
)

#: What a browser fetches by itself, by element and attribute.
FETCHED = {
    ("iframe", "src"),
    ("img", "src"),
    ("link", "href"),
    ("script", "src"),
    ("source", "src"),
}


class Page(HTMLParser):
    """What a page leads to, shows and is found by."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: set[str] = set()
        self.fetched: set[str] = set()
        self.ids: set[str] = set()
        self.feed(path.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep the attributes that matter."""
        for name, value in attrs:
            if name == "id":
                self.ids.add(value or "")
            elif (tag, name) in FETCHED:
                self.fetched.add(value or "")
            elif (tag, name) == ("a", "href"):
                self.links.add(value or "")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the pages, made as the Makefile does, but from nothing."""
    (arguments,) = re.findall(r"-m sphinx (.*) build/docs$", (ROOT / "Makefile").read_text(), re.M)
    made = tmp_path_factory.mktemp("docs")
    options = arguments.replace("build/doctrees", str(made / "doctrees")).split()
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", *options, str(made / "site")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert 0 == done.returncode, done.stderr
    return made / "site"


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Page]:
    """All pages, by their paths."""
    return {path: Page(path) for path in site.rglob("*.html")}


def test_no_link_of_the_pages_is_dead(pages: dict[Path, Page]) -> None:
    """Each leads to a file, and to a place in it that is there."""
    dead = set()
    for path, page in pages.items():
        for link in page.links | page.fetched:
            to, _, anchor = unquote(link).partition("#")
            if re.match(r"\w+:", to):
                continue
            target = (path.parent / to.partition("?")[0]).resolve() if to else path
            known = pages[target].ids if target in pages else set()
            if not target.exists() or (anchor and target in pages and anchor not in known):
                dead.add(f"{path.name}: {link}")

    assert set() == dead


def test_the_pages_need_no_network(site: Path, pages: dict[Path, Page]) -> None:
    """A reader without a connection sees all of it, and nobody learns that they read."""
    remote = {url for page in pages.values() for url in page.fetched if "//" in url}
    for style in site.rglob("*.css"):
        remote |= set(
            re.findall(r"""(?:url\(|@import )["']?(?:https?:)?//[^)]*""", style.read_text())
        )

    assert set() == remote


@pytest.fixture(scope="module")
def described(site: Path) -> set[str]:
    """Names that the API describes, each in the module that is its home."""
    pages = "".join(path.read_text() for path in (site / "docs" / "api").glob("*.html"))
    return set(re.findall(r'id="((?:antiphon|services)\.[\w.]+)"', pages))


def home(module: str, name: str) -> str:
    """Return the full name of what *name* is in *module*, where it was defined."""
    found = getattr(importlib.import_module(module), name)
    return f"{getattr(found, '__module__', module)}.{getattr(found, '__name__', name)}"


@pytest.mark.parametrize("package", PACKAGES)
def test_names_that_a_package_offers_are_described(package: str, described: set[str]) -> None:
    """What is in its ``__all__`` is found in the API."""
    offered = importlib.import_module(package).__all__

    assert [] == [n for n in offered if n != "__version__" and home(package, n) not in described]


def test_names_that_documents_import_are_described(described: set[str]) -> None:
    """Who wonders about a name in a program finds it in the API."""
    imported = {
        (node.module or "", each.name)
        for document in DOCUMENTS
        for snippet in snippets(document, "python")
        for node in ast.walk(ast.parse(snippet.whole))
        if isinstance(node, ast.ImportFrom) and re.match("antiphon|services", node.module or "")
        for each in node.names
    }
    names = {home(module, name) for module, name in imported if module != "__future__"}

    assert [] == sorted(names - described)
