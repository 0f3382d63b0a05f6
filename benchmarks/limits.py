"""What this machine can do at best, measured beside a benchmark. Not a benchmark itself."""

import statistics
import subprocess
import sys
import time

import numpy as np

_COPY_BYTES = 512 << 20
_STREAM_BYTES = 2 << 30
_CHUNK_BYTES = 1 << 20
_START_S_MAX = 30.0

_SENDER = """
import socket, sys
sock = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
left, chunk = int(sys.argv[2]), bytes(int(sys.argv[3]))
while left > 0:
    left -= sock.send(chunk)
"""
_RECEIVER = """
import socket, sys, time
server = socket.create_server(("127.0.0.1", 0))
print(server.getsockname()[1], flush=True)
sock, _ = server.accept()
buffer, total, began = bytearray(int(sys.argv[1])), 0, None
while (got := sock.recv_into(buffer)):
    began = began or time.monotonic()
    total += got
print(total, began, time.monotonic(), flush=True)
"""


def memcpy_bytes_per_second(samples: int = 5) -> float:
    """Return what one thread copies between two touched buffers, the median of a few."""
    source = np.ones(_COPY_BYTES, dtype=np.uint8)
    there = np.ones_like(source)
    rates = []
    for _ in range(samples):
        began = time.perf_counter()
        np.copyto(there, source)
        rates.append(_COPY_BYTES / (time.perf_counter() - began))
    return statistics.median(rates)


def tcp_bytes_per_second(streams: int = 1, nbytes: int = _STREAM_BYTES) -> float:
    """Return what `streams` connections over loopback carry together; a process at each end."""
    share = nbytes // streams
    receivers = [
        subprocess.Popen(
            [sys.executable, "-c", _RECEIVER, str(_CHUNK_BYTES)], stdout=subprocess.PIPE, text=True
        )
        for _ in range(streams)
    ]
    ports = [one.stdout.readline().strip() for one in receivers]
    senders = [
        subprocess.Popen([sys.executable, "-c", _SENDER, port, str(share), str(_CHUNK_BYTES)])
        for port in ports
    ]
    said = [one.communicate(timeout=_START_S_MAX)[0].split() for one in receivers]
    for one in senders:
        one.wait(_START_S_MAX)
    total = sum(int(count) for count, _, _ in said)
    first, last = min(float(b) for _, b, _ in said), max(float(e) for _, _, e in said)
    return total / (last - first)
