"""'L-infinity, 8/255: how far does the reconstruction go?', and 'how little moves it by r?', for a batch of images."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor, nn

from doubleback.attacks import Attack, Damage, Latent, Output, Within
from doubleback.attacks.rows import Advance
from doubleback.attacks.weighing import bounded
from doubleback.auditing.measures import Seen
from doubleback.auditing.measures import damage as change
from doubleback.errors import InputError
from doubleback.evaluation import answer
from doubleback.models import Autoencoder, as_victim
from doubleback.models.base import acquaint, attacked, decodes
from doubleback.randomness import Stream, generator
from doubleback.settings import Budget, Search
from doubleback.settings.ball import Norm
from doubleback.settings.checks import positive
from doubleback.settings.threat import eps_as_given
from doubleback.state import at_work
from doubleback.tensors import Images, placed
from doubleback.tensors import norm as length_of

HALVINGS = 20  # of the interval in which the r-margin lies
STEPS = 40  # of each


@dataclass(frozen=True)
class Damaged:
    """What N images have become at E eps; of a single eps without the first dimension.

    Attributes:
        distance: (E, N), ||x_hat(x_adv) - x_hat(x)||_2, a mean over fresh noise where the model is stochastic.
        x_adv: (E, N, C, H, W) in [0, 1].
        reconstruction: of these, on the mean path.
    """

    distance: Float[Tensor, "*E N"]
    x_adv: Float[Tensor, "*E N C H W"]
    reconstruction: Float[Tensor, "*E N C H W"]


def damage(
    model: Autoencoder | nn.Module,
    x: Images,
    *,
    eps: str | float | Sequence[str | float],
    norm: Norm = "Linf",
    target: Images | None = None,
    steps: int = 100,
    restarts: int = 5,
    samples: int = 0,
    seed: int = 0,
    advance: Advance | None = None,
) -> Damaged:
    """How far the reconstruction of each image goes within ||d|| <= eps (maximum damage, Kuzina et al. 2022), by APGD.

    Args:
        model: any autoencoder, wrapped or not; for an encoder alone the code is measured instead of the reconstruction.
        x: images (N, C, H, W), a tensor or a NumPy array, uint8 or in [0, 1].
        eps: one or several; numbers, or words such as "8/255"; under Linf in units of a pixel.
        norm: "Linf" or "L2".
        target: images, one for each: the reconstruction (the code, of an encoder alone) is moved there, not anywhere.
        steps: gradients of each start.
        restarts: random starts, beside the image and the best that is known.
        samples: draws of the model's noise that each step averages, and that score; 0: the mean path.
        seed: of the starts and the noise.
        advance: told how many row-steps are done, of N * E * steps * (2 + restarts): for a progress bar.

    Raises:
        InputError: as `Budget`, `Search` and `tensors.as_images`; or there is not one target for each image.

    >>> import doubleback
    >>> model, x = doubleback.VAE((1, 8, 8)).eval(), torch.rand(2, 1, 8, 8)
    >>> doubleback.damage(model, x, eps="8/255", steps=5, restarts=0).distance.shape
    torch.Size([2])
    """
    model, given = as_victim(model), eps_as_given(eps)
    towards = Output() if decodes(model) else Latent("l2")
    goal = Damage() if target is None else towards
    attack = Attack(goal, Budget(norm, given), Search(steps, restarts, samples, seed))
    with at_work(model, attacked(model), warn=True):
        source = placed(model, x)
        acquaint(model, source)
        with bounded(model, source[:1]):
            found = attack(model, source, source if target is None else target, advance=advance)
            x_adv = found.x_adv.transpose(0, 1)
            before, after = answer(model, source), [answer(model, adversarial) for adversarial in x_adv]
            made = torch.stack([one.mean for one in after])
            if samples:
                noise = torch.randn(samples, *model.noise_shape, generator=generator(seed, Stream.SCORE)).to(source)
                distance = torch.stack([_changes(model, source, x_adv, draw) for draw in noise]).mean(0)
            else:
                distance = torch.stack(
                    [change(Seen(source, z, before, one)) for z, one in zip(x_adv, after, strict=True)]
                )
    parts = (distance, x_adv, made)
    return Damaged(*parts) if not isinstance(eps, str | int | float) else Damaged(*(part[0] for part in parts))


def _changes(model: Autoencoder, x: Tensor, x_adv: Float[Tensor, "E N ..."], draw: Tensor | None) -> Tensor:
    """The L2 change of each reconstruction, (E, N), with this draw of the noise."""
    before = answer(model, x, draw)
    return torch.stack([change(Seen(x, one, before, answer(model, one, draw))) for one in x_adv])


def r_margin(
    model: Autoencoder | nn.Module,
    x: Images,
    r: float,
    *,
    norm: Norm = "L2",
    steps: int = STEPS,
    restarts: int = 0,
    seed: int = 0,
) -> Float[Tensor, "N"]:
    """The smallest ||d|| that changes each reconstruction by more than r (Camuto et al. 2021; Barrett 2021).

    It is an upper bound, as with every attack. The search halves an interval; APGD attacks at each radius.

    Args:
        model, x: as in `damage`.
        r: the 2-norm of the change, in units of a pixel.
        norm: of d, "L2" or "Linf".
        steps: gradients at each of the 20 radii.
        restarts, seed: as in `damage`.

    Returns:
        (N,), inf where no d in the box changes it by so much.

    Raises:
        InputError: r is not positive; as `damage`.
    """
    positive(r=r)
    model = as_victim(model)
    with at_work(model, attacked(model), warn=True):
        source = placed(model, x)
        acquaint(model, source)
        with bounded(model, source[:1]):
            return _halved(model, source, r, norm, Search(steps, restarts, seed=seed))


def _halved(model: Autoencoder, source: Tensor, r: float, name: Norm, search: Search) -> Tensor:
    whole = source[0].numel() ** 0.5 if name == "L2" else 1.0
    low, high = source.new_zeros(len(source)), source.new_full((len(source),), whole)
    attack = Attack(Damage(), Within(name, high[:, None]), search)
    least = source.new_full((len(source),), torch.inf)
    near = None
    for place in range(HALVINGS + 1):
        radius = high if place == 0 else (low + high) / 2  # first: is there any at all?
        known = None if near is None else near[:, None, None]
        x_adv = replace(attack, capability=Within(name, radius[:, None], known))(model, source, source).x_adv[:, 0]
        change_of_each = _changes(model, source, x_adv[None], None)[0]
        if bool(change_of_each.isnan().any()):
            raise InputError("a reconstruction is not finite; check the model and the images for NaN")
        moved = change_of_each > r
        d = (x_adv - source).flatten(1)
        length = length_of(d) if name == "L2" else d.abs().amax(1)
        near = x_adv if near is None else torch.where(moved.view(-1, *[1] * (x_adv.dim() - 1)), x_adv, near)
        least = torch.where(moved, torch.minimum(least, length), least)
        high = torch.where(moved, length, high)
        low = torch.where(moved, low, radius).minimum(high)
    return least
