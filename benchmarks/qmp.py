"""One QEMU process of a head to head: start it, talk to it, hear its guest. Not a benchmark."""

import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

BINARY = "qemu-system-x86_64"
_GUEST = Path(__file__).parent / "qemu" / "guest.c"
_CFLAGS = [
    "-m64",
    "-O2",
    "-ffreestanding",
    "-fno-pic",
    "-no-pie",
    "-mno-red-zone",
    "-mgeneral-regs-only",
    "-mcmodel=small",
    "-fno-stack-protector",
    "-fno-asynchronous-unwind-tables",
    "-nostdlib",
    "-static",
    "-Wall",
    "-Wextra",
    "-Wl,-N",
    "-Wl,-Ttext=0x100000",
    "-Wl,--build-id=none",
    "-Wl,-z,noexecstack",
    "-Wl,-e,start",
    "-Wl,--no-warn-rwx-segments",
]
_START_S_MAX = 60.0
# Touching gigabytes takes a while where others do as well.
_ANSWER_S_MAX = 120.0


class QemuFailed(Exception):
    """QEMU did not start, ended, or refused a command; the message is QEMU's own."""


def missing() -> str:
    """Return why there can be no head to head here; empty if there can."""
    lacking = [name for name in (BINARY, "gcc", "objcopy") if shutil.which(name) is None]
    if lacking:
        return f"{', '.join(lacking)} not found; Debian has them in qemu-system-x86, gcc, binutils"
    return ""


def version() -> str:
    """Return QEMU's own name for itself."""
    said = subprocess.run([BINARY, "--version"], capture_output=True, text=True, check=True)
    found = re.search(r"version (\S+)", said.stdout)
    return f"QEMU {found.group(1)}" if found else said.stdout.splitlines()[0]


def build_guest(directory: Path) -> Path:
    """Compile the guest.

    QEMU's multiboot loader takes 32-bit files only, whatever code is in them.
    """
    wide, narrow = directory / "guest64", directory / "guest"
    subprocess.run(["gcc", *_CFLAGS, str(_GUEST), "-o", str(wide)], check=True)
    subprocess.run(["objcopy", "-O", "elf32-i386", str(wide), str(narrow)], check=True)
    return narrow


@dataclass(slots=True)
class Heard:
    """What a guest said on its debug port.

    Attributes:
        beats_s: When each heartbeat was read, `time.monotonic()`.
        writes: (time, writes done), twice a second.
    """

    beats_s: list[float] = field(default_factory=list)
    writes: list[tuple[float, int]] = field(default_factory=list)


class Qemu:
    """A QEMU with our guest, touched memory, and a heartbeat that is listened to."""

    def __init__(
        self,
        directory: Path,
        name: str,
        *,
        kernel: Path,
        memory_mib: int,
        writes_per_second: float,
        working_set_mib: int,
        accelerator: str,
        incoming: bool,
    ) -> None:
        """Start it; with `incoming` it waits for a migration, and its guest for that."""
        self.heard = Heard()
        self._listening = True
        command = str(directory / f"{name}.qmp")
        beats = str(directory / f"{name}.beats")
        self._log = directory / f"{name}.log"
        line = f"rate={round(writes_per_second)} ws={working_set_mib} mib={memory_mib}"
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                [
                    *(BINARY, "-accel", accelerator, "-machine", "pc,memory-backend=ram"),
                    *("-m", f"{memory_mib}M"),
                    *("-object", f"memory-backend-ram,id=ram,size={memory_mib}M,prealloc=on"),
                    *("-nodefaults", "-no-user-config", "-display", "none"),
                    *("-kernel", str(kernel), "-append", line),
                    *("-chardev", f"socket,id=beats,path={beats},server=on,wait=off"),
                    *("-device", "isa-debugcon,iobase=0xe9,chardev=beats"),
                    *("-qmp", f"unix:{command},server=on,wait=off"),
                    *(("-incoming", "defer") if incoming else ()),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        try:
            self._beats = self._connect(beats)
            self._command = self._connect(command)
            self._lines = self._command.makefile("r")
            self._read()  # the greeting
            self.ask("qmp_capabilities")
        except BaseException:
            self._process.kill()
            self._process.wait()
            raise
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def ask(self, command: str, **arguments: object) -> dict:
        """Return the answer to a command.

        Raises:
            QemuFailed: If QEMU refuses it, or is gone.
        """
        text = json.dumps({"execute": command, "arguments": arguments})
        try:
            self._command.sendall(text.encode() + b"\n")
            while True:
                said = self._read()
                if "error" in said:
                    raise QemuFailed(f"{command}: {said['error']['desc']}")
                if "return" in said:
                    return said["return"]
        except OSError as error:
            raise QemuFailed(f"{command}: {error}; {self._log.read_text()[-500:]}") from error

    def capabilities(self) -> set[str]:
        """Return the migration capabilities that this version knows."""
        return {one["capability"] for one in self.ask("query-migrate-capabilities")}

    def set_up(self, capabilities: dict[str, bool], parameters: dict[str, object]) -> None:
        """Set migration capabilities and parameters."""
        wanted = [{"capability": name, "state": on} for name, on in capabilities.items()]
        self.ask("migrate-set-capabilities", capabilities=wanted)
        self.ask("migrate-set-parameters", **parameters)

    def until_beating(self, limit_s: float = _START_S_MAX) -> bool:
        """Wait for a second heartbeat; False when none came in time."""
        end = time.monotonic() + limit_s
        while time.monotonic() < end and self._process.poll() is None:
            if len(self.heard.beats_s) > 1:
                return True
            time.sleep(0.05)
        return False

    def close(self) -> None:
        """End the process; safe to call twice."""
        self._listening = False
        with contextlib.suppress(OSError):
            self._command.close()
        self._process.kill()
        self._process.wait()
        self._listener.join(_ANSWER_S_MAX)

    def _connect(self, path: str) -> socket.socket:
        end = time.monotonic() + _START_S_MAX
        while time.monotonic() < end:
            made = socket.socket(socket.AF_UNIX)
            made.settimeout(_ANSWER_S_MAX)
            try:
                made.connect(path)
                return made
            except OSError:
                made.close()
            if self._process.poll() is not None:
                break
            time.sleep(0.02)
        raise QemuFailed(f"QEMU does not start: {self._log.read_text()[-500:]}")

    def _read(self) -> dict:
        try:
            line = self._lines.readline()
        except TimeoutError as error:
            raise QemuFailed(f"QEMU has not answered for {_ANSWER_S_MAX:.0f} s") from error
        if not line:
            raise QemuFailed(f"QEMU has ended: {self._log.read_text()[-500:]}")
        return json.loads(line)

    def _listen(self) -> None:
        """Note when each heartbeat comes; runs on a thread of its own."""
        self._beats.settimeout(0.5)
        kept = b""
        while self._listening:
            try:
                said = self._beats.recv(4096)
            except TimeoutError:
                continue
            except OSError:
                return
            if not said:
                return
            now = time.monotonic()
            self.heard.beats_s += [now] * said.count(b".")
            kept = (kept + said.replace(b".", b""))[-256:]
            while (end := kept.find(b"\n")) >= 0:
                word, kept = kept[:end], kept[end + 1 :]
                if re.fullmatch(rb"W[0-9a-f]{16}", word):
                    self.heard.writes.append((now, int(word[1:], 16)))


def accelerator(directory: Path, kernel: Path) -> str:
    """Return "kvm" where a guest really runs with it, else "tcg": /dev/kvm may open and not run."""
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return "tcg"
    try:
        tried = Qemu(
            directory,
            "try",
            kernel=kernel,
            memory_mib=64,
            writes_per_second=0,
            working_set_mib=1,
            accelerator="kvm",
            incoming=False,
        )
    except QemuFailed:
        return "tcg"
    try:
        return "kvm" if tried.until_beating(limit_s=8.0) else "tcg"
    finally:
        tried.close()
