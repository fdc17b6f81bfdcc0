"""The processes of a run and the machine that they are on: who this one is, how they start, what they may use.

Torch and Lightning Fabric are imported when they are needed, so that settings can be checked without them.
"""

import logging
import os
import platform
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from doubleback.errors import InputError, LostProcessError

if TYPE_CHECKING:
    import torch
    from lightning_fabric import Fabric


_OF_TORCHRUN = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "GROUP_WORLD_SIZE")


def rank() -> int:
    """This process's number in its run: torchrun's, or that of `devices`, whose processes `launched` starts.

    Raises:
        InputError: the environment does not say it as torchrun does.
    """
    if _under_torchrun():
        return _number("RANK")
    number = _number("LOCAL_RANK") if "LOCAL_RANK" in os.environ else 0
    if number and "MASTER_PORT" not in os.environ:
        raise InputError(
            f"LOCAL_RANK is {number} in the environment, but the other variables of torchrun are missing; unset it"
        )
    return number


def check_environment() -> None:
    """Refuse what torch's relatives would trip over as they are imported: they read ranks there and then.

    Raises:
        InputError: a variable of the environment that is to hold a rank or a number of processes holds none.
    """
    for name in (*_OF_TORCHRUN, "SLURM_PROCID", "JSM_NAMESPACE_RANK"):
        if name in os.environ or (_under_torchrun() and name in _OF_TORCHRUN):
            _number(name)
    rank()


def processes(devices: int = 1) -> int:
    """How many processes a run has: torchrun's, or else `devices`. Raises as `rank`."""
    return _number("WORLD_SIZE", least=1) if _under_torchrun() else devices


def _under_torchrun() -> bool:
    return "TORCHELASTIC_RUN_ID" in os.environ


def _number(name: str, least: int = 0) -> int:
    """A variable of the environment that says a number of processes, or which of them this is."""
    said = os.environ.get(name)
    if said is None:
        raise InputError(f"TORCHELASTIC_RUN_ID is set and {name} is not; start this with torchrun, or unset the former")
    if not said.isdecimal() or int(said) < least:
        raise InputError(f"{name} is {said!r} in the environment; unset it, or let torchrun set it")
    return int(said)


def launched(devices: int = 1, **settings: Any) -> "Fabric":
    """The processes of a run, started: those of torchrun if it has started this one, else `devices` here.

    Nothing else decides it: a job of SLURM, say, is as many runs as it has tasks, unless torchrun joins them.

    Args:
        devices: on this machine; torchrun's own count goes first.
        settings: the others of `Fabric`.

    Raises:
        InputError: there are not so many devices.
    """
    from lightning_fabric import Fabric
    from lightning_fabric.plugins.environments.cluster_environment import ClusterEnvironment
    from lightning_fabric.plugins.environments.lightning import LightningEnvironment
    from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment
    from lightning_fabric.strategies.ddp import DDPStrategy
    from lightning_fabric.utilities.exceptions import MisconfigurationException

    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # it announces what nobody asked
    environment: ClusterEnvironment = LightningEnvironment()
    nodes = 1
    rank()  # refused before anything is started
    if _under_torchrun():
        devices, nodes = (_number(name, least=1) for name in ("LOCAL_WORLD_SIZE", "GROUP_WORLD_SIZE"))
        environment = TorchElasticEnvironment()
    if processes(devices) > 1:  # who has less to do waits for the others as long as it takes
        settings["strategy"] = DDPStrategy(timeout=timedelta(days=30))
    try:
        fabric = Fabric(accelerator="auto", devices=devices, num_nodes=nodes, plugins=[environment], **settings)
    except MisconfigurationException as error:
        raise InputError(f"devices is {devices}: {str(error).splitlines()[0]}") from error
    fabric.launch()
    return fabric


def alone(command: str) -> "torch.device":
    """The device of a command that is for one process: the accelerator, if there is one.

    Raises:
        InputError: torchrun has started several processes, which would all do the same.
    """
    if processes() > 1:
        raise InputError(f"{command} is for one process; start it without torchrun")
    device: torch.device = launched().device
    return device


@contextmanager
def noticing_lost_processes(kept: str) -> Iterator[None]:
    """Say in one line that another process of this run has died: else it is a page of the network's own errors.

    Args:
        kept: what is not lost, and how to go on.

    Raises:
        LostProcessError: instead of the network's error.
    """
    import torch.distributed as dist

    try:
        yield
    except RuntimeError as error:
        of_the_network = isinstance(error, dist.DistError) or "gloo" in str(error).lower()
        if not of_the_network:
            raise
        raise LostProcessError(f"another process of this run has died; {kept}") from error


def has_gpu() -> bool:
    """Is there a GPU that torch can use?"""
    import torch

    return torch.cuda.is_available()


def cores() -> int:
    """How many this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


_OF_WAITING = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME", "OMP_NUM_THREADS")


def yield_while_waiting() -> bool:
    """Where others use the cores, have OpenMP's threads sleep while they wait for each other; returns whether.

    They turn in circles else, each for its share of a core, while the one that they wait for gets none: a training took
    ten times as long beside two busy processes. On a free machine busy waiting is faster, so it stays. No figure
    depends on it. It holds for libraries that are loaded after this; what the user has set stays.
    """
    chosen = any(name in os.environ for name in _OF_WAITING)
    if chosen or "torch" in sys.modules or cores_taken() < max(0.5, 0.1 * cores()):
        return False
    os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
    return True


def cores_taken() -> float:
    """How many cores' worth of work others do on this machine: now, or, if that was more, in the last minute."""
    lately = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    now = psutil.cpu_percent(interval=0.1) / 100 * (psutil.cpu_count() or 1)
    return max(lately, float(now))


def free_memory() -> int:
    """Free bytes, with the page cache that the system can give up, within the limits of this process."""
    return max(0, min(int(psutil.virtual_memory().available), _left_of_address_space(), _left_of_container()))


def _left_of_address_space() -> int:
    """Bytes below the limit that `ulimit -v` sets."""
    try:
        import resource
    except ImportError:  # Windows
        return sys.maxsize
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    return sys.maxsize if limit == resource.RLIM_INFINITY else limit - int(psutil.Process().memory_info().vms)


def _left_of_container() -> int:
    """Bytes below the limit of the control group (version 2) that this process is in."""
    group = Path("/sys/fs/cgroup")
    try:
        limit, used = ((group / name).read_text().strip() for name in ("memory.max", "memory.current"))
        return int(limit) - int(used)
    except (OSError, ValueError):  # none, or "max"
        return sys.maxsize


def refuse_too_large(needed: float, what: str) -> None:
    """Refuse what memory cannot hold, before it is tried.

    Args:
        needed: bytes.
        what: what they are for, and what to make smaller: "the model (784 x 10 weights); give smaller sizes".

    Raises:
        InputError: there are not so many free bytes.
    """
    free = free_memory()
    if needed > free:
        thing, _, advice = what.partition("; ")
        raise InputError(f"{thing} needs {needed / 2**30:.3g} GB of memory, and {free / 2**30:.3g} are free; {advice}")


def peak_memory_mb() -> float | None:
    """This process's peak resident memory; None where the system does not say."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if platform.system() == "Darwin" else 2**10)


def machine() -> dict[str, Any]:
    """What figures are made on, without names or paths, as JSON takes it.

    Returns:
        `processor`, `cores`, `gpu` (None without one), `python` and `torch`.
    """
    import torch

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
    import torch

    if torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return 1.2 * _product_seconds(torch.bfloat16) < _product_seconds(torch.float32)


def _product_seconds(dtype: "torch.dtype") -> float:
    """Of one product of 256 x 256 matrices: the best of a few."""
    import torch

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
