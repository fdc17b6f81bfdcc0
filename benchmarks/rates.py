"""Operations counted, the rate that a device reaches at best, and the device's time without Python's."""

import time
from collections.abc import Callable
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


class MatmulCounter(TorchDispatchMode):
    """Counts the floating-point operations of matrix products and convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.flops = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run the operation, add what it costs."""
        out = func(*args, **(kwargs or {}))
        if func._overloadpacket in flop_registry:
            self.flops += flop_registry[func._overloadpacket](*args, **(kwargs or {}), out_val=out)
        return out


def finish() -> None:
    """Wait for the GPU, if there is one."""
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()


def timed(step: Callable[[], Any], calls: int) -> float:
    """Milliseconds a call."""
    finish()
    started = time.perf_counter()
    for _ in range(calls):
        step()
    finish()
    return 1000 * (time.perf_counter() - started) / calls


def matmul_rate(m: int, k: int, n: int, dtype: torch.dtype = torch.float32) -> float:
    """The best rate of products of an (m, k) and a (k, n) matrix here, in FLOP/s."""
    a, b = torch.randn(m, k, device=DEVICE, dtype=dtype), torch.randn(k, n, device=DEVICE, dtype=dtype)
    return 2 * m * k * n / (min(timed(lambda: a @ b, 20) for _ in range(10)) / 1000)


def device_milliseconds(step: Callable[[], Any], calls: int = 5) -> float:
    """What a call takes a GPU that has it all queued, behind products that give Python a start."""
    a = torch.randn(8192, 8192, device=DEVICE)
    finish()
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    for _ in range(10):
        a @ a
    begin.record()
    for _ in range(calls):
        step()
    end.record()
    finish()
    return float(begin.elapsed_time(end)) / calls
