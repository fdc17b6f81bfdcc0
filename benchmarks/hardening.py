"""Other people's autoencoders, plain and hardened within 2 %: python -m benchmarks.hardening --data PATH --output DIR

Each model of `MODELS` is built from its configuration and trained here (`benchmarks.zoo`). Then three commands run, as
a user gives them: `doubleback audit`, `harden`, and `audit` again. DIR keeps weights, folders and audits, which
`doubleback leaderboard DIR` ranks; what is finished there is not done again. Then the largest damage at L-infinity
8/255 is searched on the same test images before and after; the difference is paired. Beside it stands what a mere shift
of the colours by 8/255 does: a good autoencoder follows it, so no damage can be lower. The last line is JSON, which
benchmarks/results holds too. `--only NAME` takes the models whose name holds it, and keeps the other rows.
`--plain` audits the models and hardens none.
"""

import argparse
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

import doubleback
from benchmarks.recording import record, rows_before
from benchmarks.strangers import NAMES
from benchmarks.zoo import KINDS, SIDE, trained
from doubleback.evaluation import reconstruct
from doubleback.experiments.hardening import audit_of
from doubleback.experiments.victims import load_victim
from doubleback.metrics.differences import paired_figures
from doubleback.metrics.images import l2
from doubleback.settings import Auditing, Hardening, Wrapping
from doubleback.settings.commands import Audit, Harden
from doubleback.settings.words import words

MODELS = (
    "diffusers_autoencoderkl",
    "diffusers_vqmodel",
    "encoder_and_decoder_with_batchnorm",
    "transformers_vitmae",
    "compressai_factorizedprior",
)
AUDITED = (
    "diffusers_autoencodertiny",
    "diffusers_autoencoderdc",
    "compressai_scalehyperprior",
    "compressai_cheng2020anchor",
    "pythae_ae",
    "pythae_vae",
    "pythae_betavae",
    "pythae_vqvae",
    "transformers_vitmae_norm_pix_loss",
)
"""Further models, for the leaderboard: audited, not hardened."""
NORM, EPS = "Linf", 8 / 255
ROOT = Path(__file__).parents[1]


def command(*line: str) -> None:
    """Run `doubleback` as a user does; what it says goes to stderr."""
    done = subprocess.run(
        [sys.executable, "-m", "doubleback", *line], cwd=ROOT, check=False, stdout=sys.stderr,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "src")])},
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"doubleback {' '.join(line)} ended with status {done.returncode}")


def measured(name: str, given: argparse.Namespace) -> dict[str, Any] | None:
    """One row of the table; None of a model that is only audited."""
    kind, home = KINDS[NAMES[name]], Path(given.output).resolve()
    images = doubleback.load_images(given.data, image_size=SIDE)
    weights = home / "weights" / f"{name}.safetensors"
    if not weights.exists():
        weights.parent.mkdir(parents=True, exist_ok=True)
        save_file(_tensors(trained(kind, images.train.images, steps=given.steps, batch=32)), weights)
    auditing = Auditing().changed(pairs=given.pairs, coefficients=given.coefficients)
    on: dict[str, Any] = {"data": given.data, "image_size": SIDE}
    plain = Audit(
        (Path(f"benchmarks.strangers:{name}"),), wrapping=Wrapping(weights=weights), output=home / "plain", **on
    )
    command(*words(replace(plain, auditing=auditing)))
    if given.plain or name not in MODELS:
        return None
    folder = home / "hardened-models" / "-".join(filter(None, [name, given.freeze]))
    asked = Hardening(given.within, alone=True).changed(penalty=given.penalty, epochs=given.epochs, freeze=given.freeze)
    harden = Harden(plain.runs[0], folder, asked, wrapping=plain.wrapping, **on)
    command(*words(harden))
    audits = home / "-".join(filter(None, ["hardened", given.freeze and f"{given.freeze}-frozen"])) / name
    hardened = replace(audit_of(harden), auditing=auditing, output=audits)
    command(*words(hardened))

    x = images.test.images[: given.images].float() / 255
    reached, followed = [], []
    for one in (plain, hardened):
        model = load_victim(one.runs[0], one.wrapping).autoencoder
        found = doubleback.damage(model, x, eps=EPS, norm=NORM, steps=100, restarts=2)
        reached.append(found.distance.cpu().numpy())
        followed.append(shifted(model, x).mean().item())
    before, after = reached
    difference = paired_figures(after, before)
    assert difference is not None
    return {
        "model": NAMES[name],
        "freeze": given.freeze,
        "penalty": given.penalty,
        "before": float(before.mean()),
        "after": float(after.mean()),
        "shifted": followed,
        "difference": {"mean": difference.mean, "ci95": difference.interval},
        "harden": json.loads((folder / "results.json").read_text())["harden"],
    }


def shifted(model: Any, x: Tensor) -> Tensor:
    """(N,): how far the reconstruction goes where each channel is shifted by EPS, up or down; the worst of the ways."""
    before = reconstruct(model, x)
    ways = torch.cartesian_prod(*[torch.tensor([-EPS, EPS])] * x.shape[1]).view(-1, 1, x.shape[1], 1, 1)
    return torch.stack([l2(reconstruct(model, (x + way).clamp(0, 1)), before) for way in ways]).amax(0)


def _tensors(net: torch.nn.Module) -> dict[str, Tensor]:
    return {name: one.detach().clone().contiguous() for name, one in net.state_dict().items()}


HEAD = (
    "model",
    "epochs",
    "damage before",
    "after",
    "difference",
    "share",
    "of a shift",
    "L2",
    "rate",
    "latents moved",
    "hardening, s",
)


def row(one: dict[str, Any]) -> str:
    """A line of the table in docs/hardening.md."""
    (low, high), cost = one["difference"]["ci95"], one["harden"]
    start, end = cost["start"], cost["end"]
    rate = f"{start['rate']:.3f} to {end['rate']:.3f}" if "rate" in start else "-"
    cells = [
        one["model"] + (f", {one['freeze']} frozen" if one["freeze"] else ""),
        str(one["settings"]["epochs"]),
        f"{one['before']:.2f}",
        f"{one['after']:.2f}",
        f"{one['difference']['mean']:.2f} [{low:.2f}, {high:.2f}]",
        f"{one['after'] / one['before'] - 1:+.0%}",
        f"{one['shifted'][0]:.2f} to {one['shifted'][1]:.2f}",
        f"{start['reconstruction_l2']:.3f} to {end['reconstruction_l2']:.3f}",
        rate,
        "-" if cost["latents_moved"] is None else f"{cost['latents_moved']:.0%}",
        f"{cost['seconds']:.0f}",
    ]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="colour images, as in `doubleback train`")
    parser.add_argument("--output", required=True, help="keeps weights, folders and audits")
    parser.add_argument("--steps", type=int, default=3000, help="of training")
    parser.add_argument("--epochs", type=int, default=15, help="of hardening")
    parser.add_argument("--images", type=int, default=100, help="whose damage is searched")
    parser.add_argument("--pairs", type=int, default=12, help="of the audits")
    parser.add_argument("--coefficients", type=int, default=12, help="of the audits")
    parser.add_argument("--within", default="2%")
    parser.add_argument("--penalty", default="spectral", help="as in `doubleback harden`")
    parser.add_argument("--freeze", choices=("encoder", "decoder"))
    parser.add_argument("--plain", action="store_true", help="audit every model, harden none")
    parser.add_argument("--only", default="", help="a part of the names")
    given = parser.parse_args()
    torch.set_num_threads(1)
    rows = {_key(one): one for one in rows_before("hardening")}
    print(f"| {' | '.join(HEAD)} |\n{'|---' * len(HEAD)}|")
    settings = {name: getattr(given, name) for name in ("steps", "epochs", "images", "within")}
    for name in (name for name in (*MODELS, *AUDITED) if given.only in name):
        if one := measured(name, given):
            rows[_key(one)] = one | {"settings": settings}
            print(row(rows[_key(one)]), flush=True)
            record(
                "hardening", {"data": Path(given.data).name, "rows": [rows[key] for key in sorted(rows)]}, quick=False
            )


def _key(one: dict[str, Any]) -> tuple[str, str, str]:
    return one["model"], one["freeze"] or "", one["penalty"]


if __name__ == "__main__":
    main()
