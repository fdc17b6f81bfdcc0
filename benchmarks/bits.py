"""What an attack makes of a codec's files: bits per pixel before and after, by the real bitstream.

    python -m benchmarks.bits --data-dir DATA [--images 16] [--steps 30] [--training 300]

A small FactorizedPrior of CompressAI is trained on faces of 64x64 and attacked within Linf 8/255 by the goal `rate`,
which follows the estimate of the bits. Beside it: the estimate, and noise of the same size. Written to
benchmarks/results/bits.json.
"""

import argparse
from pathlib import Path

import torch

import doubleback
from benchmarks.recording import record, told
from benchmarks.zoo import KINDS, trained
from doubleback.tensors import as_unit

EPS = "8/255"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path, required=True, help="holds faces/ as on the hub")
    parser.add_argument("--images", type=int, default=16)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--training", type=int, default=300, help="steps of eight images")
    given = parser.parse_args()
    torch.set_num_threads(1)
    images = doubleback.load_images(str(given.data_dir / "faces"), image_size=64)
    net = trained(KINDS["CompressAI FactorizedPrior"], images.train.images, steps=given.training, batch=8)
    victim = doubleback.wrap(net, bitstreams=True)
    attack = doubleback.Attack(
        doubleback.Rate(), doubleback.Budget("Linf", [EPS]), doubleback.Search(steps=given.steps)
    )
    found = doubleback.audit(victim, images.test.images, pairs=given.images, attacks=[attack], progress=False)
    print(found)
    x = as_unit(images.test.images[found.source_index])
    signs = torch.randn(x.shape, generator=torch.Generator().manual_seed(0)).sign()
    noisy = (x + doubleback.Budget("Linf", [EPS]).radii[0] * signs).clamp(0, 1)
    with torch.no_grad():
        others = {
            "before_as_estimated": doubleback.wrap(net)(x).rate.mean().item(),
            "of_noise": victim(noisy).rate.mean().item(),
        }
    results = found.results()
    at = results["attacks"]["rate"]["budgets"]["Linf"][EPS]
    kept = {name: at[name] for name in ("rate_before", "rate", "psnr")} | {"damage": at["mean"]}
    more = {"flags": list(results["flags"]), "reconstruction_psnr": results.get("reconstruction_psnr")}
    asked = {"images": given.images, "steps": given.steps, "training": given.training, "eps": EPS, "data": "faces"}
    record("bits", {"data": "faces", "settings": asked, **kept, **others, **more}, quick=False)


if __name__ == "__main__":
    told(main)
