"""Ours with Python's threads taking turns sooner."""

from __future__ import annotations

import sys

from benchmarks.caches.case import Servers, Write
from benchmarks.caches.peers import antiphon_mount
from benchmarks.caches.peers.antiphon_mount import MountReader

NAME = "antiphon, 0.5 ms"
SAYS = "the same, and sys.setswitchinterval(0.0005) where it is read"
SYSTEM = "bench-caches-switch"


def open_writer(servers: Servers) -> Write:
    """Connect."""
    return antiphon_mount.open_writer(servers, SYSTEM)


def open_reader(servers: Servers) -> MountReader:
    """Connect, and begin to keep the cache right."""
    sys.setswitchinterval(0.0005)
    return MountReader(servers, SYSTEM)
