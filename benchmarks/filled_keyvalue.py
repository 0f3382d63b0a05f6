"""A guest of the benchmarks: the key-value table, full of data when it is powered on."""

from cluster.guests.chance import stream_key, stretch
from cluster.guests.keyvalue import KeyValue

_KEYS_AT_ONCE = 256


class FilledKeyValue(KeyValue):
    """Holds keys 0 to `keys` - 1 from the start; its first request is number 0 all the same."""

    def __init__(self, *, memory_bytes, seed=0, slots=None, value_bytes=4096, keys=1):
        super().__init__(memory_bytes=memory_bytes, seed=seed, slots=slots, value_bytes=value_bytes)
        if not 0 < keys <= self.slots:
            raise ValueError(f"keys must be 1 to {self.slots}, is {keys}")
        self.filled_keys = keys

    def start(self):
        """Put every key, each with random bytes of its own."""
        words = -(-self.value_bytes // 8)
        own = stream_key(self.seed, 4)
        for first in range(0, self.filled_keys, _KEYS_AT_ONCE):
            count = min(_KEYS_AT_ONCE, self.filled_keys - first)
            values = stretch(own, first * words, count * words).tobytes()
            for i in range(count):
                at = i * words * 8
                self.handle(("put", first + i, values[at : at + self.value_bytes]))
        self.operations[0] = 0
