"""The C library's heap: keep freed buffers instead of handing them back to the system on every call.

glibc serves large buffers by mapping fresh pages and unmaps them when they are freed. A decoder frees and asks for the
same large buffers all the time, and spends up to a third of its time on page faults. Raising two thresholds makes freed
buffers stay in the process. It changes no result, and the process's resident memory stays at its peak.
"""

from __future__ import annotations

import ctypes
import platform

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_NEVER = 2**31 - 1


def keep_memory() -> bool:
    """Make this process keep freed memory for reuse; whether the C library has these settings (glibc has)."""
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return bool(mallopt(_M_MMAP_THRESHOLD, _NEVER)) and bool(mallopt(_M_TRIM_THRESHOLD, _NEVER))
