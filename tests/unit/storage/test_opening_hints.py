"""What ``open_store`` says to what is no URL of a store; stores of other distributions."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from antiphon.errors import InvalidURL, MissingDependency, UnknownScheme
from antiphon.storage.dict_memory_store import DictMemoryStore
from antiphon.storage.dynamic_url_store import DynamicURLStore
from antiphon.storage.opening import open_store, stores
from antiphon.storage.static_url_store import StaticURLStore


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("http://host/x", r"dynamic\+http://… for Antiphon's store server.*static\+http://…"),
        ("https://host/x", r"dynamic\+https://….*static\+https://…"),
        ("store.db", "write 'sqlite:store.db'"),
        ("dir/a b.sqlite3", "write 'sqlite:dir/a%20b.sqlite3'"),
        ("/var/lib/store.sqlite", "write 'sqlite:///var/lib/store.sqlite'"),
        ("/data/store", "write 'file:///data/store'"),
        ("./store", r"write 'file:\./store'"),
        ("store/", "write 'file:store/'"),
        ("C:\\data\\store", "write 'file:///C:/data/store'"),
        ("amqp://localhost", "open_bus"),
        ("reddis://localhost/0", "did you mean 'redis'"),
        ("mem:", "did you mean 'memory'"),
        ("statics+http://host", r"did you mean 'static\+http'"),
        ("localhost/0", "begins with a scheme"),
        ("memory", "begins with a scheme, as in 'memory:'"),
        ("sqllite", "begins with a scheme, as in 'sqlite:'"),
        ("", "begins with a scheme"),
    ],
)
def test_an_error_says_what_may_have_been_meant(text: str, hint: str) -> None:
    """The line that works stands in the message."""
    with pytest.raises(UnknownScheme, match=hint):
        open_store(text)


def test_a_file_that_is_there_is_taken_for_a_database(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever its name; a directory for one of files."""
    monkeypatch.chdir(tmp_path)
    Path("catalogue").touch()
    Path("folder").mkdir()

    with pytest.raises(UnknownScheme, match="write 'sqlite:catalogue'"):
        open_store("catalogue")
    with pytest.raises(UnknownScheme, match="write 'file:folder'"):
        open_store("folder")


def test_a_password_is_in_no_hint() -> None:
    """Not even if the scheme is the wrong one."""
    with pytest.raises(UnknownScheme) as caught:
        open_store("https://me:hunter2@host/x?token=hunter2")

    assert "hunter2" not in str(caught.value)


# -- Stores of other distributions ---------------------------------------------


@pytest.fixture
def distribution(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A distribution with two stores, installed into a folder on the path."""
    (tmp_path / "tinystore.py").write_text(
        "from antiphon.storage.dict_memory_store import DictMemoryStore\n"
        "class Tiny(DictMemoryStore):\n"
        "    @classmethod\n"
        "    def from_url(cls, url, **options):\n"
        "        return cls(origin=url.partition(':')[2], **options)\n"
    )
    (tmp_path / "needystore.py").write_text("import library_that_nobody_has\n")
    info = tmp_path / "tinystore-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: tinystore\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[antiphon.stores]\ntiny = tinystore:Tiny.from_url\nneedy = needystore:from_url\n"
        "memory = tinystore:Tiny.from_url\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    yield
    for name in ("tinystore", "needystore"):
        sys.modules.pop(name, None)


@pytest.mark.usefixtures("distribution")
def test_an_installed_distribution_adds_a_store() -> None:
    """By an entry point, found without being imported."""
    assert "tiny" in stores.known()
    assert "tinystore" not in sys.modules

    with open_store("tiny:over.there") as store:
        store.from_bytes("a", b"data")

        assert ("Tiny", "over.there") == (type(store).__name__, store.origin)  # type: ignore[attr-defined]
        assert b"data" == store.to_bytes("a")


@pytest.mark.usefixtures("distribution")
def test_a_distribution_cannot_replace_a_store() -> None:
    """The names of this package are its own."""
    assert DictMemoryStore is type(open_store("memory:"))


@pytest.mark.usefixtures("distribution")
def test_a_store_of_a_distribution_says_what_it_needs() -> None:
    """A library that is missing is named."""
    with pytest.raises(MissingDependency, match="library_that_nobody_has"):
        open_store("needy:")


@pytest.mark.usefixtures("distribution")
def test_a_store_of_a_distribution_is_suggested() -> None:
    """As those of this package are."""
    with pytest.raises(UnknownScheme, match="did you mean 'tiny'"):
        open_store("tinny:x")


# -- URLs of the stores behind URLs --------------------------------------------


def test_a_dynamic_store_opens() -> None:
    """The URL is that of the store; keys and query are below it."""
    store = open_store("dynamic+https://me:s%40cret@host:8443/stores/a%20b/?timeout_s=5&origin=x.y")

    assert isinstance(store, DynamicURLStore)
    assert "https://host:8443/stores/a%20b/keys" == store.base_url
    assert "https://host:8443/stores/a%20b/query" == store.query_url
    assert {"username": "me", "password": "s@cret"} == store._credentials
    assert ("x.y", 5.0, 10.0) == (
        store.origin, store._http.timeout_s, store._http.connect_timeout_s,
    )  # fmt: skip
    assert "cret" not in repr(store)


def test_a_static_store_opens(tmp_path: Path) -> None:
    """The usual layout unless the URL says otherwise."""
    store = open_store("static+http://host/x?poll=0&data_path=files/&query_path=all.json")
    usual = open_store(f"static+file://{tmp_path}", poll=7)

    assert isinstance(store, StaticURLStore)
    assert isinstance(usual, StaticURLStore)
    assert ("http://host/x/", "files/", "all.json", 0.0) == (
        store.root_url, store.data_path, store.query_path, store.poll,
    )  # fmt: skip
    assert (f"file://{tmp_path}/", "data/", "index.json", 7) == (
        usual.root_url, usual.data_path, usual.query_path, usual.poll,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("url", "hint"),
    [
        ("dynamic+http:", "names no host"),
        ("dynamic+http://host/x#y", "names no host"),
        ("dynamic+http://host:port/x", "host or port"),
        ("dynamic+http://secret-token@host/x", "no password"),
        ("dynamic+http://host/x?timeout_s=0", "above 0"),
        ("dynamic+http://host/x?time=1", "'time'.*known: origin, timeout_s"),
        ("static+http://", "names no host"),
        ("static+file://host/x", "three slashes"),
        ("static+file:x", "three slashes"),
        ("static+http://host/x?poll=often", "poll='often'"),
    ],
)
def test_a_url_that_makes_no_sense_says_what_would(url: str, hint: str) -> None:
    """One error of ours, which repeats no secret."""
    with pytest.raises(InvalidURL, match=hint) as caught:
        open_store(url)
    assert "secret" not in str(caught.value)


def test_unknown_options_are_refused() -> None:
    """The error lists those that are known."""
    for scheme in ("dynamic", "static"):
        with pytest.raises(InvalidURL, match=r"'pool'.*known: .*timeout_s"):
            open_store(f"{scheme}+http://host/x", pool=5)
