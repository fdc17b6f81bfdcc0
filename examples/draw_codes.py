"""What must a latent attack on DRAW move, to bite? python examples/draw_codes.py RUN

The latent attack moves KL(q(z|x_a) || q(z|x_t)), over all T steps of DRAW. Here it moves other things that DRAW makes
on its way: codes of some steps, states of the decoder, canvases. Each is a goal of a few lines. Beside each: how far
the attack has lowered its distance at the distortion where blending is compared, and what that did to the image.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

import doubleback
from doubleback.attacks import Attack, Output
from doubleback.attacks.goals import RowLoss
from doubleback.auditing import draw_pairs
from doubleback.data import Split
from doubleback.distributions import DiagonalGaussian
from doubleback.evaluation import reconstruct
from doubleback.metrics.curve import adversarial_distance, distortion
from doubleback.models.draw import side_by_side
from doubleback.tensors import placed


@dataclass(frozen=True)
class Matched:
    """What DRAW makes on its way, moved to what it makes of the target: KL(made(x) || made(x_t)).

    What has no variance of its own is given a variance of 1: then the KL is half the squared L2 distance.
    """

    name: str
    made: Callable[[doubleback.DRAW, Tensor, Tensor | None], DiagonalGaussian]
    targeted: bool = True
    about: str = "moves what DRAW makes on its way to what it makes of the target"

    def loss(self, model: doubleback.Autoencoder, source: Tensor, target: Tensor) -> RowLoss:
        """The KL for each row."""
        assert isinstance(model, doubleback.DRAW)
        del source
        with torch.no_grad():
            without_noise = self.made(model, target, None)

        def of(x: Tensor, pair: Tensor, noise: Tensor | None) -> Tensor:
            aim = without_noise.at(pair)
            if noise is not None:
                aim = self.made(model, target.index_select(0, pair), noise)
            return self.made(model, x, noise).kl(aim)

        return of


def point(rows: Tensor) -> DiagonalGaussian:
    """These numbers, (B, ...), each with a variance of 1."""
    return DiagonalGaussian(rows.flatten(1), torch.zeros_like(rows.flatten(1)))


def posteriors(steps: slice) -> Callable[[doubleback.DRAW, Tensor, Tensor | None], DiagonalGaussian]:
    """The codes of some steps."""

    def made(model: doubleback.DRAW, x: Tensor, noise: Tensor | None) -> DiagonalGaussian:
        return side_by_side([q for q, _ in model.trajectory(x, noise)][steps])

    return made


def means(steps: slice) -> Callable[[doubleback.DRAW, Tensor, Tensor | None], DiagonalGaussian]:
    """The means of the codes of some steps."""
    return lambda model, x, noise: point(posteriors(steps)(model, x, noise).mean)


def canvases(steps: slice) -> Callable[[doubleback.DRAW, Tensor, Tensor | None], DiagonalGaussian]:
    """The canvases after some steps, as pixels."""

    def made(model: doubleback.DRAW, x: Tensor, noise: Tensor | None) -> DiagonalGaussian:
        return point(torch.stack([c.sigmoid() for _, c in model.trajectory(x, noise)][steps], dim=1))

    return made


def decoder_states(steps: slice) -> Callable[[doubleback.DRAW, Tensor, Tensor | None], DiagonalGaussian]:
    """The hidden states of the decoder after some steps. Everything that is painted is painted from them."""

    def made(model: doubleback.DRAW, x: Tensor, noise: Tensor | None) -> DiagonalGaussian:
        states: list[Tensor] = []
        hook = model.decoder.register_forward_hook(lambda _, __, given: states.append(given[0]))
        try:
            for _ in model.trajectory(x, noise):
                pass
        finally:
            hook.remove()
        return point(torch.stack(states[steps], dim=1))

    return made


def codes(steps: int) -> list[Matched]:
    """What a latent attack on DRAW may move."""
    few, half = max(1, steps // 4), max(1, steps // 2)
    return [
        Matched("KL, all steps", posteriors(slice(None))),
        Matched("l2 of the means, all steps", means(slice(None))),
        Matched(f"KL, last {few}", posteriors(slice(-few, None))),
        Matched(f"l2 of the means, last {few}", means(slice(-few, None))),
        Matched(f"KL, first {few}", posteriors(slice(few))),
        Matched(f"l2 of the means, first {few}", means(slice(few))),
        Matched("decoder states, all steps", decoder_states(slice(None))),
        Matched("last decoder state", decoder_states(slice(-1, None))),
        Matched("canvases, all steps", canvases(slice(None))),
        Matched(f"canvases, first {few}", canvases(slice(few))),
        Matched(f"canvas after {half}", canvases(slice(half - 1, half))),
    ]


def at_budget(
    model: doubleback.DRAW, goal: Matched, pairs: tuple[Tensor, Tensor], seed: int, budget: float
) -> tuple[float, ...]:
    """At a distortion of at most `budget`: the code's distance to the target's, and v, of the attack and of a blend.

    Of a full sweep of 51 coefficients; medians over the pairs, the code's distance as a share of that at the source.
    """
    source, target = pairs
    x_adv = Attack(goal, search=doubleback.Search(seed=seed))(model, source, target).x_adv
    loss, every = goal.loss(model, source, target), torch.arange(len(source))
    rec_source, rec_target = reconstruct(model, source), reconstruct(model, target)

    def reached(x: Tensor) -> tuple[Tensor, Tensor]:
        K = x.shape[1]
        share = loss(x.flatten(0, 1), every.repeat_interleave(K), None).view(-1, K) / loss(source, every, None)[:, None]
        rec = reconstruct(model, x.flatten(0, 1)).view_as(x)
        return share, adversarial_distance(rec, rec_source, rec_target, target)

    with torch.no_grad():
        u = distortion(x_adv, source, target)
        share, v = reached(x_adv)
        place = torch.where(u <= budget, share, torch.inf).argmin(1, keepdim=True)
        blended = reached(source.lerp(target, budget)[:, None])
    return tuple(t.median().item() for t in (share.gather(1, place), v.gather(1, place), *blended))


def main(arguments: list[str] | None = None) -> dict[str, float]:
    """Attack with each code, print a line for each.

    Returns:
        By code, the mean AUDDC of the latent attack (envelope convention).
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="a run folder of `doubleback train --model draw`")
    parser.add_argument("--split", choices=("validation", "test"), default="validation")
    parser.add_argument("--pairs", type=int, default=20)
    parser.add_argument("--coefficients", type=int, default=25)
    parser.add_argument("--budget", type=float, default=0.3, help="the distortion of the comparison with blending")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(arguments)
    run = doubleback.load_run(given.run)
    if not isinstance(run.model, doubleback.DRAW):
        parser.error(f"{given.run} holds a {type(run.model).__name__}; give a run of --model draw")
    split: Split = getattr(run.images(), given.split)

    goals = codes(run.model.noise_shape[0])
    results = doubleback.audit(
        run.model,
        split.images,
        split.labels,
        attacks=[Output(), *goals],
        pairs=given.pairs,
        coefficients=given.coefficients,
        seed=given.seed,
    ).results()
    areas = {name: attack["auddc"]["envelope"]["mean"] for name, attack in results["attacks"].items()}
    ceiling = results["ceiling"]["mean"]
    print(f"ceiling (blending) {ceiling:.3f}   output attack {areas['output']:.3f}")
    print(f"{'latent attack on':30} AUDDC  of ceiling   at u = {given.budget}: code, v   blend: code, v")
    source, target = draw_pairs(len(split.images), split.labels, given.pairs, given.seed)
    pairs = (placed(run.model, split.images[source]), placed(run.model, split.images[target]))
    for goal in goals:
        code, v, blend_code, blend_v = at_budget(run.model, goal, pairs, given.seed, given.budget)
        row = f"{goal.name:30} {areas[goal.name]:.3f}  {areas[goal.name] / ceiling:6.0%}"
        print(f"{row}                    {code:5.2f} {v:5.2f}         {blend_code:5.2f} {blend_v:5.2f}", flush=True)
    return {goal.name: areas[goal.name] for goal in goals}


if __name__ == "__main__":
    main()
