"""Whatever is written, under whatever key: records, index, keys and journal agree."""

from __future__ import annotations

import io
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis_checks import assert_consistent, raw_client

from antiphon.storage.redis_store import RedisStore
from antiphon.storage.string_value import StringValue

#: Few keys, so that they meet again; what parts names, lines and members in Redis is in them.
_keys = st.sampled_from(
    ["", "a", "a\0", "\0a", "a\n", "a\t", "{n}:k:a", "}", "ä", "A", "k:", " ", "%"]
)
_names = st.sampled_from(["", "n", "!n", "!!n", "n\0", "n\n", 'n"', "ü"])
_metadata = st.dictionaries(_names, st.sampled_from([None, True, 1, 1.0, "1", "\n", "\0", b"\0"]))
_changes = st.tuples(
    st.sampled_from(["set", "set_data", "set_metadata", "update_metadata", "delete"]),
    _keys,
    _metadata,
    st.sampled_from([b"", b"x", b"y" * 20_000]),
)


def _change(store: RedisStore, change: Any, model: dict[str, tuple[bytes, dict[str, Any]]]) -> None:
    what, key, metadata, data = change
    old_data, old_metadata = model.get(key, (b"", {}))
    if what == "set":
        store.set(key, StringValue(data, metadata))
        model[key] = data, metadata
    elif what == "set_data":
        store.set_data(key, io.BytesIO(data))
        model[key] = data, old_metadata
    elif what == "set_metadata":
        store.set_metadata(key, metadata)
        model[key] = old_data, metadata
    elif key in model and what == "update_metadata":
        store.update_metadata(key, metadata)
        model[key] = old_data, {**old_metadata, **metadata}
    elif key in model:
        store.delete(key)
        del model[key]


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(commits=st.lists(st.lists(_changes, min_size=1, max_size=6), max_size=6))
def test_all_parts_of_the_layout_agree(redis_url: str, commits: list[list[Any]]) -> None:
    """After any commits of any changes the store has what a dictionary would, and no more."""
    with raw_client(redis_url) as raw:
        raw.flushdb()
    model: dict[str, tuple[bytes, dict[str, Any]]] = {}
    with RedisStore(redis_url, namespace="n") as store:
        for changes in commits:
            with store.transaction():
                for change in changes:
                    _change(store, change, model)
        values = {key: store.get(key) for key in store.query_keys()}
        many = dict(zip(values, store.multiget(values), strict=True))

        assert model == {key: (v.data.read(), v.metadata) for key, v in values.items()}
        assert model == {key: (v.data.read(), v.metadata) for key, v in many.items()}
    assert_consistent(redis_url, "n")
