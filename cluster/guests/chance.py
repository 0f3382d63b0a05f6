"""Counter-based random numbers: number `n` of a stream is a pure function of (seed, n).

SplitMix64's finaliser over a Weyl sequence (Steele, Lea and Flood, "Fast splittable
pseudorandom number generators", OOPSLA 2014). All arithmetic is modulo 2**64, so every
machine agrees, and any stretch of the stream can be computed without what came before.
"""

import numpy as np
import numpy.typing as npt

Words = npt.NDArray[np.uint64]

GOLDEN = 0x9E3779B97F4A7C15
_MASK = (1 << 64) - 1
_A, _B = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


def mix(words: Words) -> Words:
    """Scramble each word; a bijection of uint64."""
    words = (words ^ (words >> np.uint64(30))) * _A
    words = (words ^ (words >> np.uint64(27))) * _B
    return words ^ (words >> np.uint64(31))


def stream_key(seed: int, stream: int) -> np.uint64:
    """Where a stream begins; streams of one seed, and of other seeds, do not line up."""
    start = np.array([(seed * GOLDEN + stream) & _MASK], dtype=np.uint64)
    return np.uint64(mix(mix(start))[0])


def stretch(key: np.uint64, first: int, count: int) -> Words:
    """Numbers `first` to `first + count - 1` of a stream, uint64."""
    counters = np.arange(first, first + count, dtype=np.uint64)
    return mix(counters * np.uint64(GOLDEN) + key)


def below(words: Words, bound: int) -> npt.NDArray[np.int64]:
    """Map words evenly to 0 … bound - 1; bound at most 2**32, bias at most bound / 2**32."""
    return (((words >> np.uint64(32)) * np.uint64(bound)) >> np.uint64(32)).astype(np.int64)


def unit(words: Words) -> npt.NDArray[np.float64]:
    """Map words to [0, 1) with 53 bits."""
    return (words >> np.uint64(11)).astype(np.float64) * 2.0**-53
