"""One training loop for every model and objective, on Lightning Fabric.

All randomness of a step follows from (seed, step) and the order of an epoch from (seed, epoch). So a run that is
killed and resumed takes exactly the steps of one that never stopped. Each process of a distributed run draws the same
global batch and noise, and keeps its own slice.
"""

import math
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor

from doubleback.checkpoints import (
    alike,
    load_tensors,
    load_weights,
    pack_optimizer,
    save_tensors,
    told_as_damage,
    unpack_optimizer,
)
from doubleback.data import ImageData, Split
from doubleback.data.given import as_data
from doubleback.errors import DivergedError, InputError
from doubleback.files import write_rows
from doubleback.folders import within
from doubleback.models import Autoencoder, Classifier
from doubleback.objective import TrainingObjective, objective_of
from doubleback.processes import has_bf16, launched, noticing_lost_processes
from doubleback.progress import progress_bar
from doubleback.settings.loop import Loop
from doubleback.state import in_training
from doubleback.tensors import Images, as_unit
from doubleback.training.arithmetic import lay_channels_last, settled_precision
from doubleback.training.batches import Batches, let_in
from doubleback.training.graph import GraphedGradients
from doubleback.training.history import History
from doubleback.training.home import Home
from doubleback.training.interrupts import interrupt_between_steps
from doubleback.training.loggers import loggers

STATE = Path("checkpoint/state.safetensors")
LOG = Path("log.csv")
OPTIMIZER = "optimizer."  # begins its tensors' names in the checkpoint; the objective's come first, under their own
UNREAD = {"cuda": 20}  # steps before the loss is read, else 1: a GPU that is asked at every step waits for Python
DEFAULTS = {"epochs": 20, "batch_size": 256, "learning_rate": 3e-3}  # of what is left out
_FABRIC_PRECISION: dict[str, Any] = {"32": "32-true", "64": "64-true", "bf16-mixed": "bf16-mixed"}


def fit(
    objective: TrainingObjective | Autoencoder | Classifier,
    images: ImageData | Split | Images | Iterable[Any],
    settings: Loop | None = None,
    *,
    folder: Path | None = None,
    resume: bool = False,
    identity: str = "",
    progress: bool = True,
    **changes: Any,
) -> History:
    """Train in place: Adam, a one-cycle learning rate, batches gathered from memory.

    Args:
        objective: what is minimised; a bare autoencoder stands for its negative ELBO, a bare classifier for its
            cross-entropy.
        images: `train` is learned from, `validation` watched; of images, a `Split` or a DataLoader: `data.given` draws
            both.
        settings: of the loop; what is left out is 20 epochs of batches of 256 at a learning rate of 3e-3.
        folder: where the log and the checkpoint go; None leaves nothing on disk.
        resume: go on from the folder's checkpoint, if there is one.
        identity: what the checkpoint belongs to; another's is refused.
        progress: show a bar with the loss and the time left.
        changes: fields of `settings` by name, such as `epochs`.

    Returns:
        The history. The trained weights are in the objective's model, which is in the mode, and has the gradients, that
        it had before.

    Raises:
        InputError: a setting is out of range, the images or labels cannot be used (`tensors`), or the checkpoint
            belongs to something else.
        DivergedError: the loss stopped being finite; the last good weights are in the model and the checkpoint.
        LostProcessError: another process of the run has died.
        KeyboardInterrupt: passed on after the running step (on a GPU after at most `UNREAD` more), its state saved.
    """
    if resume and folder is None:
        raise InputError("resume is given without a folder; give the folder with the checkpoint")
    home = Home(folder, identity, resume) if folder else None
    return fit_at(home, objective, images, (settings or Loop()).changed(**changes), progress)


def fit_at(
    home: Home | None,
    objective: TrainingObjective | Autoencoder | Classifier,
    images: ImageData | Split | Images | Iterable[Any],
    settings: Loop,
    progress: bool = True,
) -> History:
    """`fit`, in a home or without one."""
    loop = settled_precision(settings).filled(**DEFAULTS)
    loop.check_shares()
    if loop.tensorboard and home is None:
        raise InputError("tensorboard is given without a folder; give the folder to write to")
    folder = home.folder if home else None
    fabric = launched(loop.devices, precision=_FABRIC_PRECISION[loop.precision], loggers=loggers(loop, folder))
    if loop.precision == "bf16-mixed" and fabric.is_global_zero and not has_bf16():
        print("doubleback: bf16 is slower than float32 on this machine; precision 32 is the faster", file=sys.stderr)
    kept = "the last finished epoch is kept, resume from it" if home else "train again"
    trained = objective_of(objective)
    devices = [fabric.device] if fabric.device.type == "cuda" else []
    with in_training(trained), noticing_lost_processes(kept), torch.random.fork_rng(devices):
        run = _Run(fabric, trained, let_in(as_data(images), trained.model), loop, home)
        run.start()
        with run.bar(progress) as advance, interrupt_between_steps() as interrupted:
            for _ in range(run.history.step, run.steps):
                stop = run.step(interrupted())
                advance()
                if stop:
                    run.save()
                    raise KeyboardInterrupt
        return run.history


class _Run:
    """A training in progress: everything that a checkpoint must bring back is in here."""

    def __init__(
        self, fabric: Fabric, objective: TrainingObjective, images: ImageData, loop: Loop, home: Home | None
    ) -> None:
        batch_size = min(loop.batch_size, len(images.train) // fabric.world_size * fabric.world_size)
        if batch_size < 1:
            raise InputError(f"there are {len(images.train)} images for {fabric.world_size} processes; start fewer")
        self.fabric, self.objective, self.images = fabric, objective, images
        self.loop, self.home = loop, home
        self.batches = Batches(fabric, images.train, batch_size, loop.seed)
        self.steps = loop.epochs * self.batches.in_epoch
        if fabric.strategy.precision.precision == "64-true":
            objective.double()
        if loop.compile:
            lay_channels_last(objective)
        learned = [parameter for parameter in objective.parameters() if parameter.requires_grad]
        self.optimizer = torch.optim.Adam(learned, lr=loop.learning_rate, fused=True)
        self.scheduler = torch.optim.lr_scheduler.OneCycleLR(
            self.optimizer, max_lr=loop.learning_rate, total_steps=max(self.steps, 2)
        )
        module: Any = torch.compile(objective) if loop.compile else objective
        # the compiled objective goes inside DDP: what splits a graph around DDP cannot take a derivative inside it
        self.module, self.wrapped_optimizer = fabric.setup(module, self.optimizer, _reapply_compile=False)
        self.history = History()
        self._graphs: dict[float, GraphedGradients] = {}
        self._taken: dict[bool, tuple[str, ...]] = {}
        self._unread: list[tuple[Tensor, float]] = []

    def step(self, interrupted: bool) -> bool:
        """Take one optimiser step; close the epoch after its last. Returns whether any process was interrupted."""
        started = time.perf_counter()
        history, step = self.history, self.history.step
        weight = self.objective.penalty_weight(step, self.steps)
        first = (weight > 0) not in self._taken
        self._unread.append((self._gradients_of(weight)(*self.batches.share(self.objective, step)), weight))
        self.wrapped_optimizer.step()
        self.scheduler.step()
        self.wrapped_optimizer.zero_grad()
        self.objective.after_step(step, self.steps)
        history.step += 1
        closing = history.step % self.batches.in_epoch == 0
        due = closing or len(self._unread) >= UNREAD.get(self.fabric.device.type, 1)
        stop = due and self._read(interrupted)
        self._time(time.perf_counter() - started, "penalised" if weight > 0 else "plain", first)
        if closing:
            self._close_epoch(weight)
        return stop

    def _gradients_of(self, weight: float) -> Callable[..., Tensor]:
        """`_learn` with this weight; where graphs are asked for, one for each weight, which it holds as a number."""
        learn = partial(self._learn, weight)
        if not self.loop.cuda_graph:
            return learn
        if weight not in self._graphs:
            self._graphs[weight] = GraphedGradients(learn, self.objective.parameters())
        return self._graphs[weight]

    def _learn(self, weight: float, *share: Tensor | None) -> Tensor:
        """Leave the clipped gradient in the parameters; return the loss and each term's mean, 0 for one not taken."""
        terms = self.module(*share, weight > 0)
        loss = self.objective.total(terms, weight)
        self.fabric.backward(loss)
        self.fabric.clip_gradients(
            self.module, self.wrapped_optimizer, max_norm=self.loop.max_grad_norm, error_if_nonfinite=False
        )
        self._taken[weight > 0] = ("loss", *terms)
        means = [terms[name].detach().mean() if name in terms else loss.new_zeros(()) for name in self.objective.terms]
        return torch.stack([loss.detach(), *means])

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
            for name, value in zip(("loss", *self.objective.terms), values, strict=True):
                if name in self._taken[weight > 0]:
                    self.history.sums[name] = self.history.sums.get(name, 0.0) + value
                    self.history.counts[name] = self.history.counts.get(name, 0) + 1
        self._unread = []
        return bool(reduced[-1, -1] > 0)

    def _time(self, seconds: float, kind: str, first: bool) -> None:
        """Count a step's seconds; with `compile`, those of the first of a kind are the compiler's."""
        if not (self.loop.compile and first):
            self.history.seconds += seconds
            return
        self.history.compile_seconds += seconds
        if self.fabric.is_global_zero:
            print(f"doubleback: compiled the {kind} step in {seconds:.1f} s", file=sys.stderr)

    def _diverge(self, what: str, step: int) -> None:
        self._unpack(*self._good)
        raise DivergedError(f"{what} at step {step} of {self.steps}; lower the learning rate or the penalty weight")

    def _close_epoch(self, weight: float) -> None:
        started = time.perf_counter()
        history = self.history
        means = {name: total / history.counts[name] for name, total in history.sums.items()}
        row: dict[str, float | None] = {
            "epoch": history.step // self.batches.in_epoch,
            "step": history.step,
            "seconds": round(history.seconds, 3),
            "learning_rate": self.optimizer.param_groups[0]["lr"],
            **self.objective.logged(weight),
            **{name: means.get(name) for name in ("loss", *self.objective.terms)},
        }
        self._refuse_infinite_weights()
        held_out = self.objective.validated(self.images.validation)
        for name, value in held_out.items():
            if value is not None and not math.isfinite(value):
                self._diverge(f"on validation images the {name.replace('_', ' ')} became {value}", history.step)
        row |= {f"validation_{name}": value for name, value in held_out.items()}
        history.rows.append(row)
        history.sums, history.counts = {}, {}
        self.fabric.log_dict({k: v for k, v in row.items() if v is not None}, step=history.step)
        history.seconds += time.perf_counter() - started
        self.save()

    def start(self) -> None:
        """Take up the home's checkpoint if there is one to go on from; otherwise write the first."""
        if not self._is_finite():
            raise InputError("the model's weights are not finite to begin with; build or load it again")
        parameter = next(self.objective.model.parameters())
        self.objective.prepare(as_unit(self.images.train.images[:2]).to(parameter))
        if self.home and self.home.resume and (self.home.folder / STATE).exists():
            self._resume(self.home.folder / STATE, self.home.identity)
        self.save()

    def _resume(self, path: Path, identity: str) -> None:
        tensors, state = load_tensors(path, identity)
        with told_as_damage(path):
            if not alike(state, self._pack()[1]) or state["history"]["step"] > self.steps:
                raise ValueError("its state is that of no such training")
            self._unpack(tensors, state)

    def save(self) -> None:
        """Keep the state, in memory and (rank 0) on disk; the log beside it."""
        self._refuse_infinite_weights()
        self._good = self._pack()
        if self.home is not None and self.fabric.is_global_zero:
            save_tensors(within(self.home.folder, str(STATE)), self._good[0], self.home.identity, self._good[1])
            write_rows(self.home.folder / LOG, self.history.rows)

    def _refuse_infinite_weights(self) -> None:
        if not self._is_finite():
            self._diverge("a weight is no longer finite", self.history.step)

    def _is_finite(self) -> bool:
        return all(bool(parameter.isfinite().all()) for parameter in self.objective.parameters())

    def _pack(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        moments, groups = pack_optimizer(self.optimizer)
        named = self.objective.state_dict() | {f"{OPTIMIZER}{name}": value for name, value in moments.items()}
        tensors = {name: value.clone() for name, value in named.items()}
        return tensors, {"groups": groups, "scheduler": self.scheduler.state_dict(), "history": asdict(self.history)}

    def _unpack(self, tensors: dict[str, Tensor], state: dict[str, Any]) -> None:
        moments = {name: value for name, value in tensors.items() if name.startswith(OPTIMIZER)}
        weights = {name: value for name, value in tensors.items() if name not in moments}
        load_weights(self.objective, weights, self.home.folder if self.home else STATE)
        moments = {name.removeprefix(OPTIMIZER): value for name, value in moments.items()}
        unpack_optimizer(self.optimizer, moments, state["groups"])
        self.scheduler.load_state_dict(state["scheduler"])
        self.history = History(**state["history"])

    @contextmanager
    def bar(self, shown: bool) -> Iterator[Any]:
        """A progress bar with the loss of the running epoch and the time left."""
        shown = shown and self.fabric.is_global_zero
        with progress_bar("training", self.steps, shown, completed=self.history.step) as update:

            def advance() -> None:
                history = self.history
                means = {name: total / history.counts[name] for name, total in history.sums.items() if name != "loss"}
                update(1, "  ".join(f"{name.replace('_', ' ')} {mean:.4g}" for name, mean in means.items()))

            yield advance
