"""Linux userfaultfd: write-protect a mapping so that the kernel notes first writes.

Only the system calls; what they are used for is in `tracker`. Constants follow
include/uapi/linux/userfaultfd.h of Linux 6.7 and later and are written out, because
the headers that distributions ship are older than the features used.

Source: https://docs.kernel.org/admin-guide/mm/userfaultfd.html
"""

import ctypes
import errno
import fcntl
import os
import platform
import struct

_NEW = 0xAA00  # USERFAULTFD_IOC_NEW, on /dev/userfaultfd
_API = 0xC018AA3F
_REGISTER = 0xC020AA00
_WRITEPROTECT = 0xC018AA06

_API_VERSION = 0xAA
_FEATURE_PAGEFAULT_FLAG_WP = 1 << 0
_FEATURE_WP_HUGETLBFS_SHMEM = 1 << 12
_FEATURE_WP_UNPOPULATED = 1 << 13
_FEATURE_WP_ASYNC = 1 << 15
_FEATURES = (
    _FEATURE_PAGEFAULT_FLAG_WP
    | _FEATURE_WP_HUGETLBFS_SHMEM
    | _FEATURE_WP_UNPOPULATED
    | _FEATURE_WP_ASYNC
)
_REGISTER_MODE_WP = 2
_WRITEPROTECT_MODE_WP = 1
_USER_MODE_ONLY = 1
_SYSCALL = {"x86_64": 323, "aarch64": 282}


def open_userfaultfd() -> int:
    """Return a userfaultfd of this process with asynchronous write protection.

    Tries /dev/userfaultfd, then the system call, then its user-mode-only form, which
    needs no privilege; asynchronous write protection works with each, since the
    kernel resolves those faults by itself, also in system calls.

    Raises:
        OSError: If the kernel, the container or the permissions do not allow it.
    """
    fd = _open_device()
    if fd is None:
        fd = _open_syscall()
    try:
        fcntl.ioctl(fd, _API, bytearray(struct.pack("QQQ", _API_VERSION, _FEATURES, 0)))
    except OSError:
        os.close(fd)
        raise
    return fd


def _open_device() -> int | None:
    try:
        device = os.open("/dev/userfaultfd", os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return None  # not there or not ours; the system call may still do
    try:
        return int(fcntl.ioctl(device, _NEW, os.O_CLOEXEC | os.O_NONBLOCK))
    finally:
        os.close(device)


def _open_syscall() -> int:
    number = _SYSCALL.get(platform.machine())
    if number is None:
        raise OSError(errno.ENOSYS, f"no userfaultfd number known for {platform.machine()}")
    libc = ctypes.CDLL(None, use_errno=True)
    flags = os.O_CLOEXEC | os.O_NONBLOCK
    for extra in (0, _USER_MODE_ONLY):
        fd = int(libc.syscall(number, flags | extra))
        if fd >= 0:
            return fd
    code = ctypes.get_errno()
    raise OSError(code, f"userfaultfd: {os.strerror(code)}")


def register_write_protect(fd: int, address: int, nbytes: int) -> None:
    """Let `fd` track writes to a mapping of the process that opened it.

    Raises:
        OSError: EBUSY if the range has another userfaultfd, EINVAL if it is not aligned.
    """
    fcntl.ioctl(
        fd, _REGISTER, bytearray(struct.pack("QQQQ", address, nbytes, _REGISTER_MODE_WP, 0))
    )


def write_protect(fd: int, address: int, nbytes: int) -> None:
    """Arm every page of the range, populated or not; works from any holder of `fd`."""
    fcntl.ioctl(
        fd, _WRITEPROTECT, bytearray(struct.pack("QQQ", address, nbytes, _WRITEPROTECT_MODE_WP))
    )
