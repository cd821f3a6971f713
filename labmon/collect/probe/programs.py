"""What programs print that are found on several systems: df, who, date, nvidia-smi. Pure."""

from datetime import UTC, datetime

from labmon.collect.probe.output import INT, Lines, is_int, known, match, share


def disk(lines: Lines) -> dict[str, float]:
    """Of `stat -f` (blocks: all, free, free for users) or of `df -P -k` (its last columns)."""
    if found := match(rf"statfs ({INT}) ({INT}) ({INT})", lines):
        total, free, available = int(found[1]), int(found[2]), int(found[3])
        used = total - free
    elif found := match(rf"\S.* ({INT}) +({INT}) +({INT}) +\d+% +/\S*", lines):
        used, available = int(found[2]), int(found[3])
    else:
        return {}
    return known(disk_percent=share(used, used + available))


def people(lines: Lines) -> dict[str, float]:
    """Of `who`: distinct names."""
    return {"logged_in_users": len({line.split()[0] for line in lines if line.split()})}


def time(lines: Lines) -> datetime | None:
    """`date +%s.%N`; where date has no %N it prints a letter, or nothing, for it."""
    found = match(r"(\d{1,12})(?:\.(\d{1,9}))?\D{0,5}", lines)
    if not found:
        return None
    micro = int((found[2] or "0").ljust(9, "0")[:6])
    try:
        return datetime.fromtimestamp(int(found[1]), UTC).replace(microsecond=micro)
    except (ValueError, OverflowError, OSError):
        return None


def gpu(lines: Lines) -> dict[str, float]:
    """Of `nvidia-smi`: load %, memory used and there in MiB, degrees; "[N/A]" and the like where unknown.

    Of AMD's driver: load %, memory used and there in bytes, thousandths of degrees; "-" where unknown. A card
    that tells nothing at all ("[GPU is lost]") does not count; with a driver that hangs none is counted.
    """
    loads: list[float] = []
    memory: list[tuple[float, float]] = []
    degrees: list[float] = []
    count = 0
    for line in lines:
        if line.startswith("amd "):
            words, byte, degree = line.split()[1:], 1, 1000
        else:
            words, byte, degree = line.replace(" ", "").split(","), 1 << 20, 1
        if len(words) != 4:
            continue
        load, used, total, heat = (int(word) if is_int(word) else None for word in words)
        count += (load, used, total, heat) != (None,) * 4
        if load is not None:
            loads.append(load)
        if used is not None and total:
            memory.append((used * byte, total * byte))
        if heat is not None and heat / degree < 150:
            degrees.append(heat / degree)
    return known(
        gpu_count=count if lines and "hangs" not in lines else None,
        gpu_percent=sum(loads) / len(loads) if loads else None,
        gpu_memory_percent=share(sum(used for used, _ in memory), sum(total for _, total in memory)),
        gpu_temperature_celsius=max(degrees, default=None),
    )
