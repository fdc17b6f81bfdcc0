"""What benchmarks/results says, as tables of docs/ and README.md: python -m benchmarks.page

In these pages what stands between <!-- from benchmarks: NAME --> and <!-- end --> is written anew. A test compares.
"""

import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from benchmarks import hardening, real, standard
from benchmarks.front_page import blocks
from benchmarks.frontier_page import blocks as frontiers

HOME = Path(__file__).parent
PAGES = tuple(
    HOME.parent / page
    for page in (
        "README.md",
        *(
            f"docs/{name}.md"
            for name in (
                "concepts",
                "defences",
                "hardening",
                "index",
                "performance",
                "results",
                "threats",
                "your-own-model",
            )
        ),
    )
)
MODELS = {"vae": "VAE", "conv_vae": "convolutional VAE", "draw": "DRAW, T = 8"}


def tables() -> dict[str, str]:
    """Each table in Markdown, by the name that the pages call it."""
    audit, budget, train, bf16, gpu, classifier, strangers, hardened, published = (
        json.loads((HOME / "results" / f"{name}.json").read_text(encoding="utf-8"))
        for name in (
            "audit",
            "budget",
            "train",
            "train-bf16",
            "train-gpu",
            "classifier",
            "real",
            "hardening-bf16",
            "literature",
        )
    )
    return {
        **blocks(),
        **frontiers(),
        "summary": _summary(audit, train, bf16, gpu, classifier),
        "audit": _audit(audit),
        "growth": _growth(audit),
        "share": _share(audit),
        "budget": _budget(budget),
        "training": _training(train),
        "quality": _quality(train),
        "steps": _steps(train),
        "training_bf16": _training(bf16),
        "quality_bf16": _quality(bf16),
        "steps_bf16": _steps(bf16),
        "training_gpu": _training(gpu),
        "quality_gpu": _quality(gpu),
        "steps_gpu": _steps_of_a_gpu(gpu),
        "mixtures": _mixtures(classifier),
        "real": _rows(real.HEAD, map(real.row, strangers["rows"])),
        "hardening": _rows(hardening.HEAD, map(hardening.row, hardened["rows"])),
        "literature": _table(standard.HEAD, standard.literature(published["rows"])),
        "machine": _machine(audit, train, bf16, gpu, classifier),
    }


def filled(page: str, known: dict[str, str]) -> str:
    """The page with every block as it has to be."""

    def block(found: re.Match[str]) -> str:
        return f"<!-- from benchmarks: {found[1]} -->\n{known[found[1]]}\n<!-- end -->"

    return re.sub(r"<!-- from benchmarks: (\w+) -->\n.*?<!-- end -->", block, page, flags=re.DOTALL)


def _rows(head: Sequence[str], rows: Iterable[str]) -> str:
    return "\n".join([f"| {' | '.join(head)} |", "|---" * len(head) + "|", *rows])


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _summary(
    audit: dict[str, Any], train: dict[str, Any], bf16: dict[str, Any], gpu: dict[str, Any], classifier: dict[str, Any]
) -> str:
    areas = ", ".join(
        f"{attack} {audit['auddc_ours'][attack]:.4f} against {audit['auddc_baseline'][attack]:.4f}"
        for attack in ("latent", "output")
    )
    machines = (("two cores without bf16", train), ("two cores with bf16", bf16), (gpu["machine"]["gpu"], gpu))
    trainings = []
    for where, record in machines:
        whole = record["whole_training"]
        ratios = ", ".join(f"{MODELS[name]} {one['ratio']:.2f}" for name, one in whole.items())
        exact = ", ".join(f"{one['float32_eager_ratio']:.2f}" for one in whole.values())
        trainings.append(
            (
                f"a whole hardened training, in plain eager float32 ones: {where}",
                f"{ratios}; as people train today (eager, the penalty at every step of the second half) {exact}",
                "`python -m benchmarks.train`",
            )
        )
    taken = f"({audit['seconds_ours']:.1f} s against {audit['seconds_baseline']:.0f} s)"
    rates = "; ".join(
        f"eps {eps}: {one['throughput_kept']:.2f}, {one['throughput_leaving']:.2f}"
        for eps, one in classifier["eps"].items()
    )
    mixtures = classifier["mixtures"]
    return _table(
        ("", "", "command"),
        [
            (
                f"audit of {audit['pairs']} pairs x {audit['coefficients'] + 1} coefficients, latent and output",
                f"{audit['speedup']:.0f} times faster than L-BFGS-B pair by pair {taken}; mean AUDDC {areas} "
                "(lower is the stronger attack)",
                "`python -m benchmarks.audit`",
            ),
            *trainings,
            (
                "PGD-40 on the hardened mixture, foolbox's `LinfPGD` = 1: every row kept, fooled rows leaving",
                rates,
                "`python -m benchmarks.classifier`",
            ),
            (
                f"ten 10-component mixtures on {mixtures['codes']:,} codes of {mixtures['dimensions']} dimensions",
                f"{mixtures['seconds']:.1f} s",
                "the same",
            ),
        ],
    )


def _audit(audit: dict[str, Any]) -> str:
    baseline = {
        "L-BFGS-B, pair by pair": {
            "seconds": audit["seconds_baseline"],
            **{f"auddc_{attack}": area for attack, area in audit["auddc_baseline"].items()},
        }
    }
    return _table(
        ("", "seconds", "times the baseline's speed", "AUDDC latent", "AUDDC output"),
        (
            (
                name,
                f"{one['seconds']:.1f}",
                f"{audit['seconds_baseline'] / one['seconds']:.1f}",
                f"{one['auddc_latent']:.4f}",
                f"{one['auddc_output']:.4f}",
            )
            for name, one in (baseline | audit["ladder"]).items()
        ),
    )


def _growth(audit: dict[str, Any]) -> str:
    sizes = list(audit["growth"])
    return _table(
        ("pairs", *sizes),
        [
            ("seconds", *(f"{audit['growth'][size]:.1f}" for size in sizes)),
            ("milliseconds a pair", *(f"{1000 * audit['growth'][size] / int(size):.0f}" for size in sizes)),
            ("peak memory, MB", *(f"{audit['peak_memory_mb'][size]:.0f}" for size in sizes)),
        ],
    )


def _share(audit: dict[str, Any]) -> str:
    row = (f"{audit['matmul_share']:.2f}", f"{audit['matmul_gflops']:.0f}")
    return _table(("share of the best rate", "best rate, GFLOP/s"), [row])


def _budget(budget: dict[str, Any]) -> str:
    rows = [
        (
            name,
            f"{row['ratio']:.2f} ({min(row['ratios']):.2f} to {max(row['ratios']):.2f})",
            ", ".join(f"{ours / plain:.3f}" for ours, plain in zip(*row["damage"].values(), strict=True)),
        )
        for name, row in budget["rows"].items()
    ]
    head = (
        "model",
        "throughput relative to a plain PGD (range over five turns)",
        "damage relative to it, at 2/255, 4/255, 8/255",
    )
    return _table(head, rows)


def _training(train: dict[str, Any]) -> str:
    digits = 1 if train["machine"]["gpu"] else 0
    head = (
        "",
        "fast is",
        "plain",
        "hardened, fast",
        "ratio",
        "both fast",
        "hardened, eager, every step",
        "compiling",
    )
    return _table(
        head,
        (
            (
                f"{MODELS[name]}, {one['epochs']} epochs of {one['images']:,} images, batch {one['batch']}",
                f"{_way_of(one['mode'])}, {one['mode']['estimator']}, {_steps_of(one['mode'])}",
                f"{one['plain_seconds']:.{digits}f} s",
                f"{one['hardened_seconds']:.{digits}f} s",
                f"**{one['ratio']:.2f}** ({', '.join(f'{ratio:.2f}' for ratio in one['ratios'])})",
                f"{one['same_mode_ratio']:.2f}",
                f"{one['float32_eager_ratio']:.2f}",
                f"{one['compile_seconds']:.0f} s",
            )
            for name, one in train["whole_training"].items()
        ),
    )


def _way_of(mode: dict[str, Any]) -> str:
    ways = [mode["precision"], *(["compiled"] * mode["compiled"]), *(["CUDA graph"] * mode.get("graphed", False))]
    return ", ".join(ways)


def _steps_of(mode: dict[str, Any]) -> str:
    which = "every step" if mode["every"] == 1 else f"one step in {mode['every']}"
    return f"{which} after {mode['start']:.0%}"


def _quality(train: dict[str, Any]) -> str:
    def area(one: dict[str, Any], attack: str) -> str:
        value, low, high = (one[f"auddc_{attack}{end}"] for end in ("", "_low", "_high"))
        return f"{value:.3f} [{low:.3f}, {high:.3f}]"

    kinds = {"plain": "plain", "hardened": "hardened, fast", "exact": "hardened, eager, every step"}
    return _table(
        ("", "seed", "", "L2", "AUDDC latent", "AUDDC output"),
        (
            (
                MODELS[name],
                str(seed),
                said,
                f"{found['reconstruction_l2']:.3f}",
                *(area(found, a) for a in ("latent", "output")),
            )
            for name, one in train["whole_training"].items()
            for seed in range(len(one["plain"]["seeds"]))
            for kind, said in kinds.items()
            for found in [one[kind]["seeds"][seed]]
        ),
    )


def _steps(train: dict[str, Any]) -> str:
    rows = []
    for name, one in train["models"].items():
        for mode, ratio in one["ratio"].items():
            times = (f"{one['milliseconds'][f'{mode} {kind}']:.1f}" for kind in ("plain", "penalised", "perturbed"))
            rows.append(
                (f"{name}, batch {one['batch']}", mode, *times, f"{ratio:.2f}, {one['perturbed_ratio'][mode]:.2f}")
            )
    return _table(("", "", "plain, ms", "penalised, ms", "perturbed, ms", "ratios"), rows)


def _steps_of_a_gpu(train: dict[str, Any]) -> str:
    kinds = ("plain", "penalised")

    def both(values: dict[str, float], mode: str, form: str) -> str:
        return ", ".join(f"{values[f'{mode} {kind}']:{form}}" for kind in kinds)

    return _table(
        ("", "", "plain, penalised, ms", "ratio", "Python's share", "share of peak"),
        (
            (
                f"{name}, batch {one['batch']}",
                mode,
                both(one["milliseconds"], mode, ".2f"),
                f"{ratio:.2f}",
                both(one["python_share"], mode, ".1%"),
                both(one["share_of_peak"], mode, ".1%"),
            )
            for name, one in train["models"].items()
            for mode, ratio in one["ratio"].items()
        ),
    )


def _mixtures(classifier: dict[str, Any]) -> str:
    return _table(
        ("eps", "foolbox", "every row kept", "fooled rows leave", "robust accuracy"),
        (
            (
                eps,
                *(f"{one['seconds'][who]:.2f} s" for who in ("foolbox", "kept", "leaving")),
                ", ".join(f"{one['robust_accuracy'][who]:.3f}" for who in ("foolbox", "kept", "leaving")),
            )
            for eps, one in classifier["eps"].items()
        ),
    )


def _machine(*records: dict[str, Any]) -> str:
    told = {
        (one["machine"]["processor"], one["machine"]["threads"], one["machine"]["gpu"], one["machine"]["torch"])
        for one in records
    }
    rows = ((processor, str(threads), gpu or "none", torch) for processor, threads, gpu, torch in sorted(told, key=str))
    return _table(("processor", "threads", "GPU", "PyTorch"), rows)


def main() -> None:
    """Write the pages anew."""
    known = tables()
    for path in PAGES:
        path.write_text(filled(path.read_text(encoding="utf-8"), known), encoding="utf-8")


if __name__ == "__main__":
    main()
