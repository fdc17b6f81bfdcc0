"""A pass of an attack through a wrapped model against a bare loop's: python -m benchmarks.passes

A small AutoencoderKL at 256x256, the loss and gradient of the output attack: through `wrap`, its ranges, its clamp and
the row-wise gradient of the engine, and as anybody would write it by hand. Both in turn, the median ratio counts.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor

import doubleback
from benchmarks.recording import record
from benchmarks.zoo import KINDS
from doubleback.attacks.rows import value_and_gradient
from doubleback.models.base import attacked

ROWS, SIDE = 2, 256


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer passes")
    given = parser.parse_args()
    torch.manual_seed(0)
    net = KINDS["diffusers AutoencoderKL"].make().eval()
    with torch.no_grad():
        net.decoder.conv_out.weight *= 0.1  # within the range: the bare loop clamps nothing
    victim = doubleback.wrap(net)
    x, target = torch.rand(2, ROWS, 3, SIDE, SIDE)
    victim.meet(x)
    loss, rows = doubleback.Output().loss(attacked(victim), x, target), torch.arange(ROWS)

    def bare() -> Tensor:
        given = x.clone().requires_grad_()
        y = (net.decode(net.encode(2 * given - 1).latent_dist.mean).sample + 1) / 2
        return torch.autograd.grad((y - target).square().sum(), given)[0]

    def ours() -> Tensor:
        return value_and_gradient(lambda z, pair: loss(z, pair, None), x, rows)[1]

    assert torch.allclose(bare(), ours(), rtol=1e-3, atol=1e-4)
    ratios = [_seconds(ours) / _seconds(bare) for _ in range(5 if given.quick else 15)]
    record("passes", {"data": "random", "ratio": statistics.median(ratios), "ratios": ratios}, quick=given.quick)


def _seconds(work: Callable[[], Tensor]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
