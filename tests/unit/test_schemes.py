"""The registry of URL schemes, and the masking of passwords."""

from __future__ import annotations

import importlib.metadata

import pytest

from antiphon.errors import InvalidURL, MissingDependency, UnknownScheme
from antiphon.schemes import SchemeRegistry, mask_url


@pytest.fixture
def registry() -> SchemeRegistry:
    return SchemeRegistry(
        "store",
        "antiphon.test.stores",
        {
            "redis": "collections:OrderedDict",
            "memory": "collections:ChainMap.fromkeys",
        },
    )


def test_loads_the_callable(registry: SchemeRegistry) -> None:
    """A scheme gives the callable that was registered, whatever its case."""
    import collections

    assert collections.OrderedDict is registry.load("Redis://localhost")


def test_unknown_scheme_suggests(registry: SchemeRegistry) -> None:
    """A misspelt scheme is answered with the known ones and the nearest."""
    with pytest.raises(UnknownScheme) as caught:
        registry.load("reddis://localhost")

    expected = "no store for 'reddis://localhost' (known: memory, redis)"
    assert f"{expected}; did you mean 'redis'?" == str(caught.value)


@pytest.mark.parametrize("url", ["localhost/0", "", "/tmp/x"])
def test_url_without_scheme(registry: SchemeRegistry, url: str) -> None:
    """Text without a scheme is told what a URL looks like."""
    with pytest.raises(UnknownScheme, match="begins with a scheme"):
        registry.load(url)


def test_url_that_is_no_text(registry: SchemeRegistry) -> None:
    """Anything but text is an error of the tree."""
    with pytest.raises(InvalidURL, match="not by 7"):
        registry.load(7)  # type: ignore[arg-type]


def test_unknown_scheme_masks_the_password(registry: SchemeRegistry) -> None:
    """The password of a URL with a wrong scheme does not enter the message."""
    with pytest.raises(UnknownScheme) as caught:
        registry.load("radish://me:hunter2@localhost")

    assert "hunter2" not in str(caught.value)


def test_own_module_missing(registry: SchemeRegistry) -> None:
    """A registered module that does not exist is a fault, not a missing library."""
    broken = SchemeRegistry("store", "g", {"x": "json.no_such_module:main"})

    with pytest.raises(ModuleNotFoundError, match="no_such_module"):
        broken.load("x:")


def test_missing_dependency(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A backend whose library is absent raises MissingDependency with a hint."""
    (tmp_path / "needy_backend.py").write_text("import absent_library.part\n")
    monkeypatch.syspath_prepend(tmp_path)
    registry = SchemeRegistry(
        "store", "g", {"needy": "needy_backend:open"}, {"absent_library": "antiphon[needy]"}
    )

    with pytest.raises(MissingDependency, match=r"pip install 'antiphon\[needy\]'"):
        registry.load("needy://x")


def test_entry_points(registry: SchemeRegistry, monkeypatch: pytest.MonkeyPatch) -> None:
    """Schemes of other distributions are found, and listed, without being imported."""
    point = importlib.metadata.EntryPoint("other", "collections:Counter", "antiphon.test.stores")
    found = importlib.metadata.EntryPoints([point])
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: found)

    import collections

    assert ["memory", "other", "redis"] == registry.known()
    assert collections.Counter is registry.load("other://x")


@pytest.mark.parametrize(
    ("url", "masked"),
    [
        ("amqp://guest:secret@host:5672/v", "amqp://guest:***@host:5672/v"),
        ("redis://:secret@host/0", "redis://:***@host/0"),
        ("amqp://a:se/cr@et@host/", "amqp://a:***@host/"),
        ("amqp:a:secret@host", "amqp:***@host"),
        ("amqp://guest@host", "amqp://guest@host"),
        ("amqp://host:5672", "amqp://host:5672"),
        ("redis://h?password=secret&db=1", "redis://h?password=***&db=1"),
        ("redis//me:secret@host", "redis//me:***@host"),
        ("amqp://h/?pasword=secret", "amqp://h/?pasword=***"),
        ("redis://h?db=1;pwd=secret#x", "redis://h?db=1;pwd=***#x"),
        (
            "amqp://h/?cafile=a&keyfile_password_file=b",
            "amqp://h/?cafile=a&keyfile_password_file=b",
        ),
        ("http://h/x@y", "http://h/x@y"),
        ("guest:se/cret@host", "guest:***@host"),
        ("sqlite:data/me@home.db", "sqlite:data/me@home.db"),
        ("memory:", "memory:"),
        ("no url", "no url"),
    ],
)
def test_mask_url(url: str, masked: str) -> None:
    """Passwords are replaced wherever they stand; the rest of the URL stays."""
    assert masked == mask_url(url)
