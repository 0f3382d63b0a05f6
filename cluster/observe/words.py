"""Figures in words: how seconds, bytes and counts are printed for people, everywhere alike."""

from cluster.inventory.model import MIB


def seconds(value_s: float) -> str:
    """Three significant digits in the unit that fits: 340 µs, 16.5 ms, 1.25 s, 75 min."""
    size = abs(value_s)
    if size == 0.0:
        return "0 s"
    if size < 0.9995e-3:
        return f"{value_s * 1e6:.3g} µs"
    if size < 0.9995:
        return f"{value_s * 1e3:.3g} ms"
    if size < 999.5:
        return f"{value_s:.3g} s"
    return f"{value_s / 60:,.0f} min"


def size(value_bytes: float) -> str:
    """Binary units for memory and bytes sent: 640 KiB, 64 MiB, 1.5 GiB."""
    if value_bytes < MIB:
        return f"{value_bytes / 1024:.0f} KiB"
    if value_bytes < 1024 * MIB:
        return f"{value_bytes / MIB:.0f} MiB"
    if value_bytes < 1024 * 1024 * MIB:
        return f"{value_bytes / (1024 * MIB):.1f} GiB"
    return f"{value_bytes / (1024 * 1024 * MIB):.1f} TiB"


def rate(value_bytes_per_second: float) -> str:
    """Decimal units for links, as their makers count: 125 MB/s, 1.25 GB/s."""
    if value_bytes_per_second < 0.9995e6:
        return f"{value_bytes_per_second / 1e3:.0f} kB/s"
    if value_bytes_per_second < 0.9995e9:
        return f"{value_bytes_per_second / 1e6:.3g} MB/s"
    return f"{value_bytes_per_second / 1e9:.3g} GB/s"


def count(number: int, singular: str, plural: str | None = None) -> str:
    """A number with its noun: 1 host, 1,000 hosts, no hosts."""
    if number == 1:
        return f"1 {singular}"
    return f"{f'{number:,}' if number else 'no'} {plural or singular + 's'}"


def clock(time_s: float) -> str:
    """Time in a run as minutes and seconds, with hours once there are any: 01:05, 2:00:00."""
    minutes, secs = divmod(int(time_s), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{secs:02}" if hours else f"{minutes:02}:{secs:02}"
