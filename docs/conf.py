"""How Sphinx makes pages of the documents and of the docstrings: ``make docs``.

The documents stay what they are on any viewer of Markdown: the folder of the project is
the source, so that every link between them, README.md and CHANGELOG.md holds.  What the
pages have besides is made here: the list at the side, from docs/README.md, and a first
page of the usual name.  Nothing is fetched, neither by the build nor by the pages.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import antiphon

ROOT = Path(__file__).parents[1]

project = "Antiphon"
author = copyright = "the Antiphon developers"
version = release = antiphon.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]

root_doc = "README"
include_patterns = ["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "docs/**", "benchmarks/**"]
# Folders that are not walked at all: the environment alone has ten thousand files.
exclude_patterns = [".*", "build", "dist", "src", "services", "tests", "examples", "**/results"]

# -- Markdown -----------------------------------------------------------------

myst_enable_extensions = ["attrs_inline"]
# Links to headings are those of the viewers of Markdown: tests/unit/test_document_links.py.
myst_heading_anchors = 4

# -- Docstrings ---------------------------------------------------------------

# A name is described in its home only, wherever it may be imported from besides.
autodoc_default_options = {"members": True, "show-inheritance": True, "ignore-module-all": True}
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_use_type_comments = False  # we have none, and looking for them takes time
napoleon_numpy_docstring = False
napoleon_use_ivar = True  # not once as an attribute and once in its class
napoleon_use_rtype = False
python_maximum_signature_line_length = 88
add_module_names = False
suppress_warnings = [
    "ref.python",  # several classes may have an attribute of one name
    "toc.not_included",  # tests/unit/test_document_links.py says it in time
]
toc_object_entries = False  # 1900 names beside each page: a third of the time of the build

# -- Pages --------------------------------------------------------------------

html_theme = "furo"
html_title = f"Antiphon {release}"
html_copy_source = False
html_show_sphinx = False
html_static_path = ["_static"]
html_css_files = ["antiphon.css"]


def setup(app: Any) -> None:
    """Add what the pages have besides the documents."""
    app.connect("source-read", _add_contents)
    app.connect("build-finished", _add_first_page)


def _add_contents(app: Any, docname: str, source: list[str]) -> None:
    """Let README.md lead to all documents, in the order and under the titles of docs/README.md."""
    if docname == root_doc:
        source[0] += "".join(_contents((ROOT / "docs" / "README.md").read_text()))


def _contents(index: str) -> list[str]:
    """Return a hidden table of contents for each section of the index."""
    tables = []
    for section in re.split(r"^## ", index, flags=re.M)[1:]:
        title = section.partition("\n")[0]
        pages = re.findall(r"\]\((?!\w+:)([^)#]+)\)", section)
        entries = "\n".join(f"docs/{page}" for page in pages)
        tables.append(f"\n\n```{{toctree}}\n:hidden:\n:caption: {title}\n\n{entries}\n```\n")
    others = "CHANGELOG\nCONTRIBUTING\nbenchmarks/caches/README\nbenchmarks/codec/README"
    others += "\nbenchmarks/messaging/README\ndocs/README"
    return [*tables, f"\n\n```{{toctree}}\n:hidden:\n:caption: More\n\n{others}\n```\n"]


def _add_first_page(app: Any, problem: Exception | None) -> None:
    """Show README.md where servers and people look first."""
    if problem is None and app.builder.format == "html":
        shutil.copyfile(Path(app.outdir, "README.html"), Path(app.outdir, "index.html"))
