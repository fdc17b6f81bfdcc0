"""`harden`: a trained autoencoder made to withstand more, within a budget of reconstruction (and of rate)."""

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from doubleback.checkpoints import tensors_of
from doubleback.data import ImageData, Split
from doubleback.data.given import as_data
from doubleback.errors import InputError, said_in_a_line
from doubleback.hardening.budget import Measured, WithinBudget, balanced, looked_at, measured
from doubleback.hardening.freezing import frozen
from doubleback.models.base import Autoencoder, acquaint, decodes, encodes
from doubleback.models.victim import Wrapped
from doubleback.models.wrapping import as_victim
from doubleback.objective import ELBO, Loss, Objective
from doubleback.objective.losses import Deployed, InEvaluation, Said, weights_of
from doubleback.objective.penalties.taken import acts_otherwise
from doubleback.settings.checks import not_negative
from doubleback.settings.hardening import Hardening, share_of
from doubleback.settings.loop import Loop
from doubleback.settings.penalty import Penalty
from doubleback.state import at_work, evaluating, refuse_untrainable
from doubleback.tensors import Images, norm, placed
from doubleback.training.batches import let_in
from doubleback.training.history import History
from doubleback.training.home import Home
from doubleback.training.loop import fit_at

Owners = Callable[[Any, Tensor], Tensor]
"""A user's own loss: (net, x) -> a number for each image, or one for all; x in [0, 1]."""

LOOP = Loop(epochs=15, batch_size=256, learning_rate=2e-3)  # of our own models, as measured on MNIST
GENTLE = Loop(epochs=15, batch_size=32, learning_rate=2e-4)  # of somebody else's, whose loop nobody knows
_GUESSED = ("epochs", "batch_size", "learning_rate")
BALANCED = 256  # training images from which the weights of its loss are read


@dataclass(frozen=True, eq=False)
class Twin:
    """The same model, trained on as long without the penalty.

    Attributes:
        measured: on the images that decided.
        weights: by name.
        history: how it went.
    """

    measured: Measured
    weights: dict[str, Tensor]
    history: History


@dataclass(frozen=True, eq=False)
class Hardened:
    """A model that was hardened, and what that has cost.

    Attributes:
        model: the victim itself, with its new weights, in evaluation mode.
        within: how much its measures might grow, as a share.
        start, end: what it measured before and after, on the validation images that decided.
        weight: of the penalty, when the weights were taken that it has now; 0: they are those of the start.
        steps: that had been taken by then.
        penalty_start, penalty_end: the mean penalty there, before and after.
        latents_moved: mean of ||z_after - z_before|| / ||z_before||, z the code's mean; None: no code.
        twin: the model that was trained on without the penalty; None: none was.
        history: how it went.
    """

    model: Any
    within: float
    start: Measured
    end: Measured
    weight: float
    steps: int
    penalty_start: float
    penalty_end: float
    latents_moved: float | None
    twin: Twin | None
    history: History

    def results(self) -> dict[str, Any]:
        """What `results.json` holds under `harden`."""
        names = ("within", "weight", "steps", "penalty_start", "penalty_end", "latents_moved")
        found = {name: getattr(self, name) for name in names}
        found |= {"start": _said(self.start), "end": _said(self.end), "seconds": self.history.seconds}
        return found | ({"twin": _said(self.twin.measured)} if self.twin else {})

    def __repr__(self) -> str:
        start, end, twin = (_said(one) for one in (self.start, self.end, self.twin.measured if self.twin else None))
        measures = [f"{name} {start[name]:.4g} -> {end[name]:.4g}" for name in start]
        measures += [f"of the twin {name} {value:.4g}" for name, value in twin.items()]
        return ", ".join([*measures, f"penalty {self.penalty_start:.4g} -> {self.penalty_end:.4g}"])


def _said(found: Measured | None) -> dict[str, float]:
    return {} if found is None else {name: value for name, value in asdict(found).items() if value is not None}


def harden(
    model: Autoencoder | nn.Module,
    images: ImageData | Split | Images | Iterable[Any],
    within: float | str = 0.02,
    loss: Loss | Owners | None = None,
    *,
    settings: Hardening | None = None,
    home: Home | None = None,
    progress: bool = True,
    **changes: Any,
) -> Hardened:
    """Continue a model's training, in place, so that it withstands more and reconstructs (nearly) as well.

    Args:
        model: a trained autoencoder; one that is not known yet is wrapped (`doubleback.wrap`).
        images: `train` is learned from, `validation` decides; or images, of which a part is held out (`data.given`).
        within: how much the reconstruction's L2, and the rate of a codec, may grow on validation images, as a share,
            0.02 or "2%"; 0: not at all.
        loss: what it is trained on with the penalty: (net, x) -> one number, or one for each image, x in [0, 1]. None:
            for a model of this package its negative ELBO; for another its reconstruction as deployed, the KL of its
            code, its rate, its commitment, with weights estimated from the model.
        settings: the rest of it; its own `within` and `loss` are not read.
        home: where logs and checkpoints go; None leaves nothing on disk.
        progress: show bars with the time left.
        changes: fields of `settings` by name, such as `penalty`, `freeze`, `alone` or `epochs`.

    Returns:
        The model, within the budget, and the cost. If no new weights are within the budget, it has its old weights,
        and `weight` is 0.

    Raises:
        InputError: a setting is out of range, the model has no reconstruction, or nothing can be trained; or as `fit`.
        DivergedError: as `fit`; the model has its old weights again.
    """
    settings = (settings or Hardening()).changed(**changes)
    within = share_of(within) if isinstance(within, str) else within
    not_negative(within=within)
    if settings.loop.cuda_graph:
        raise InputError("the weight of the penalty changes all the time, and a CUDA graph keeps one; leave it out")
    victim: Any = as_victim(model)
    if not decodes(victim):
        raise InputError("an encoder alone has no reconstruction to keep; give a whole autoencoder")
    refuse_untrainable(victim.net if isinstance(victim, Wrapped) else victim)
    data = let_in(as_data(images), victim)
    acquaint(victim, placed(victim, data.validation.images[:1]))
    settings = _filled(settings, ours=not isinstance(victim, Wrapped))
    before = _weights(victim)
    codes = _codes(victim, data.validation.images[:64])
    twin = None
    try:
        with torch.enable_grad(), frozen(victim, settings.freeze, data.validation.images[:2]):
            with said_in_a_line("the gradient of the model's loss"):
                own = _loss(victim, loss, data)
                _try_on(victim, own, data.train.images[:2])
            if not settings.alone:
                inside, alike = home and home.inside("twin"), Objective(victim, "none", loss=own)
                trained = fit_at(inside, alike, data, settings.loop, progress)
                twin = Twin(measured(victim, looked_at(data.validation)), _weights(victim), trained)
                victim.load_state_dict(before)
            budget = WithinBudget(_penalised(victim, settings.penalty, own, data), data.validation, within)
            first = budget.least.item()
            history = fit_at(home, budget, data, settings.loop, progress)
            end = budget.keep()
            if not budget.kept_weight:
                victim.load_state_dict(before)
    except BaseException:
        victim.load_state_dict(before)
        raise
    victim.eval()
    after = _codes(victim, data.validation.images[:64])
    return Hardened(
        model=victim,
        within=within,
        start=budget.start,
        end=end if budget.kept_weight else budget.start,
        weight=budget.kept_weight.item(),
        steps=int(budget.kept_step.item()),
        penalty_start=first,
        penalty_end=float(budget.least) if budget.kept_weight else first,
        latents_moved=None if codes is None or after is None else _moved(codes, after),
        twin=twin,
        history=history,
    )


def _filled(settings: Hardening, *, ours: bool) -> Hardening:
    """The settings; what was left out suits a model of this package, or is gentle with somebody else's."""
    usual = LOOP if ours else GENTLE
    settings = settings.filled(penalty_start=0.0, **{name: getattr(usual, name) for name in _GUESSED})
    wide = not ours and settings.penalty.penalty == "spectral"  # many stretches of its code are near 1 (hardening.md)
    return settings.filled(margin=0.0) if wide else settings


def _weights(victim: Any) -> dict[str, Tensor]:
    return {name: one.clone() for name, one in tensors_of(victim).items()}


def _penalised(victim: Any, penalty: Penalty, loss: Loss, data: ImageData) -> Objective:
    """The objective, whose weight begins where the penalty pulls as hard as the loss."""
    objective = Objective(victim, penalty.filled(penalty_weight=1.0), loss=loss)
    if penalty.penalty_weight is not None:
        return objective
    x = placed(victim, data.train.images[:BALANCED])
    objective.prepare(x[:2])
    return Objective(victim, objective.settings.changed(penalty_weight=balanced(objective, x)), loss=loss)


def _loss(victim: Any, said: Loss | Owners | None, data: ImageData) -> Loss:
    """The owner's loss, or one that is read off from the model; in evaluation mode, in which the budget is measured."""
    if said is None and not isinstance(victim, Wrapped):
        said = ELBO()
    if isinstance(said, ELBO) and acts_otherwise(victim):
        return InEvaluation(said)
    if isinstance(said, Loss):
        return said
    if said is not None:
        return Said(said, victim.net if isinstance(victim, Wrapped) else victim)
    with evaluating(victim):
        return Deployed(weights_of(victim, placed(victim, data.train.images[:BALANCED])))


def _try_on(victim: Any, loss: Loss, images: Tensor) -> None:
    """Take the loss and its gradient once, before hours of work; nothing is kept."""
    x, learning = placed(victim, images), [one for one in victim.parameters() if one.requires_grad]
    with evaluating(victim):
        total = loss.total(loss(victim, x, x.new_zeros(len(x), *victim.noise_shape)))
        if not total.isfinite():
            raise InputError(f"the loss of the model as it is now is {total.item()}; correct the loss, or the model")
        if total.requires_grad:
            torch.autograd.grad(total, learning, allow_unused=True)


def _codes(victim: Any, images: Tensor) -> Tensor | None:
    """The means of the codes, flat; None without codes."""
    if not encodes(victim):
        return None
    with at_work(victim), torch.no_grad():
        mean: Tensor = victim.encode(placed(victim, images)).mean
        return mean.flatten(1)


def _moved(before: Tensor, after: Tensor) -> float:
    shares = norm(after - before) / norm(before).clamp_min(1e-12)
    return float(shares.mean())
