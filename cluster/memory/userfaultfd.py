"""Linux userfaultfd: note first writes to a mapping, and serve its faults from another process.

Only the system calls; what they are used for is in `tracker` and `pager`. Constants follow
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
_UNREGISTER = 0x8010AA01
_WAKE = 0x8010AA02
_WRITEPROTECT = 0xC018AA06
_CONTINUE = 0xC020AA07

_API_VERSION = 0xAA
_FEATURE_PAGEFAULT_FLAG_WP = 1 << 0
_FEATURE_MISSING_SHMEM = 1 << 5
_FEATURE_MINOR_SHMEM = 1 << 10
_FEATURE_WP_HUGETLBFS_SHMEM = 1 << 12
_FEATURE_WP_UNPOPULATED = 1 << 13
_FEATURE_WP_ASYNC = 1 << 15
_FEATURES = (
    _FEATURE_PAGEFAULT_FLAG_WP
    | _FEATURE_WP_HUGETLBFS_SHMEM
    | _FEATURE_WP_UNPOPULATED
    | _FEATURE_WP_ASYNC
)
_FAULT_FEATURES = _FEATURES | _FEATURE_MISSING_SHMEM | _FEATURE_MINOR_SHMEM
_REGISTER_MODE_MISSING = 1
_REGISTER_MODE_WP = 2
_REGISTER_MODE_MINOR = 4
_WRITEPROTECT_MODE_WP = 1
_CONTINUE_MODE_WP = 2
_EVENT_PAGEFAULT = 0x12
_FLAG_MINOR = 4
_MESSAGE = struct.Struct("<B7xQQ8x")
_MESSAGES_AT_ONCE = 64
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
    try:
        return _open_with(_FAULT_FEATURES)
    except OSError:
        return _open_with(_FEATURES)  # tracks writes; `register_faults` will be refused


def _open_with(features: int) -> int:
    fd = _open_device()
    if fd is None:
        fd = _open_syscall()
    try:
        fcntl.ioctl(fd, _API, bytearray(struct.pack("QQQ", _API_VERSION, features, 0)))
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
    _register(fd, address, nbytes, _REGISTER_MODE_WP)


def register_faults(fd: int, address: int, nbytes: int) -> None:
    """Let whoever reads `fd` serve every first touch of the range, and track writes too.

    A touch of a page that the file holds is a minor fault, of a hole a missing one.

    Raises:
        OSError: If the kernel cannot do that for shared memory.
    """
    modes = _REGISTER_MODE_MISSING | _REGISTER_MODE_MINOR | _REGISTER_MODE_WP
    _register(fd, address, nbytes, modes)


def _register(fd: int, address: int, nbytes: int, modes: int) -> None:
    fcntl.ioctl(fd, _REGISTER, bytearray(struct.pack("QQQQ", address, nbytes, modes, 0)))


def unregister(fd: int, address: int, nbytes: int) -> None:
    """Stop serving and tracking the range; who waits for a fault goes on by itself."""
    fcntl.ioctl(fd, _UNREGISTER, bytearray(struct.pack("QQ", address, nbytes)))


def wake(fd: int, address: int, nbytes: int) -> None:
    """Let everybody who waits for a fault in the range try again."""
    fcntl.ioctl(fd, _WAKE, bytearray(struct.pack("QQ", address, nbytes)))


def write_protect(fd: int, address: int, nbytes: int) -> None:
    """Arm every page of the range, populated or not; works from any holder of `fd`."""
    fcntl.ioctl(
        fd, _WRITEPROTECT, bytearray(struct.pack("QQQ", address, nbytes, _WRITEPROTECT_MODE_WP))
    )


def map_present(fd: int, address: int, nbytes: int, page_bytes: int) -> None:
    """Map pages that the file holds into the registered range, write-protected for tracking.

    Pages that are mapped already are left as they are, so races with other holders of
    `fd` do no harm. Wakes whoever waits there.

    Raises:
        OSError: EFAULT if a page of the range is a hole, ESRCH if the process is gone.
    """
    end = address + nbytes
    while address < end:
        argument = bytearray(struct.pack("QQQq", address, end - address, _CONTINUE_MODE_WP, 0))
        try:
            fcntl.ioctl(fd, _CONTINUE, argument)
            return
        except OSError as error:
            mapped: int = struct.unpack("QQQq", argument)[3]
            if mapped > 0:
                address += mapped
            elif error.errno == errno.EEXIST:
                wake(fd, address, page_bytes)
                address += page_bytes
            elif error.errno != errno.EAGAIN:
                raise


def read_faults(fd: int) -> list[tuple[int, bool]]:
    """Return the faults that wait to be served: (address, whether the file holds the page)."""
    try:
        data = os.read(fd, _MESSAGE.size * _MESSAGES_AT_ONCE)
    except BlockingIOError:
        return []
    return [
        (address, bool(flags & _FLAG_MINOR))
        for event, flags, address in _MESSAGE.iter_unpack(data)
        if event == _EVENT_PAGEFAULT
    ]
