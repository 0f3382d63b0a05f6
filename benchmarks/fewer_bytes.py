"""What zero pages, duplicates, compression and deltas would save, on real contents, at 1 and 10 GbE.

No migration: each technique is done to memory contents by one thread, whose CPU time is taken; its time on a link is that of a
pipeline of three, the slowest of encoding, the wire and decoding. Contents: a full writer's memory
(distinct pages that do not compress: the worst case); the memory of a live Python process; source texts
as a page cache holds them; and, for deltas, the pages that a writer of 200 MB/s over 256 MiB has changed
while a first round of 1 GiB was under way.

The rule of the project: a technique that costs code ships if it saves 10 % of the time at 1 GbE.

    python benchmarks/fewer_bytes.py
    python benchmarks/fewer_bytes.py --quick --json
"""

import importlib
import re
import sys
import sysconfig
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from cases import GBE, TEN_GBE
from claims import Claim, arguments, finish, markdown

from cluster.guests.memory_map import bind, make_guest
from cluster.guests.writer import PAGE_WORDS, Writer
from cluster.memory.guest_memory import zero_pages
from cluster.memory.hashes import hash_pages
from cluster.page import MIB, PAGE_BYTES

_SHIPS_AT = 0.10
_BATCH_PAGES = 4096
_WRITE_RATE_MB_S = 200.0
_FIRST_ROUND_BYTES = 1 << 30
ZEROS = "zero pages"

Pages = np.ndarray


@dataclass(frozen=True, slots=True, kw_only=True)
class Saved:
    """A technique on a content; encoded and decoded by one thread."""

    content: str
    technique: str
    pages: int
    bytes_in: int
    bytes_out: int
    encode_s: float
    decode_s: float
    plain_bytes: int = 0

    def gain(self, line: float) -> float:
        """Share of the time on a link that is saved; `plain_bytes` go along as they are."""
        before = (self.plain_bytes + self.bytes_in) / line
        after = self.plain_bytes / line + max(self.bytes_out / line, self.encode_s, self.decode_s)
        return 1 - after / before


def writer_pages(mib: int) -> Pages:
    """A full writer's memory."""
    memory = np.zeros(mib * MIB, dtype=np.uint8)
    guest = make_guest(Writer, {"filled": True}, vm_memory_bytes=memory.nbytes, seed=1)
    bind(guest, memory)
    guest.start()
    return memory.reshape(-1, PAGE_BYTES)


def process_pages(mib: int) -> Pages:
    """This process's own writable private memory, once it has loaded what a service loads."""
    for name in ("ray", "ortools.sat.python.cp_model", "plotly.graph_objects", "asyncio"):
        importlib.import_module(name)
    found, left = [], mib * MIB
    with open("/proc/self/maps") as maps, open("/proc/self/mem", "rb", buffering=0) as memory:
        for line in maps:
            span, kind, _, _, inode = line.split()[:5]
            start, stop = (int(end, 16) for end in span.split("-"))
            if not re.match("rw.p", kind) or inode != "0" or stop - start > left:
                continue
            memory.seek(start)
            data = memory.read(stop - start)
            found.append(np.frombuffer(data[: len(data) // PAGE_BYTES * PAGE_BYTES], np.uint8))
            left -= len(data)
    return np.concatenate(found).reshape(-1, PAGE_BYTES)


def text_pages(mib: int) -> Pages:
    """Source files of the standard library, each from a page of its own."""
    whole = bytearray()
    for path in sorted(Path(sysconfig.get_paths()["stdlib"]).rglob("*.py")):
        data = path.read_bytes()
        whole += data + bytes(-len(data) % PAGE_BYTES)
        if len(whole) >= mib * MIB:
            break
    return np.frombuffer(bytes(whole[: mib * MIB]), np.uint8).reshape(-1, PAGE_BYTES)


def without_zeros(pages: Pages) -> tuple[int, Callable[[], object]]:
    """Count pages of zeros instead of sending them."""
    kept = pages[~zero_pages(pages)]
    return kept.nbytes + 8 * (len(pages) - len(kept)), lambda: kept.copy()


def without_duplicates(pages: Pages) -> tuple[int, Callable[[], object]]:
    """Send a page once, and afterwards its number."""
    _, first, back = np.unique(hash_pages(pages), return_index=True, return_inverse=True)
    kept = pages[first]
    return kept.nbytes + 8 * (len(pages) - len(kept)), lambda: kept[back]


def compressed(module: str, level: int) -> Callable[[Pages], tuple[int, Callable[[], object]]]:
    """Compress a batch as a whole; the library may be missing."""

    def encode(pages: Pages) -> tuple[int, Callable[[], object]]:
        found = importlib.import_module(module)
        data = pages.tobytes()
        if module == "zstandard":
            packed = found.ZstdCompressor(level=level).compress(data)
            return len(packed), lambda: found.ZstdDecompressor().decompress(packed)
        packed = found.compress(data, compression_level=level)
        return len(packed), lambda: found.decompress(packed)

    return encode


TECHNIQUES: dict[str, Callable[[Pages], tuple[int, Callable[[], object]]]] = {
    ZEROS: without_zeros,
    "duplicates by hash": without_duplicates,
    "lz4": compressed("lz4.frame", 0),
    "zstd 1": compressed("zstandard", 1),
    "zstd 3": compressed("zstandard", 3),
}


def tried(content: str, technique: str, pages: Pages) -> Saved:
    """Do a technique batch by batch."""
    encode = TECHNIQUES[technique]
    encode_s = decode_s = 0.0
    bytes_out = 0
    for at in range(0, len(pages), _BATCH_PAGES):
        began = time.thread_time()
        out, decode = encode(pages[at : at + _BATCH_PAGES])
        encoded = time.thread_time()
        decode()
        encode_s += encoded - began
        decode_s += time.thread_time() - encoded
        bytes_out += min(out, pages[at : at + _BATCH_PAGES].nbytes)
    return Saved(
        content=content,
        technique=technique,
        pages=len(pages),
        bytes_in=pages.nbytes,
        bytes_out=bytes_out,
        encode_s=encode_s,
        decode_s=decode_s,
    )


def deltas(mib: int) -> Saved:
    """Send of a page that was sent before only the words that differ: 10 bytes each.

    The source must keep what it has sent to know them, a second copy of that memory.
    """
    share = mib / 256
    rate_mb_s = _WRITE_RATE_MB_S * share
    memory = np.zeros((mib + 1) * MIB, dtype=np.uint8)
    params = {"filled": True, "working_set_mib": float(mib), "rate_mb_s": rate_mb_s}
    guest = make_guest(Writer, params, vm_memory_bytes=memory.nbytes, seed=1)
    bind(guest, memory)
    guest.start()
    before = guest.words.copy().reshape(-1, PAGE_WORDS)
    # What it does while the first round of its share of the memory is under way.
    guest.writes_done = int(guest.writes_per_second * _FIRST_ROUND_BYTES / GBE)
    guest.replay([])
    after = guest.words.reshape(-1, PAGE_WORDS)
    encode_s = decode_s = 0.0
    bytes_out = changed = 0
    for at in range(0, len(after), _BATCH_PAGES):
        new, old = after[at : at + _BATCH_PAGES], before[at : at + _BATCH_PAGES]
        began = time.thread_time()
        differs = new != old
        words, values = np.flatnonzero(differs), new[differs]
        encoded = time.thread_time()
        old.reshape(-1)[words] = values
        decode_s += time.thread_time() - encoded
        encode_s += encoded - began
        bytes_out += 10 * len(words)
        changed += int(differs.any(axis=1).sum())
    if not np.array_equal(before, after):
        raise AssertionError("a page put together from deltas differs")
    return Saved(
        content=f"pages re-sent, R={_WRITE_RATE_MB_S:g} MB/s over 256 MiB of 1 GiB",
        technique="delta by words",
        pages=changed,
        bytes_in=changed * PAGE_BYTES,
        bytes_out=bytes_out,
        encode_s=encode_s,
        decode_s=decode_s,
        plain_bytes=int(_FIRST_ROUND_BYTES * share),
    )


def main() -> int:
    options = arguments(__doc__ or "").parse_args()
    mib = 32 if options.quick else 256
    # First, so that it does not hold the others' pages.
    process = process_pages(mib)
    contents = {
        "Python process": process,
        "full writer": writer_pages(mib),
        "source texts": text_pages(mib),
    }
    found = [deltas(mib)]
    for content, pages in contents.items():
        # Zero pages are never sent; the others are judged by what they save beyond that.
        full = pages[~zero_pages(pages)]
        for technique in TECHNIQUES:
            try:
                found.append(tried(content, technique, pages if technique == ZEROS else full))
            except ImportError as error:
                print(f"{technique}: {error}", file=sys.stderr)
    if not options.json:
        print(table(found))
    return finish([claim for one in found for claim in claims_of(one)], as_json=options.json)


def claims_of(one: Saved) -> list[Claim]:
    """Show the gain; what to do with it is a decision and no bar."""
    return [
        Claim(
            claim=f"{one.technique}: time saved at {name}",
            value=one.gain(line),
            unit="share of the time",
            n=one.pages,
            conditions=f"{one.content}; ships from {_SHIPS_AT:g} at 1 GbE",
        )
        for name, line in (("1 GbE", GBE), ("10 GbE", TEN_GBE))
    ]


def table(found: list[Saved]) -> str:
    """One line a technique and content."""
    head = [
        "content",
        "technique",
        "bytes left",
        "encode MB/s",
        "decode MB/s",
        "saved at 1 GbE",
        "at 10 GbE",
    ]
    lines = [
        [
            one.content,
            one.technique,
            f"{one.bytes_out / one.bytes_in:.2f}",
            f"{one.bytes_in / one.encode_s / 1e6:.0f}",
            f"{one.bytes_in / one.decode_s / 1e6:.0f}",
            f"{one.gain(GBE):.0%}",
            f"{one.gain(TEN_GBE):.0%}",
        ]
        for one in found
    ]
    return markdown(head, lines)


if __name__ == "__main__":
    raise SystemExit(main())
