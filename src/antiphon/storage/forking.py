"""Locks after a fork: what a thread of the parent held, nobody in the child gives back."""

from __future__ import annotations

import itertools
import os
import threading
import weakref

_numbers = itertools.count()

#: What is alive, by a number that tells the order in which it came.
_owners: weakref.WeakValueDictionary[int, Forked] = weakref.WeakValueDictionary()


class Forked:
    """An object with locks, which has new ones in each child of this process.

    Call ``_renew_in_children`` at the end of ``__init__``.
    """

    def _renew_in_children(self, *locks: str) -> None:
        """Have the attributes called *locks* set to new locks in each child.

        Then ``_forked`` is called, of objects made earlier first.
        """
        self._locks = locks
        _owners[next(_numbers)] = self

    def _forked(self) -> None:
        """Mend what threads of the parent were changing; in the child's only thread."""


def _renew_all() -> None:
    for _, owner in sorted(_owners.items()):
        for name in owner._locks:
            setattr(owner, name, threading.Lock())
        owner._forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_all)
