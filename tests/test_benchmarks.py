"""A step of every kind that the benchmark of training times: what it measures must still run."""

import pytest
from benchmarks.train import CASES, KINDS, make_step


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("case", ["vae", "draw"])
def test_a_timed_step_runs(case: str, kind: str) -> None:
    make_step(CASES[case], "eager", "float32", kind, 4)()
