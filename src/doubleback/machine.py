"""What figures are made on: the processor or GPU, the cores, the versions; no names, no paths. Has it bf16?"""

import os
import platform
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch


def cores() -> int:
    """How many this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def machine() -> dict[str, Any]:
    """`processor`, `cores`, `gpu` (None without one), `python` and `torch`, as JSON takes them."""
    return {
        "processor": _processor(),
        "cores": cores(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def has_bf16() -> bool:
    """Are matrix products in bf16 faster here than in float32? A GPU is asked, a processor tried.

    Without bf16 units a processor takes up to a hundred times as long for them.
    """
    if torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return 1.2 * _product_seconds(torch.bfloat16) < _product_seconds(torch.float32)


def _product_seconds(dtype: torch.dtype) -> float:
    """Of one product of 256 x 256 matrices: the best of a few."""
    a, b = torch.ones(2, 256, 256, dtype=dtype)
    taken = []
    for _ in range(5):
        started = time.perf_counter()
        a @ b
        taken.append(time.perf_counter() - started)
    return min(taken)


def _processor() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
