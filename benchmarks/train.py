"""What a double-backpropagation step costs, in plain steps: python -m benchmarks.train

Plain and penalised steps of the VAE (forward, backward, clip, Adam) alternate, eager and compiled, in float32 and in
bf16 autocast, so that noise on the machine meets them alike. The last line is JSON: milliseconds (medians), ratios.
"""

import argparse
import json
import time
from collections.abc import Callable
from statistics import median

import torch
from torch import Tensor

from doubleback.models import VAE
from doubleback.objective import Objective
from doubleback.progress import progress_bar

PENALTY = "reconstruction"


def make_step(mode: str, precision: str, penalised: bool, batch: int) -> Callable[[], None]:
    """One training step on a random batch, ready to be called."""
    torch.manual_seed(0)
    objective = Objective(VAE(), penalty=PENALTY)  # type: ignore[arg-type]
    module: Callable[..., tuple[Tensor, ...]] = torch.compile(objective) if mode == "compiled" else objective
    optimizer = torch.optim.Adam(objective.parameters(), lr=1e-3, fused=True)
    x = torch.rand(batch, 1, 28, 28)
    noise, _ = objective.draw(x, torch.Generator().manual_seed(0))

    def step() -> None:
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bf16"):
            reconstruction, kl, penalty = module(x, noise, None, penalised)
            loss = reconstruction.mean() + kl.mean() + 0.03 * penalty.mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(objective.parameters(), 30)
        optimizer.step()
        optimizer.zero_grad()

    return step


def timed(step: Callable[[], None], calls: int) -> float:
    """Milliseconds a call."""
    started = time.perf_counter()
    for _ in range(calls):
        step()
    return 1000 * (time.perf_counter() - started) / calls


def main() -> None:
    """Measure, print a table and the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=15, help="how often every kind of step has its turn")
    given = parser.parse_args()
    variants = [(m, p, k) for m in ("eager", "compiled") for p in ("float32", "bf16") for k in ("plain", "penalty")]
    steps, compile_seconds = {}, {}
    for mode, precision, kind in variants:
        step = make_step(mode, precision, kind == "penalty", given.batch)
        compile_seconds[mode, precision, kind] = timed(step, 1) / 1000
        timed(step, 2)
        steps[mode, precision, kind] = step
    taken: dict[tuple[str, str, str], list[float]] = {variant: [] for variant in variants}
    with progress_bar("steps", given.rounds) as advance:
        for _ in range(given.rounds):
            for variant in variants:
                taken[variant].append(timed(steps[variant], 3))
            advance(1)
    milliseconds = {variant: median(times) for variant, times in taken.items()}
    ratios = {}
    for mode in ("eager", "compiled"):
        for precision in ("float32", "bf16"):
            plain, penalty = milliseconds[mode, precision, "plain"], milliseconds[mode, precision, "penalty"]
            pairs = zip(taken[mode, precision, "penalty"], taken[mode, precision, "plain"], strict=True)
            ratios[f"{mode} {precision}"] = median(one / other for one, other in pairs)
            print(f"{mode:9}{precision:8} plain {plain:6.1f} ms  penalty {penalty:6.1f} ms", end="  ")
            print(f"ratio {ratios[f'{mode} {precision}']:.2f}")
    record = {
        "batch": given.batch,
        "threads": torch.get_num_threads(),
        "milliseconds": {" ".join(variant): round(value, 2) for variant, value in milliseconds.items()},
        "ratio": {name: round(value, 3) for name, value in ratios.items()},
        "compile_seconds": {" ".join(v): round(s, 1) for v, s in compile_seconds.items() if v[0] == "compiled"},
    }
    print(json.dumps(record))


if __name__ == "__main__":
    main()
