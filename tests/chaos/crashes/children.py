"""Work that is done in a process of its own."""

from __future__ import annotations

import gc
import os
import pickle
import sys
import traceback
from collections.abc import Callable
from typing import NoReturn, TypeVar

_T = TypeVar("_T")


class ChildFailed(Exception):
    """A child ended without a result."""


def forked(run: Callable[[], object]) -> int:
    """Have *run* run in a forked child, which then ends; return the child's pid."""
    pid = os.fork()
    if pid == 0:
        _run(run)
    return pid


def in_child(run: Callable[[], _T]) -> _T:
    """Return what *run* returns in a forked child, which knows nothing that we open later.

    Raises:
        ChildFailed: it raised or died.
    """
    read, write = os.pipe()

    def tell() -> None:
        with open(write, "wb") as pipe:
            pickle.dump(run(), pipe)

    pid = forked(tell)
    os.close(write)
    with open(read, "rb") as pipe:
        told = pipe.read()
    _, status = os.waitpid(pid, 0)
    if status or not told:
        raise ChildFailed(f"the child ended with status {status}")
    result: _T = pickle.loads(told)
    return result


def _run(run: Callable[[], object]) -> NoReturn:
    status = 1
    try:
        # What the parent holds is none of our business.
        gc.disable()
        run()
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)
