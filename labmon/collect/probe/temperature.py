"""Which of the temperatures that Linux tells is the processor's. Pure.

Drivers name their sensors as they like: `coretemp` and `k10temp` on PCs, `cpu-thermal`, `CPU-therm`,
`cpu0-0-top-thermal` or `bigcore0-thermal` on small boards, where older kernels know one sensor for the whole
chip (`bcm2835_thermal`, `imx_thermal_zone`, `tsens_tz_sensor0`). So each name is put into a class, and the
hottest sensor of the best class that has any counts: processor, package, chip, and last what the main board
calls the processor's.
"""

import re

from labmon.collect.probe.output import Lines, known

_ELSEWHERE = re.compile(
    r"gpu|ddr|dram|mem|modem|mdm|wifi|wlan|wcn|iwl|usb|pch|acpi|int3400|bat|charg|pmic|board|skin|fan|cputin|"
    r"npu|nsp|camera|video|display|audio|lpass|q6|tdiode"
)
_CLASSES = (
    re.compile(r"cpu|core|cluster|apss|b0d4|k8temp|k10temp|zenpower"),  # B0D4: Intel's name for the processor
    re.compile(r"pkg|package|tj-"),
    re.compile(r"soc|bcm2|imx|tsens|exynos|armada|ap-ic|hisi|sunxi|rockchip|qoriq|thermal-zone|chip|main\d"),
)
BOARD = len(_CLASSES)
"""The class of a processor's sensor that is not in the processor."""

_CHIPS = re.compile(r".*(cpu|core|soc|thermal|temp|zenpower|tsens|imx|bcm2).*")
"""Chips of hwmon whose every temperature belongs to what the chip is called after."""


def cpu(lines: Lines) -> dict[str, float]:
    """From lines `hwmon CHIP MILLIDEGREES LABEL` and `zone MILLIDEGREES TYPE`."""
    found: dict[int, list[int]] = {}
    # Tctl of some AMD processors has an offset of up to 27 degrees; Tdie beside it has none.
    tdie = any(line.endswith(" Tdie") for line in lines)
    for line in lines:
        if chip := re.fullmatch(r"hwmon (\S+) (-?\d{1,7}) ?(.*)", line, re.ASCII):
            name, value, label = chip[1], int(chip[2]), chip[3]
            if tdie and label == "Tctl":
                continue
            kind = _class(name)
            if not _CHIPS.fullmatch(_plain(name)):
                kind = BOARD if _class(label) is not None else None
        elif zone := re.fullmatch(r"zone (-?\d{1,7}) (.+)", line, re.ASCII):
            kind, value = _class(zone[2]), int(zone[1])
        else:
            continue
        if kind is not None and -50_000 < value < 150_000 and value != 0:
            found.setdefault(kind, []).append(value)
    return known(cpu_temperature_celsius=max(found[min(found)]) / 1000 if found else None)


def _class(name: str) -> int | None:
    """The place in `_CLASSES`; None for what is no processor's."""
    name = _plain(name)
    if _ELSEWHERE.search(name):
        return None
    return next((place for place, pattern in enumerate(_CLASSES) if pattern.search(name)), None)


def _plain(name: str) -> str:
    return name.lower().replace("_", "-")
