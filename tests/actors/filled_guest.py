"""A guest whose memory is full from the start, so that sending it takes its time."""

import numpy as np

from cluster.guests.base import Array, Guest


class Filled(Guest):
    """Fills `fill_mib` at power-on, and writes random pages of the first half at `write_mb_s`."""

    def __init__(self, *, memory_bytes, seed=0, fill_mib=64, write_mb_s=0.0):
        super().__init__(memory_bytes=memory_bytes, seed=seed)
        self.fill_mib = fill_mib
        self.write_mb_s = write_mb_s
        self.draws = 0

    def layout(self):
        return {"pages": Array(shape=(self.fill_mib * 256, 512), dtype=np.uint64)}

    def start(self):
        rng = np.random.default_rng(self.seed)
        for at in range(0, len(self.pages), 4096):
            self.pages[at : at + 4096] = rng.integers(1, 1 << 63, (512,), dtype=np.uint64)
            self.pages[at : at + 4096, 0] = np.arange(at, at + 4096)[: len(self.pages) - at]

    def step(self, budget):
        count = min(int(budget.seconds * self.write_mb_s * 1e6 / 4096), 2000)
        if count:
            self.draws += 1
            rng = np.random.default_rng((self.seed, self.draws))
            self.pages[rng.integers(0, len(self.pages) // 2, count), 8] = self.draws
