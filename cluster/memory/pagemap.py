"""Linux PAGEMAP_SCAN: which pages of a process were written, read and re-armed in one call.

Source: https://docs.kernel.org/admin-guide/mm/pagemap.html (Linux 6.7 and later).
"""

import fcntl
import os
import struct

import numpy as np
import numpy.typing as npt

_SCAN = 0xC0606610
_WP_MATCHING = 1
_CHECK_WPASYNC = 2
_WRITTEN = 2
_REGIONS_MAX = 1 << 16
_ARG = struct.Struct("12Q")

Pages = npt.NDArray[np.int64]


class WrittenPages:
    """The written pages of one range in another process's memory.

    The range must be registered for asynchronous write protection there. Needs the
    right to ptrace that process: the same user, or root.
    """

    def __init__(self, pid: int, address: int, nbytes: int, page_bytes: int) -> None:
        self._fd = os.open(f"/proc/{pid}/pagemap", os.O_RDONLY | os.O_CLOEXEC)
        self._start = address
        self._end = address + nbytes
        self._page_bytes = page_bytes

    def close(self) -> None:
        """Release the pagemap; the tracked process is not touched."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def read(self, *, rearm: bool) -> Pages:
        """Return the numbers of the pages written since they were last armed, ascending.

        With `rearm` the same call arms them again, so that no write falls between. Several
        threads may read at once: the kernel's answer is each call's own, or one that only
        counts would overwrite what has been armed again and is told to nobody else.

        Raises:
            OSError: ESRCH if the process is gone.
        """
        flags = (_WP_MATCHING | _CHECK_WPASYNC) if rearm else _CHECK_WPASYNC
        regions: npt.NDArray[np.uint64] = np.empty((_REGIONS_MAX, 3), dtype=np.uint64)
        found: list[Pages] = []
        position = self._start
        while position < self._end:
            count, walked = self._scan(flags, position, regions)
            found.append(self._expand(regions[:count]))
            if walked <= position:
                raise OSError(f"PAGEMAP_SCAN made no progress at {position:#x}")
            position = walked
        return np.concatenate(found) if len(found) != 1 else found[0]

    def _scan(self, flags: int, position: int, regions: npt.NDArray[np.uint64]) -> tuple[int, int]:
        argument = bytearray(
            _ARG.pack(
                _ARG.size,
                flags,
                position,
                self._end,
                0,
                regions.ctypes.data,
                _REGIONS_MAX,
                0,
                0,
                _WRITTEN,
                0,
                _WRITTEN,
            )
        )
        count = int(fcntl.ioctl(self._fd, _SCAN, argument))
        return count, int(_ARG.unpack(argument)[4])

    def _expand(self, regions: npt.NDArray[np.uint64]) -> Pages:
        """Turn regions of addresses into page numbers without a Python loop."""
        first = ((regions[:, 0] - np.uint64(self._start)) // np.uint64(self._page_bytes)).astype(
            np.int64
        )
        lengths = ((regions[:, 1] - regions[:, 0]) // np.uint64(self._page_bytes)).astype(np.int64)
        total = int(lengths.sum())
        before = np.cumsum(lengths) - lengths
        return np.repeat(first - before, lengths) + np.arange(total, dtype=np.int64)
