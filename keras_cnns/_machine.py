"""The processor of this machine, as Linux describes it. Standard library only."""

import platform
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")


def cpuinfo(field: str) -> str:
    """Return the first value of a field of /proc/cpuinfo.

    "" if there is none.

    Args:
        field: name of the field, such as "model name".
    """
    try:
        with CPUINFO.open(encoding="utf8", errors="replace") as lines:  # one block per core: the first one is enough
            for line in lines:
                name, _, value = line.partition(":")
                if name.strip() == field:
                    return value.strip()
    except OSError:  # other systems have no such file
        pass
    return ""


def instructions() -> list[str]:
    """Return Linux's names of the processor's instruction sets, such as "avx2".

    On other systems the list is empty.
    """
    return (cpuinfo("flags") or cpuinfo("Features")).split()  # "Features" is the field on Arm


def processor() -> str:
    """Return the processor's name, or else its architecture."""
    return cpuinfo("model name") or platform.processor() or platform.machine()
