"""How a training runs: its steps, its arithmetic, its processes."""

from dataclasses import dataclass
from importlib.util import find_spec
from typing import Annotated, Literal, get_args

from tyro.conf import arg

from doubleback.errors import InputError
from doubleback.processes import has_gpu, processes
from doubleback.settings.checks import LEFT_OUT, Settings, Unsaid, at_least, one_of, positive, seed_in_range
from doubleback.settings.headings import Heading

Precision = Literal["32", "64", "bf16-mixed", "fast"]


@dataclass(frozen=True)
class Loop(Settings):
    """The training loop: Adam, a one-cycle learning rate, clipped gradients.

    Raises:
        InputError: a count is under 1, a rate is not positive, the precision is unknown, or the seed is out of range;
            a CUDA graph is asked for without a GPU or with several processes; or TensorBoard is not installed.
    """

    HEADING = Heading.TRAINING

    epochs: Annotated[
        Unsaid[int], arg(metavar="N", help_behavior_hint="(default: as measured, 8 to 80; 5 with --init; 15 in harden)")
    ] = LEFT_OUT
    """Passes over the training images."""
    batch_size: Annotated[Unsaid[int], arg(metavar="N", help_behavior_hint="(default: as measured, 128 or 256)")] = (
        LEFT_OUT
    )
    """Images in one step, over all processes. A last, smaller batch is left out."""
    learning_rate: Annotated[
        Unsaid[float], arg(metavar="X", help_behavior_hint="(default: as measured, 0.001 to 0.003)")
    ] = LEFT_OUT
    """Highest learning rate of the one-cycle schedule."""
    max_grad_norm: float = 30.0
    """Longer gradients are clipped to this norm."""
    seed: int = 0
    """Seed of the weights, the order of the images, and the noise."""
    precision: Annotated[Precision, Heading.MACHINE] = "32"
    """Precision of the arithmetic. fast: bf16-mixed where that is several times faster, else 32."""
    compile: Annotated[bool, Heading.MACHINE] = False
    """Compile the loss with torch.compile. It takes half a minute, and pays on long runs."""
    cuda_graph: Annotated[bool, Heading.MACHINE] = False
    """Record a step on the GPU and replay it: faster, with the same numbers."""
    devices: Annotated[int, Heading.MACHINE] = 1
    """How many processes train on this machine. Under torchrun, torchrun decides."""
    tensorboard: Annotated[bool, Heading.OUTPUT] = False
    """Write files for TensorBoard, too. Needs pip install 'doubleback[tensorboard]'."""

    def __post_init__(self) -> None:
        seed_in_range(self.seed)
        at_least(1, epochs=self.epochs, batch_size=self.batch_size, devices=self.devices)
        positive(learning_rate=self.learning_rate, max_grad_norm=self.max_grad_norm)
        one_of(get_args(Precision), precision=self.precision)
        if self.cuda_graph:
            self._check_cuda_graph(processes(self.devices))
        if self.tensorboard and not find_spec("tensorboard"):
            raise InputError("tensorboard is not installed; pip install 'doubleback[tensorboard]'")

    def check_shares(self) -> None:
        """Refuse a batch size that the processes cannot share equally. Settings that are only read skip this check.

        Raises:
            InputError: the batch size is not a multiple of the number of processes.
        """
        count = processes(self.devices)
        if self.batch_size is not None and self.batch_size % count:
            raise InputError(f"batch size {self.batch_size} does not divide over {count} processes; give a multiple")

    @staticmethod
    def _check_cuda_graph(count: int) -> None:
        if not has_gpu():
            raise InputError("a CUDA graph is asked for, but there is no GPU; leave it out")
        if count > 1:
            raise InputError(f"a CUDA graph works in one process, not in {count}; leave one of the two out")
