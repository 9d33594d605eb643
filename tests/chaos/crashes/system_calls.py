"""What system calls are called, and which of them concern nobody but their process."""

from __future__ import annotations

import platform

#: Calls that change nothing which anybody else could see: memory, signals, clocks, waiting.
_PRIVATE = {
    "x86_64": {7, 9, 10, 11, 12, 13, 14, 24, 25, 28, 39, 186, 202, 204, 219, 228, 230, 232, 270,
               271, 273, 281, 318, 334},
    "aarch64": {22, 72, 73, 98, 99, 113, 115, 123, 124, 128, 134, 135, 172, 178, 214, 215, 216,
                222, 226, 233, 278, 293},
}  # fmt: skip

_NAMES = {
    "x86_64": {
        0: "read", 1: "write", 2: "open", 3: "close", 4: "stat", 5: "fstat", 6: "lstat", 7: "poll",
        8: "lseek", 16: "ioctl", 17: "pread64", 18: "pwrite64", 19: "readv", 20: "writev",
        21: "access", 32: "dup", 40: "sendfile", 41: "socket", 42: "connect", 44: "sendto",
        45: "recvfrom", 46: "sendmsg", 47: "recvmsg", 48: "shutdown", 51: "getsockname",
        52: "getpeername", 56: "clone",
        54: "setsockopt", 55: "getsockopt", 60: "exit", 63: "uname", 72: "fcntl", 73: "flock",
        74: "fsync", 75: "fdatasync", 76: "truncate", 77: "ftruncate", 79: "getcwd",
        82: "rename", 83: "mkdir", 84: "rmdir", 86: "link", 87: "unlink", 88: "symlink",
        89: "readlink", 90: "chmod", 91: "fchmod", 92: "chown", 93: "fchown", 95: "umask",
        102: "getuid", 107: "geteuid", 137: "statfs", 138: "fstatfs", 162: "sync",
        217: "getdents64", 231: "exit_group", 232: "epoll_wait", 233: "epoll_ctl", 257: "openat",
        258: "mkdirat", 262: "newfstatat", 263: "unlinkat", 264: "renameat", 265: "linkat",
        268: "fchmodat", 270: "pselect6", 271: "ppoll", 280: "utimensat", 281: "epoll_pwait",
        285: "fallocate", 288: "accept4", 290: "eventfd2", 291: "epoll_create1", 293: "pipe2",
        295: "preadv", 296: "pwritev", 306: "syncfs", 316: "renameat2", 326: "copy_file_range",
        332: "statx", 435: "clone3", 439: "faccessat2",
    },
    "aarch64": {
        25: "fcntl", 32: "flock", 34: "mkdirat", 35: "unlinkat", 37: "linkat", 38: "renameat",
        46: "ftruncate", 47: "fallocate", 48: "faccessat", 56: "openat", 57: "close",
        61: "getdents64", 62: "lseek", 63: "read", 64: "write", 67: "pread64", 68: "pwrite64",
        71: "sendfile", 79: "newfstatat", 80: "fstat", 82: "fsync", 83: "fdatasync",
        88: "utimensat", 94: "exit_group", 206: "sendto", 207: "recvfrom", 267: "syncfs",
        276: "renameat2", 285: "copy_file_range",
    },
}  # fmt: skip

#: Calls whose first argument is no file descriptor.
_NO_DESCRIPTOR = frozenset(
    {"open", "stat", "lstat", "access", "rename", "mkdir", "rmdir", "link", "unlink", "symlink",
     "readlink", "chmod", "chown", "truncate", "statfs", "clone", "clone3", "exit", "exit_group",
     "poll", "ppoll", "pselect6", "socket", "umask", "uname", "sync", "epoll_create1", "pipe2",
     "eventfd2", "getuid", "geteuid", "getcwd"}
)  # fmt: skip

_MACHINE = platform.machine()


def is_private(number: int) -> bool:
    """Return whether a call changes nothing outside of its process."""
    return number in _PRIVATE.get(_MACHINE, ())


def name_of(number: int) -> str:
    """Return what a call is called; its number where nobody wrote it down."""
    return _NAMES.get(_MACHINE, {}).get(number, f"call {number}")


#: Calls after which others find something else than before.
_CHANGES = frozenset(
    {"write", "pwrite64", "sendto", "rename", "renameat", "renameat2", "unlink", "unlinkat", "link",
     "linkat", "mkdir", "mkdirat", "rmdir", "ftruncate", "fallocate", "copy_file_range"}
)  # fmt: skip


def changes_something(name: str) -> bool:
    """Return whether a call of that name changes what others find."""
    return name in _CHANGES


def is_write(number: int) -> bool:
    """Return whether a call writes as many bytes as its third argument says."""
    return name_of(number) in ("write", "pwrite64", "sendto")


def has_descriptor(number: int) -> bool:
    """Return whether the first argument of a call is a file descriptor."""
    name = name_of(number)
    return not name.startswith("call ") and name not in _NO_DESCRIPTOR
