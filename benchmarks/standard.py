"""Which attacks belong to the standard ensemble, and does anything of the literature do more damage?

    python -m benchmarks.standard --data-dir DATA [--images 30] [--steps 50] [--kept FOLDER] [--only NAME ...]
                                  [--candidates NAME ...] [--record NAME]

Twelve models are trained here, dense, convolutional, of diffusers, a codec and a transformer, four of them hardened.
Every goal, every distance of codes and Square attack the same images within the same Linf budgets; so do attacks of
the literature, written from their formulas (`LITERATURE`).

For each candidate: its mean damage, the share of images on which it is the worst by more than 1 %, and what it adds to
the others of `STANDARD`: g_i = max(own_i, others_i) / others_i - 1 for image i, as a mean over images with its 95 %
interval, at the eps at which the lower end is largest. `chosen` is the ensemble that these figures give: the candidate
that is nearest to the worst of all, then, one after the other, the one that adds most, until none adds over 1 % on any
model (by the lower end); it counts models that every candidate has attacked. For each attack of the literature: its
mean damage over that of `STANDARD`, and the difference, paired, with its 95 % interval. For that alone it is enough to
run `--candidates untargeted layers-equal`.

The damage of every image is kept in FOLDER, a file a model: what lies there is judged, and not attacked again. Written
to benchmarks/results/NAME.json (`--record NAME`): `standard` holds the candidates, `literature` the published attacks.
"""

import argparse
import json
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import doubleback
from benchmarks.recording import record, told
from benchmarks.zoo import KINDS, trained
from doubleback.attacks import Attack, Damage, Drift, Goal, Latent, Layers, Output, Scores
from doubleback.attacks.standard import STANDARD
from doubleback.evaluation import reconstruct
from doubleback.metrics.differences import paired_figures
from doubleback.metrics.images import l2
from doubleback.metrics.intervals import bootstrap_interval
from doubleback.models.base import attacked
from doubleback.settings import Budget, Search
from doubleback.tensors import as_unit

EPS = ("2/255", "8/255", "0.1")
MARGIN = 0.01  # of the ensemble's damage, that an attack has to add
CANDIDATES: dict[str, Goal | Scores] = {
    "untargeted": Damage(),
    "output": Output(),
    **{goal.name: goal for goal in map(Drift, ("kl", "l2", "wasserstein", "cosine"))},
    **{goal.name: goal for goal in map(Latent, ("kl", "l2"))},
    **{goal.name: goal for goal in map(Layers, ("condition", "equal"))},
    "Square, 1000 queries": Scores(1000),
}


def models(folder: Path) -> dict[str, Callable[[], tuple[Any, Tensor]]]:
    """By name, a function that trains one; it gives the victim and test images."""

    def ours(kind: str, data: str, epochs: int, *, hardened: bool) -> tuple[Any, Tensor]:
        where = data if data == "digits" else str(folder / data)
        images = doubleback.load_images(where, limit=10_000 if data == "mnist" else None)
        torch.manual_seed(0)
        model = getattr(doubleback, kind)(images.image_shape)
        objective = doubleback.Objective(model, penalty="reconstruction") if hardened else model
        doubleback.fit(objective, images, epochs=epochs, progress=False)
        return model.eval(), images.test.images

    def zoo(name: str) -> tuple[Any, Tensor]:
        images = doubleback.load_images(str(folder / "faces"), image_size=32)
        return KINDS[name].wrap(trained(KINDS[name], images.train.images, steps=300)), images.test.images

    made: dict[str, Callable[[], tuple[Any, Tensor]]] = {}
    for data, kind, epochs in (
        ("digits", "VAE", 60),
        ("mnist", "VAE", 6),
        ("mnist", "ConvVAE", 3),
        ("svhn", "ConvVAE", 6),
    ):
        for hardened in (False, True):
            name = f"{kind} {data}{', hardened' * hardened}"
            made[name] = partial(ours, kind, data, epochs, hardened=hardened)
    kinds = ("diffusers AutoencoderKL", "diffusers VQModel", "CompressAI FactorizedPrior", "transformers ViTMAE")
    return made | {f"{name} faces": partial(zoo, name) for name in kinds}


def _signs(loss: Callable[[Tensor], Tensor], x: Tensor, eps: float, steps: int) -> Tensor:
    """PGD: signed steps of 2.5 eps / steps from a random point, as most of the literature takes them; the last one."""
    d = eps * (2 * torch.rand(x.shape, generator=torch.Generator().manual_seed(0)) - 1)
    for _ in range(steps):
        moving = (x + d).clamp(0, 1).requires_grad_()
        (g,) = torch.autograd.grad(loss(moving).sum(), moving)
        d = (d - 2.5 * eps / steps * g.sign()).clamp(-eps, eps)
    return (x + d).clamp(0, 1)


def _damage(model: Any, x: Tensor) -> Callable[[Tensor], Tensor]:
    """Maximum damage (Kuzina et al. 2022): -||x_hat(x + d) - x_hat(x)||^2."""
    before = model(x).likelihood.mean.detach()
    return lambda z: -(model(z).likelihood.mean - before).square().flatten(1).sum(1)


def _mse(model: Any, x: Tensor) -> Callable[[Tensor], Tensor]:
    """NIC-RobustBench: -MSE(x_hat(x + d), x)."""
    return lambda z: -(model(z).likelihood.mean - x).square().flatten(1).mean(1)


def _latent_mean(model: Any, x: Tensor) -> Callable[[Tensor], Tensor]:
    """Image protection (PhotoGuard's encoder attack): ||mean(x + d) - mean of a grey image||^2."""
    aim = model.encode(torch.full_like(x, 0.5)).mean.detach()
    return lambda z: (model.encode(z).mean - aim).square().flatten(1).sum(1)


def _grill(model: Any, x: Tensor) -> Callable[[Tensor], Tensor]:
    """GRILL: the weighted sum over layers, times the output's change."""
    loss = Layers().loss(model, x, x)
    return lambda z: loss(z, torch.arange(len(x)), None)


def _gondim(model: Any, x: Tensor, target: Tensor, eps: float, steps: int) -> Tensor:
    """Gondim-Ribeiro et al. 2018: L-BFGS-B on KL + C ||d||^2 in the box, here within +-eps, for the best of three C."""
    from scipy.optimize import minimize

    aim, rows = model.encode(target), []
    for row in range(len(x)):
        best: tuple[float, Tensor] = (-1.0, x[row])
        for C in (0.0, 0.01, 1.0):

            def value(flat: Any, row: int = row, C: float = C) -> tuple[float, Any]:
                d = torch.tensor(flat, dtype=x.dtype).view_as(x[row]).requires_grad_()
                q = model.encode((x[row] + d)[None])
                loss = q.kl(aim.at(torch.tensor([row]))).sum() + C * d.square().sum()
                (g,) = torch.autograd.grad(loss, d)
                return float(loss), g.flatten().double().numpy()

            low, high = ((end.clamp(-eps, eps)).flatten().double().numpy() for end in (-x[row], 1 - x[row]))
            start = 1e-8 * torch.rand(x[row].numel(), generator=torch.Generator().manual_seed(0)).double().numpy()
            found = minimize(value, start, jac=True, method="L-BFGS-B", bounds=list(zip(low, high, strict=True)),
                             options={"maxfun": steps})  # fmt: skip
            z = x[row] + torch.tensor(found.x, dtype=x.dtype).view_as(x[row])
            moved = l2(reconstruct(model, z[None]), reconstruct(model, x[row][None])).item()
            best = max(best, (moved, z), key=lambda one: one[0])
        rows.append(best[1])
    return torch.stack(rows)


LITERATURE = {
    "maximum damage": _damage,
    "PGD on the MSE": _mse,
    "PGD on the latent mean": _latent_mean,
    "GRILL": _grill,
}


def measured(
    victim: Any, images: Tensor, count: int, steps: int, candidates: Iterable[str] = CANDIDATES
) -> dict[str, Any]:
    """The damage of every candidate and of the literature, of each image at each eps; and seconds of the processor."""
    x, target = as_unit(images[:count]), as_unit(images[count : 2 * count])
    if hasattr(victim, "meet"):
        victim.meet(x)
    before = reconstruct(victim, x)
    found: dict[str, Any] = {"damage": {}, "literature": {}, "seconds": {}}
    budget = Budget("Linf", EPS)
    for name in candidates:
        one = CANDIDATES[name]
        parts = {"goal": Damage(), "knowledge": one} if isinstance(one, Scores) else {"goal": one}
        started = time.process_time()
        try:
            x_adv = Attack(capability=budget, search=Search(steps), **parts)(victim, x, target).x_adv
        except Exception as error:
            print(f"  {name}: {str(error)[:100]}", flush=True)
            continue
        found["seconds"][name] = time.process_time() - started
        print(f"  {name}: {found['seconds'][name]:.0f} s", flush=True)
        found["damage"][name] = [l2(reconstruct(victim, x_adv[:, k]), before).tolist() for k in range(len(EPS))]
    followed: Any = attacked(victim)
    for name, make in LITERATURE.items():
        x_adv = [_signs(make(followed, x), x, eps, steps) for eps in budget.radii]
        found["literature"][name] = [l2(reconstruct(victim, each), before).tolist() for each in x_adv]
    x_adv = [_gondim(followed, x, target, eps, steps) for eps in budget.radii[1:2]]
    found["literature"]["L-BFGS-B on the KL, 8/255"] = [
        l2(reconstruct(victim, each), before).tolist() for each in x_adv
    ]
    return found


def judged(found: dict[str, Any]) -> dict[str, Any]:
    """What follows from the damages: who is the worst where, and how the literature compares."""
    damage = {name: torch.tensor(rows) for name, rows in found["damage"].items()}
    every = torch.stack(list(damage.values()))
    members = [goal.name for goal in STANDARD if goal.name in damage]
    standard = worst_of(damage, members)
    alone, added = {}, {}
    for name, own in damage.items():
        alone[name] = (own > (1 + MARGIN) * worst_of(damage, set(damage) - {name})).double().mean().item()
        added[name] = adds(own, worst_of(damage, set(members) - {name}))
    ratios, differences = {}, {}
    for name, rows in found["literature"].items():
        own = torch.tensor(rows)
        against = standard[1:2] if len(own) == 1 else standard
        ratios[name] = (own.mean(1) / against.mean(1)).tolist()
        paired = [paired_figures(a.numpy(), b.numpy()) for a, b in zip(own, against, strict=True)]
        differences[name] = [None if one is None else [one.mean, *one.interval] for one in paired]
    return {
        "images": every.shape[2],
        "mean": {name: rows.mean(1).tolist() for name, rows in damage.items()},
        "standard": standard.mean(1).tolist(),
        "worst_alone": alone,
        "added": added,
        "standard_of_all": (standard.mean(1) / every.amax(0).mean(1)).tolist(),
        "literature_over_standard": ratios,
        "literature_less_standard": differences,
        "seconds": found["seconds"],
    }


def worst_of(damage: dict[str, Tensor], names: Iterable[str]) -> Tensor:
    """The damage of the worst of these attacks, image by image, (E, N)."""
    return torch.stack([damage[name] for name in names]).amax(0)


def adds(own: Tensor, others: Tensor) -> list[float]:
    """What an attack adds to the damage of others, as a share: the mean over images and the ends of its interval.

    At the eps at which the lower end is largest.
    """
    shares = (torch.maximum(own, others) / others.clamp_min(1e-6) - 1).double().numpy()
    ends = [(float(row.mean()), *(bootstrap_interval(row) or (0.0, 0.0))) for row in shares]
    return list(max(ends, key=lambda one: one[1]))


def chosen(models: dict[str, dict[str, Tensor]]) -> dict[str, float]:
    """The ensemble that the damages of all models give, by name, with what each has added where it added most."""
    names = set.intersection(*(set(damage) for damage in models.values()))

    def nearness(name: str) -> float:
        shares = [damage[name].mean() / worst_of(damage, damage).mean() for damage in models.values()]
        return float(torch.stack(shares).mean())

    members = {(first := max(sorted(names), key=nearness)): nearness(first)}
    while True:
        gains = {
            name: max(adds(of[name], worst_of(of, members.keys() & of))[1] for of in models.values() if name in of)
            for name in sorted(set().union(*models.values()) - members.keys())
        }
        best = max(gains, key=lambda name: gains[name])
        if gains[best] <= MARGIN:
            return members
        members[best] = gains[best]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path, required=True, help="holds mnist/, svhn/ and faces/ as on the hub")
    parser.add_argument("--images", type=int, default=30)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--kept", type=Path, default=Path("runs/standard"), help="the damage of every image")
    parser.add_argument("--only", nargs="*", help="whole names of models; without one: judge what is kept")
    parser.add_argument("--candidates", nargs="+", choices=list(CANDIDATES), default=list(CANDIDATES))
    parser.add_argument("--record", default="standard")
    given = parser.parse_args()
    torch.set_num_threads(1)
    given.kept.mkdir(parents=True, exist_ok=True)
    kept: dict[str, Any] = {}
    for name, make in models(given.data_dir).items():
        path = given.kept / f"{name.replace(' ', '-').replace(',', '')}.json"
        if not path.exists() and (given.only is None or name in given.only):
            print(name, flush=True)
            path.write_text(json.dumps(measured(*make(), given.images, given.steps, given.candidates)))
        if path.exists():
            kept[name] = json.loads(path.read_text())
    damages = {name: {a: torch.tensor(rows) for a, rows in one["damage"].items()} for name, one in kept.items()}
    whole = {name: of for name, of in damages.items() if len(of) > len(STANDARD)}
    figures = {
        "data": "mnist, svhn, faces",
        "settings": {"steps": given.steps, "eps": EPS},
        "chosen": chosen(whole) if whole else {},
        "rows": {name: judged(one) for name, one in kept.items()},
    }
    record(given.record, figures, quick=False)


AT = 1  # place of 8/255 among the budgets
PUBLISHED = ("maximum damage", "GRILL", "PGD on the latent mean", "PGD on the MSE", "L-BFGS-B on the KL, 8/255")


HEAD = ("model", "images", "damage of `STANDARD`", *(name.partition(",")[0] for name in PUBLISHED))


def literature(rows: dict[str, Any]) -> list[list[str]]:
    """The table of docs/threats.md: the damage of `STANDARD` at 8/255, and that of each published attack beside it."""
    cells = []
    for name, one in rows.items():
        ratios, differences = one["literature_over_standard"], one["literature_less_standard"]
        own = [name.replace(" faces", ", faces").replace("VAE ", "VAE, "), str(one["images"])]
        own.append(f"{one['standard'][AT]:.2f}")
        for attack in PUBLISHED:
            at = min(AT, len(ratios[attack]) - 1)
            _, low, high = differences[attack][at]
            own.append(f"{ratios[attack][at]:.1%} ({low:.3f} to {high:.3f})")
        cells.append(own)
    return cells


if __name__ == "__main__":
    told(main)
