"""Which distance of codes makes a latent attack on DRAW bite? python examples/draw_codes.py RUN

The latent attack moves KL(q(z|x_a) || q(z|x_t)), over all T steps of DRAW. Here the same attack is given other codes: a
wrapper of a few lines, because an audit sees nothing of a model but the protocol. Beside each: how far the attack has
lowered the code's distance at the distortion where blending is compared, and what that did to the image.
"""

import argparse
from pathlib import Path

import torch
from torch import Tensor, nn

import doubleback
from doubleback.attacks import latent_attack
from doubleback.auditing import draw_pairs
from doubleback.data import Split
from doubleback.distributions import DiagonalGaussian
from doubleback.evaluation import reconstruct
from doubleback.metrics.curve import adversarial_distance, distortion
from doubleback.tensors import placed


class Recoded(nn.Module):
    """DRAW, whose code is that of some steps only, and with unit variances if `means`: half the squared l2 distance."""

    def __init__(self, model: doubleback.DRAW, steps: slice, means: bool) -> None:
        super().__init__()
        self.model, self.steps, self.means = model, steps, means
        self.noise_shape = model.noise_shape

    def encode(self, x: Tensor, noise: Tensor | None = None) -> DiagonalGaussian:
        """The posteriors of the chosen steps, side by side."""
        q = self.model.encode(x, noise)
        mean, log_var = (part.view(len(x), *self.noise_shape)[:, self.steps].flatten(1) for part in (q.mean, q.log_var))
        return DiagonalGaussian(mean, torch.zeros_like(log_var) if self.means else log_var)

    def forward(self, x: Tensor, noise: Tensor | None = None) -> doubleback.Reconstruction:
        """As the model does."""
        reconstruction: doubleback.Reconstruction = self.model(x, noise)
        return reconstruction


def codes(steps: int) -> dict[str, tuple[slice, bool]]:
    """By name: which steps, and whether only the means count."""
    few = max(1, steps // 4)
    return {
        "KL, all steps": (slice(None), False),
        "l2 of the means, all steps": (slice(None), True),
        f"KL, last {few}": (slice(-few, None), False),
        f"l2 of the means, last {few}": (slice(-few, None), True),
        f"KL, first {few}": (slice(few), False),
        f"l2 of the means, first {few}": (slice(few), True),
    }


def at_budget(model: Recoded, split: Split, pairs: int, seed: int, budget: float) -> tuple[float, float, float, float]:
    """At a distortion of at most `budget`: the code's distance to the target's, and v, of the attack and of a blend.

    Of a full sweep of 51 coefficients; medians over the pairs, the code's distance as a share of that at the source.
    """
    source, target = (
        placed(model, split.images[index]) for index in draw_pairs(len(split.images), split.labels, pairs, seed)
    )
    x_adv = latent_attack(model, source, target, seed=seed).x_adv
    blend = source.lerp(target, budget)[:, None]

    with torch.no_grad():
        aim = model.encode(target)
        rec_source, rec_target = reconstruct(model, source), reconstruct(model, target)

        def reached(x: Tensor) -> tuple[Tensor, Tensor]:
            K = x.shape[1]
            q = model.encode(x.flatten(0, 1))
            there = DiagonalGaussian(aim.mean.repeat_interleave(K, 0), aim.log_var.repeat_interleave(K, 0))
            share = q.kl(there).view(-1, K) / model.encode(source).kl(aim)[:, None]
            rec = reconstruct(model, x.flatten(0, 1)).view_as(x)
            return share, adversarial_distance(rec, rec_source, rec_target, target)

        u = distortion(x_adv, source, target)
        share, v = reached(x_adv)
        place = torch.where(u <= budget, share, torch.inf).argmin(1, keepdim=True)
        blend_share, blend_v = reached(blend)
    medians = [t.median().item() for t in (share.gather(1, place), v.gather(1, place), blend_share, blend_v)]
    return medians[0], medians[1], medians[2], medians[3]


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

    settings = {"pairs": given.pairs, "coefficients": given.coefficients, "seed": given.seed}
    output = doubleback.audit(run.model, split.images, split.labels, attacks=("output",), **settings).results()
    ceiling = output["ceiling"]["mean"]
    reached = output["attacks"]["output"]["auddc"]["envelope"]["mean"]
    print(f"ceiling (blending) {ceiling:.3f}   output attack {reached:.3f}")
    print(f"{'latent attack on':30} AUDDC  of ceiling   at u = {given.budget}: code, v   blend: code, v")
    found = {}
    for name, (steps, means) in codes(run.model.noise_shape[0]).items():
        model = Recoded(run.model, steps, means)
        results = doubleback.audit(model, split.images, split.labels, attacks=("latent",), **settings).results()
        found[name] = results["attacks"]["latent"]["auddc"]["envelope"]["mean"]
        code, v, blend_code, blend_v = at_budget(model, split, given.pairs, given.seed, given.budget)
        row = f"{name:30} {found[name]:.3f}  {found[name] / ceiling:6.0%}"
        print(f"{row}                    {code:5.2f} {v:5.2f}         {blend_code:5.2f} {blend_v:5.2f}", flush=True)
    return found


if __name__ == "__main__":
    main()
