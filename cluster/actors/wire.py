"""Frames between a host and its VMs on a Unix socket.

A frame is a JSON object and a payload of bytes; file descriptors may ride along. Both
ends are processes of one user that this project started, in a directory that only this
user can enter.
"""

import json
import socket
import struct
from collections.abc import Sequence

_HEAD = struct.Struct("!II")
_JSON_BYTES_MAX = 1 << 16
PAYLOAD_BYTES_MAX = 1 << 24
_FDS_MAX = 4

Header = dict[str, object]


class WireClosed(Exception):
    """The other end closed its socket, or its process ended."""


def encode(header: Header, payload: bytes = b"") -> bytes:
    """Return a frame's bytes."""
    text = json.dumps(header).encode()
    return _HEAD.pack(len(text), len(payload)) + text + payload


class Decoder:
    """Turns bytes as they arrive into whole frames."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[tuple[Header, bytes]]:
        """Return the frames that `data` completes.

        Raises:
            ValueError: If a frame announces more than the limits.
        """
        self._buffer += data
        frames: list[tuple[Header, bytes]] = []
        while len(self._buffer) >= _HEAD.size:
            text_bytes, payload_bytes = _HEAD.unpack_from(self._buffer)
            if text_bytes > _JSON_BYTES_MAX or payload_bytes > PAYLOAD_BYTES_MAX:
                raise ValueError(
                    f"a frame of {text_bytes} + {payload_bytes} bytes is over the limit"
                )
            end = _HEAD.size + text_bytes + payload_bytes
            if len(self._buffer) < end:
                break
            header = json.loads(self._buffer[_HEAD.size : _HEAD.size + text_bytes])
            frames.append((header, bytes(self._buffer[_HEAD.size + text_bytes : end])))
            del self._buffer[:end]
        return frames


def send_with_fds(sock: socket.socket, header: Header, fds: Sequence[int]) -> None:
    """Send a small frame and duplicates of `fds`; blocks until it has left."""
    data = encode(header)
    sent = socket.send_fds(sock, [data], list(fds))
    if sent < len(data):
        sock.sendall(data[sent:])


def receive_with_fds(sock: socket.socket) -> tuple[Header, list[int]]:
    """Receive one frame that may carry fds; blocks up to the socket's own limit.

    Raises:
        WireClosed: If the other end closed before a whole frame had come.
    """
    decoder, fds = Decoder(), list[int]()
    while True:
        data, received, _, _ = socket.recv_fds(sock, 4096, _FDS_MAX)
        fds += received
        if not data:
            raise WireClosed
        frames = decoder.feed(data)
        if frames:
            return frames[0][0], fds
