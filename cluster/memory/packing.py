"""Whether a batch is worth packing for its link, and packing it with LZ4.

Packing, the wire and unpacking run beside each other, so a batch takes as long as the slowest.
A sixteenth of the batch is tried first: what does not get smaller, or not fast enough,
travels as it is and has cost next to nothing. `benchmarks/fewer_bytes.py` has the gains by content;
zstd is smaller and slower, and gains less at the rates where either gains.
"""

import time

import lz4.block
import numpy as np
import numpy.typing as npt

# The least that makes up for a core's time: a tenth, as for every way to send fewer bytes.
_TIME_RATIO_MAX = 0.9
_SAMPLED_PAGES = 16
_NS = 1e9

Bytes = npt.NDArray[np.uint8]


def worthwhile(
    left_ratio: float, pack_bytes_per_second: float, link_bytes_per_second: float
) -> bool:
    """Whether packed bytes arrive sooner by a tenth at least.

    Args:
        left_ratio: Packed bytes over plain ones.
        pack_bytes_per_second: Plain bytes that are packed a second.
        link_bytes_per_second: Of the link, or this migration's share of it.
    """
    plain_s = 1 / link_bytes_per_second
    return max(left_ratio * plain_s, 1 / pack_bytes_per_second) <= _TIME_RATIO_MAX * plain_s


def pack(data: Bytes, link_bytes_per_second: float) -> Bytes | None:
    """Return (bytes,) uint8 of pages (n, 4096) packed; None if that is not worthwhile."""
    sample = np.ascontiguousarray(data[::_SAMPLED_PAGES])
    if sample.nbytes == 0:
        return None
    # A thread's own time: what other work takes of the core meanwhile says nothing of LZ4.
    began = time.thread_time_ns()
    left = len(lz4.block.compress(sample.reshape(-1), store_size=False)) / sample.nbytes
    seconds = max(time.thread_time_ns() - began, 1) / _NS
    if not worthwhile(left, sample.nbytes / seconds, link_bytes_per_second):
        return None
    packed = lz4.block.compress(np.ascontiguousarray(data).reshape(-1))
    return np.frombuffer(packed, dtype=np.uint8)


def unpack(packed: Bytes, row_bytes: int) -> Bytes:
    """Return the pages (n, row_bytes) that `pack` was given.

    Raises:
        lz4.block.LZ4BlockError: If it is not what `pack` returned.
    """
    return np.frombuffer(lz4.block.decompress(packed), dtype=np.uint8).reshape(-1, row_bytes)
