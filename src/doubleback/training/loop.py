"""One training loop for every model and objective, on Lightning Fabric.

All randomness of a step follows from (seed, step) and the order of an epoch from (seed, epoch). So a run that is
killed and resumed takes the very steps of one that never stopped, and each process of a distributed run draws the
same global batch and noise and keeps its own slice of them.
"""

import math
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from lightning_fabric.loggers.tensorboard import TensorBoardLogger
from torch import Tensor, nn

from doubleback.checkpoints import load_tensors, load_weights, pack_optimizer, save_tensors, unpack_optimizer
from doubleback.data import ImageData
from doubleback.errors import DivergedError, InputError
from doubleback.evaluation import classification_quality, evaluating, reconstruction_quality
from doubleback.files import write_rows
from doubleback.machine import has_bf16
from doubleback.models import Autoencoder, Classifier, is_variational
from doubleback.objective import Classification, Objective
from doubleback.progress import progress_bar
from doubleback.training.batches import Batches
from doubleback.training.graph import GraphedGradients
from doubleback.training.launching import (
    Precision,
    check_settings,
    interrupt_between_steps,
    launched,
    noticing_lost_processes,
)

STATE = Path("checkpoint/state.safetensors")
LOG = Path("log.csv")
UNREAD = {"cuda": 20}  # steps before the loss is read, else 1: a GPU that is asked at every step waits for Python
_FABRIC_PRECISION: dict[str, Any] = {"32": "32-true", "64": "64-true", "bf16-mixed": "bf16-mixed"}


@dataclass
class History:
    """How a training went, so far.

    Attributes:
        rows: a dictionary an epoch: the columns of `log.csv`.
        step: optimiser steps taken.
        seconds: wall time over all resumptions, compiling left out.
        compile_seconds: wall time of the steps in which `torch.compile` worked.
        sums: of the running epoch: of the loss and of each of its terms by name, `steps` and `penalised` steps.
    """

    rows: list[dict[str, float | None]] = field(default_factory=list)
    step: int = 0
    seconds: float = 0.0
    compile_seconds: float = 0.0
    sums: dict[str, float] = field(default_factory=dict)


def fit(
    objective: Objective | Classification | Autoencoder | Classifier,
    images: ImageData,
    *,
    epochs: int = 20,
    batch_size: int = 256,
    learning_rate: float = 3e-3,
    max_grad_norm: float = 30.0,
    seed: int = 0,
    precision: Precision = "32",
    compile: bool = False,
    cuda_graph: bool = False,
    devices: int = 1,
    folder: Path | None = None,
    resume: bool = False,
    identity: str = "",
    tensorboard: bool = False,
    progress: bool = True,
) -> History:
    """Train in place: Adam, a one-cycle learning rate, batches gathered from memory.

    Args:
        objective: what is minimised; a bare autoencoder stands for its negative ELBO, a bare classifier for its
            cross-entropy.
        images: uint8 splits; `train` is learned from, `validation` is watched.
        epochs: passes over `train`.
        batch_size: of all processes together; a last, smaller batch is left out.
        learning_rate: the peak of the one-cycle schedule.
        max_grad_norm: the gradient's 2-norm is clipped here.
        seed: of the order and the noise.
        precision: "32", "64" or "bf16-mixed" (autocast).
        compile: compile the objective, double backward included, and leave the weights of convolutions channels-last
            in memory; the time that compiling takes is told apart.
        cuda_graph: on a GPU, record each kind of step and replay it, Python's share of it gone. The numbers stay the
            same; the model must not look at them (`.item()`, `if tensor:`).
        devices: processes on this machine; under `torchrun` its own processes count instead.
        folder: where the log and the checkpoint go; None leaves nothing on disk.
        resume: go on from the folder's checkpoint, if there is one.
        identity: what the checkpoint belongs to; another's is refused.
        tensorboard: write `folder/tensorboard` too.
        progress: show a bar with the loss and the time left.

    Returns:
        The history. The trained weights are in the objective's model.

    Raises:
        InputError: a setting is out of range, or the checkpoint belongs to something else.
        DivergedError: the loss stopped being finite; the last good weights are in the model and the checkpoint.
        LostProcessError: another process of the run has died.
        KeyboardInterrupt: passed on after the running step (on a GPU after at most `UNREAD` more), its state saved.
    """
    check_settings(
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        max_grad_norm=max_grad_norm,
        precision=precision,
        cuda_graph=cuda_graph,
        devices=devices,
        tensorboard=tensorboard,
        seed=seed,
    )
    if tensorboard and folder is None:
        raise InputError("tensorboard is asked for without a folder; give the folder to write to")
    loggers: Any = (
        [TensorBoardLogger(root_dir=folder, name="tensorboard", version="")] if tensorboard and folder else []
    )
    fabric = launched(devices, precision=_FABRIC_PRECISION[precision], loggers=loggers)
    if precision == "bf16-mixed" and fabric.is_global_zero and not has_bf16():
        print("doubleback: bf16 is slower than float32 on this machine; precision 32 is the faster", file=sys.stderr)
    run = _Run(
        fabric,
        _as_objective(objective),
        images,
        epochs=epochs,
        batch_size=min(batch_size, len(images.train) // fabric.world_size * fabric.world_size),
        learning_rate=learning_rate,
        max_grad_norm=max_grad_norm,
        seed=seed,
        compiled=compile,
        graphed=cuda_graph,
        folder=folder,
        identity=identity,
    )
    kept = "the last finished epoch is kept, resume from it" if folder else "train again"
    run.start(resume)
    with noticing_lost_processes(kept), run.bar(progress) as advance, interrupt_between_steps() as interrupted:
        for _ in range(run.history.step, run.steps):
            stop = run.step(interrupted())
            advance()
            if stop:
                run.save()
                raise KeyboardInterrupt
    return run.history


def lay_channels_last(module: nn.Module) -> None:
    """Lay the weights of its convolutions out as oneDNN and cuDNN compute, else they convert them at every step."""
    for part in module.modules():
        if isinstance(part, (nn.Conv2d, nn.ConvTranspose2d)):
            part.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's hint has no layout


def _as_objective(given: Objective | Classification | Autoencoder | Classifier) -> Objective | Classification:
    if isinstance(given, (Objective, Classification)):
        return given
    return Objective(given) if isinstance(given, Autoencoder) else Classification(given)


class _Run:
    """A training in progress: everything that a checkpoint must bring back is in here."""

    def __init__(
        self,
        fabric: Fabric,
        objective: Objective | Classification,
        images: ImageData,
        *,
        epochs: int,
        batch_size: int,
        learning_rate: float,
        max_grad_norm: float,
        seed: int,
        compiled: bool,
        graphed: bool,
        folder: Path | None,
        identity: str,
    ) -> None:
        if batch_size < 1:
            raise InputError(f"there are {len(images.train)} images for {fabric.world_size} processes; start fewer")
        if not isinstance(objective.model, nn.Module):
            raise InputError(f"the model is a {type(objective.model).__name__}; give a torch.nn.Module to train")
        self.fabric, self.objective, self.model, self.images = fabric, objective, objective.model, images
        self.batches = Batches(fabric, images.train, batch_size, seed)
        self.max_grad_norm = max_grad_norm
        self.compiled, self.graphed, self.folder, self.identity = compiled, graphed, folder, identity
        self.steps = epochs * self.batches.in_epoch
        if fabric.strategy.precision.precision == "64-true":
            objective.double()
        if compiled:
            lay_channels_last(objective)
        self.optimizer = torch.optim.Adam(objective.parameters(), lr=learning_rate, fused=True)
        self.scheduler = torch.optim.lr_scheduler.OneCycleLR(
            self.optimizer, max_lr=learning_rate, total_steps=max(self.steps, 2)
        )
        module: Any = torch.compile(objective) if compiled else objective
        # the compiled objective goes inside DDP: what splits a graph around DDP cannot take a derivative inside it
        self.module, self.wrapped_optimizer = fabric.setup(module, self.optimizer, _reapply_compile=False)
        self.history = History()
        self._kinds: dict[bool, Callable[..., Tensor]] = {}
        self._names: tuple[str, ...] = ()
        self._unread: list[tuple[Tensor, float]] = []

    def step(self, interrupted: bool) -> bool:
        """Take one optimiser step; close the epoch after its last. Returns whether any process was interrupted."""
        started = time.perf_counter()
        history, step = self.history, self.history.step
        weight = self.objective.penalty_weight(step, self.steps)
        first = (weight > 0) not in self._kinds
        self._unread.append((self._gradients_of(weight)(*self.batches.share(self.objective, step)), weight))
        self.wrapped_optimizer.step()
        self.scheduler.step()
        self.wrapped_optimizer.zero_grad()
        history.step += 1
        closing = history.step % self.batches.in_epoch == 0
        due = closing or len(self._unread) >= UNREAD.get(self.fabric.device.type, 1)
        stop = due and self._read(interrupted)
        self._time(time.perf_counter() - started, "penalised" if weight > 0 else "plain", first)
        if closing:
            self._close_epoch(weight)
        return stop

    def _gradients_of(self, weight: float) -> Callable[..., Tensor]:
        """`_learn` with this weight, as a graph if so asked: one for plain steps, one for penalised."""
        kind = weight > 0
        if kind not in self._kinds:
            learn = partial(self._learn, weight)
            self._kinds[kind] = GraphedGradients(learn, self.objective.parameters()) if self.graphed else learn
        return self._kinds[kind]

    def _learn(self, weight: float, *share: Tensor | None) -> Tensor:
        """Leave the clipped gradient in the parameters; return the loss and each term's mean."""
        terms = self.module(*share, weight > 0)
        loss = self.objective.total(terms, weight)
        self.fabric.backward(loss)
        self.fabric.clip_gradients(
            self.module, self.wrapped_optimizer, max_norm=self.max_grad_norm, error_if_nonfinite=False
        )
        self._names = ("loss", *terms._fields)
        return torch.stack([loss.detach(), *(term.detach().mean() for term in terms)])

    def _read(self, interrupted: bool) -> bool:
        """Add up the steps not read yet, over all processes. Returns whether any of these was interrupted."""
        rows = torch.stack([values for values, _ in self._unread])
        flags = rows.new_full((len(rows), 1), float(interrupted))
        reduced = self.fabric.all_reduce(torch.cat([rows, flags], dim=1))
        assert isinstance(reduced, Tensor)
        first = self.history.step - len(rows) + 1
        for step, ((_, weight), (*values, _)) in enumerate(zip(self._unread, reduced.tolist(), strict=True), first):
            if not all(map(math.isfinite, values)):
                self._diverge(f"the loss became {values[0]}", step)
            added = dict(zip(self._names, values, strict=True)) | {"steps": 1.0, "penalised": float(weight > 0)}
            for name, new in added.items():
                self.history.sums[name] = self.history.sums.get(name, 0.0) + new
        self._unread = []
        return bool(reduced[-1, -1] > 0)

    def _time(self, seconds: float, kind: str, first: bool) -> None:
        """Count a step's seconds; with `compile`, those of the first of a kind are the compiler's."""
        if not (self.compiled and first):
            self.history.seconds += seconds
            return
        self.history.compile_seconds += seconds
        if self.fabric.is_global_zero:
            print(f"doubleback: compiled the {kind} step in {seconds:.1f} s", file=sys.stderr)

    def _diverge(self, what: str, step: int) -> None:
        self._unpack(*self._good)
        raise DivergedError(
            f"{what} at step {step} of {self.steps}; lower the learning rate or the penalty weight "
            "(the last good weights are kept)"
        )

    def _close_epoch(self, weight: float) -> None:
        started = time.perf_counter()
        history = self.history
        sums, steps, penalised = history.sums, history.sums["steps"], history.sums["penalised"]
        means: dict[str, float | None] = {name: total / steps for name, total in sums.items()}
        del means["steps"], means["penalised"]
        row: dict[str, float | None] = {
            "epoch": history.step // self.batches.in_epoch,
            "step": history.step,
            "seconds": round(history.seconds, 3),
            "learning_rate": self.optimizer.param_groups[0]["lr"],
        }
        if isinstance(self.objective, Objective):
            means["penalty"] = sums["penalty"] / penalised if penalised else None
            means["kl"] = means["kl"] if is_variational(self.objective.model) else None
            row["penalty_weight"] = weight
        row |= means
        row |= {f"validation_{name}": value for name, value in self._validated().items()}
        history.rows.append(row)
        history.sums = {}
        self.fabric.log_dict({k: v for k, v in row.items() if v is not None}, step=history.step)
        history.seconds += time.perf_counter() - started
        self.save()

    def _validated(self) -> dict[str, float | None]:
        """How well the model does on the validation images."""
        split = self.images.validation
        with evaluating(self.model):
            if isinstance(self.objective, Classification):
                return classification_quality(self.objective.model, split)
            quality = reconstruction_quality(self.objective.model, split.images)
        return {
            "reconstruction": quality["reconstruction_nll"],
            "kl": quality["kl"],
            "l2": quality["reconstruction_l2"],
        }

    def start(self, resume: bool) -> None:
        """Take up the folder's checkpoint if there is one to resume; otherwise write the first."""
        self.module.train()
        if not all(parameter.isfinite().all() for parameter in self.objective.parameters()):
            raise InputError("the model's weights are not finite to begin with; build or load it anew")
        if resume and self.folder and (self.folder / STATE).exists():
            self._unpack(*load_tensors(self.folder / STATE, self.identity))
        self.save()

    def save(self) -> None:
        """Keep the state, in memory and (rank 0) on disk; the log beside it."""
        if not all(parameter.isfinite().all() for parameter in self.objective.parameters()):
            self._diverge("a weight is no longer finite", self.history.step)
        self._good = self._pack()
        if self.folder is not None and self.fabric.is_global_zero:
            save_tensors(self.folder / STATE, self._good[0], self.identity, self._good[1])
            write_rows(self.folder / LOG, self.history.rows)

    def _pack(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        moments, groups = pack_optimizer(self.optimizer)
        parts = {"model": self.model.state_dict(), "optimizer": moments}
        tensors = {f"{part}.{name}": value.clone() for part, named in parts.items() for name, value in named.items()}
        return tensors, {"groups": groups, "scheduler": self.scheduler.state_dict(), "history": asdict(self.history)}

    def _unpack(self, tensors: dict[str, Tensor], state: dict[str, Any]) -> None:
        parts: dict[str, dict[str, Tensor]] = {"model": {}, "optimizer": {}}
        for name, value in tensors.items():
            part, key = name.split(".", 1)
            parts[part][key] = value
        load_weights(self.model, parts["model"], self.folder or STATE)
        unpack_optimizer(self.optimizer, parts["optimizer"], state["groups"])
        self.scheduler.load_state_dict(state["scheduler"])
        self.history = History(**state["history"])

    @contextmanager
    def bar(self, shown: bool) -> Iterator[Any]:
        """A progress bar with the loss of the running epoch and the time left."""
        shown = shown and self.fabric.is_global_zero
        with progress_bar("training", self.steps, shown, completed=self.history.step) as update:

            def advance() -> None:
                sums = self.history.sums
                counts = {name: sums["penalised" if name == "penalty" else "steps"] for name in sums}
                shown = [name for name in sums if name not in ("loss", "steps", "penalised") and counts[name]]
                update(1, "  ".join(f"{name.replace('_', ' ')} {sums[name] / counts[name]:.4g}" for name in shown))

            yield advance
