"""Before the first step: settings that cannot be trained with, the processes to start, and what Ctrl-C does."""

import logging
import math
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from importlib.util import find_spec
from typing import Any, Literal, get_args

import torch
import torch.distributed as dist
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning_fabric.strategies.ddp import DDPStrategy
from lightning_fabric.utilities.exceptions import MisconfigurationException

from doubleback.errors import InputError, LostProcessError
from doubleback.randomness import check_seed

Precision = Literal["32", "64", "bf16-mixed"]


@contextmanager
def interrupt_between_steps() -> Iterator[Any]:
    """Turn the first Ctrl-C into a flag that the loop reads after the step; a second one acts at once."""
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked.is_set
        return

    def ask(*_: object) -> None:
        asked.set()
        signal.signal(signal.SIGINT, signal.default_int_handler)

    before = signal.signal(signal.SIGINT, ask)
    try:
        yield asked.is_set
    finally:
        signal.signal(signal.SIGINT, before)


def check_settings(
    *,
    epochs: int,
    batch_size: int,
    learning_rate: float,
    max_grad_norm: float,
    precision: str,
    cuda_graph: bool,
    devices: int,
    tensorboard: bool,
    seed: int,
) -> None:
    """Refuse what `fit` cannot train with, before anything is written. Args as there.

    Raises:
        InputError: a count under 1, a rate that is not positive, an unknown precision, a seed out of range, batches
            that do not divide over the processes, a CUDA graph without a GPU or of several processes, or TensorBoard is
            not installed.
    """
    check_seed(seed)
    for name, count in (("epochs", epochs), ("batch size", batch_size), ("devices", devices)):
        if count < 1:
            raise InputError(f"{name} is {count}; give a whole number of at least 1")
    for name, value in (("learning rate", learning_rate), ("max gradient norm", max_grad_norm)):
        if not (math.isfinite(value) and value > 0):
            raise InputError(f"{name} is {value}; give a positive number")
    if precision not in get_args(Precision):
        raise InputError(f"precision is {precision!r}; choose one of {', '.join(get_args(Precision))}")
    if batch_size % processes(devices):
        raise InputError(
            f"batch size {batch_size} does not divide over {processes(devices)} processes; give a multiple"
        )
    if cuda_graph and not torch.cuda.is_available():
        raise InputError("a CUDA graph is asked for, but there is no GPU; leave it out")
    if cuda_graph and processes(devices) > 1:
        raise InputError(f"a CUDA graph is of one process, not of {processes(devices)}; leave one of the two out")
    if tensorboard and not find_spec("tensorboard"):
        raise InputError("tensorboard is not installed; pip install 'doubleback[tensorboard]'")


def rank() -> int:
    """This process's number in its run: torchrun's, or that of `devices`, whose processes are started by `launched`."""
    return int(os.environ.get("RANK" if _under_torchrun() else "LOCAL_RANK", "0"))


def processes(devices: int) -> int:
    """How many processes a run has: torchrun's, or else `devices`."""
    return int(os.environ["WORLD_SIZE"]) if _under_torchrun() else devices


def _under_torchrun() -> bool:
    return "TORCHELASTIC_RUN_ID" in os.environ


def launched(devices: int = 1, **settings: Any) -> Fabric:
    """The processes of a run, started: those of torchrun if it has started this one, else `devices` here.

    Nothing else decides it: a job of SLURM, say, is as many runs as it has tasks, unless torchrun joins them.

    Args:
        devices: on this machine; torchrun's own count goes first.
        settings: the others of `Fabric`.

    Raises:
        InputError: there are not so many devices.
    """
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # it announces what nobody asked
    torch.backends.cudnn.allow_tf32 = False  # float32 is float32: a line search and a difference see its last digits
    environment: ClusterEnvironment = LightningEnvironment()
    nodes = 1
    if _under_torchrun():
        devices, nodes = (int(os.environ[name]) for name in ("LOCAL_WORLD_SIZE", "GROUP_WORLD_SIZE"))
        environment = TorchElasticEnvironment()
    if processes(devices) > 1:  # who has less to do waits for the others as long as it takes
        settings["strategy"] = DDPStrategy(timeout=timedelta(days=30))
    try:
        fabric = Fabric(accelerator="auto", devices=devices, num_nodes=nodes, plugins=[environment], **settings)
    except MisconfigurationException as error:
        raise InputError(f"devices is {devices}: {str(error).splitlines()[0]}") from error
    fabric.launch()
    return fabric


@contextmanager
def noticing_lost_processes(kept: str) -> Iterator[None]:
    """Say in one line that another process of this run has died: else it is a page of the network's own errors.

    Args:
        kept: what is not lost, and how to go on.

    Raises:
        LostProcessError: in place of the network's error.
    """
    try:
        yield
    except RuntimeError as error:
        of_the_network = isinstance(error, dist.DistError) or "gloo" in str(error).lower()
        if not of_the_network:
            raise
        raise LostProcessError(f"another process of this run has died; {kept}") from error
