"""Which distance of codes makes a latent attack on DRAW bite? python examples/draw_codes.py RUN

The latent attack moves KL(q(z|x_a) || q(z|x_t)), over all T steps of DRAW. Here it is given other codes: each is a goal
of a few lines. Beside each: how far the attack has lowered the code's distance at the distortion where blending is
compared, and what that did to the image.
"""

import argparse
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
from doubleback.tensors import placed


@dataclass(frozen=True)
class Codes:
    """The target's code at some of DRAW's steps; with `means`, of unit variance: half the squared l2 distance."""

    name: str
    steps: slice
    means: bool
    targeted: bool = True
    about: str = "moves the code to the target's"

    def loss(self, model: doubleback.Autoencoder, source: Tensor, target: Tensor) -> RowLoss:
        """KL(q(z|x) || q(z|x_t)) of the chosen steps."""
        del source

        def code(x: Tensor, noise: Tensor | None) -> DiagonalGaussian:
            q = model.encode(x, noise)
            mean, log_var = (
                part.view(len(x), *model.noise_shape)[:, self.steps].flatten(1) for part in (q.mean, q.log_var)
            )
            return DiagonalGaussian(mean, torch.zeros_like(log_var) if self.means else log_var)

        return lambda x, pair, noise: code(x, noise).kl(code(target.index_select(0, pair), noise))


def codes(steps: int) -> list[Codes]:
    """Some steps of DRAW's, with and without their variances."""
    few = max(1, steps // 4)
    return [
        Codes("KL, all steps", slice(None), False),
        Codes("l2 of the means, all steps", slice(None), True),
        Codes(f"KL, last {few}", slice(-few, None), False),
        Codes(f"l2 of the means, last {few}", slice(-few, None), True),
        Codes(f"KL, first {few}", slice(few), False),
        Codes(f"l2 of the means, first {few}", slice(few), True),
    ]


def at_budget(
    model: doubleback.DRAW, goal: Codes, pairs: tuple[Tensor, Tensor], seed: int, budget: float
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
