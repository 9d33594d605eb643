"""What users hand to stores, checked."""

from __future__ import annotations

from antiphon.errors import InvalidKey, InvalidValue
from antiphon.storage.journal import Version


def checked_key(key: object) -> str:
    """Return *key* as plain text.

    Raises:
        InvalidKey: it is not text, or text that cannot be written as UTF-8.
    """
    if not isinstance(key, str):
        raise InvalidKey(f"a key must be text, not {type(key).__name__}: {key!r:.80}")
    plain = str.__str__(key)
    if not plain.isascii():
        try:
            plain.encode()
        except UnicodeEncodeError:
            raise InvalidKey(f"the key {plain!r:.80} cannot be written as UTF-8") from None
    return plain


def checked_expect(expect: object) -> Version | None:
    if expect is None or isinstance(expect, Version):
        return expect
    raise InvalidValue(
        f"expect must be a Version, as value.version is, ABSENT or None; not {expect!r:.80}"
    )
