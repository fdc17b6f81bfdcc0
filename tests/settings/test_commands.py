"""Every setting is declared once, explained, and comes back from the words of its command line."""

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as tried
from hypothesis import strategies as st

from doubleback.cli.main import NAMES, _parsed
from doubleback.settings import (
    Architecture,
    Auditing,
    Data,
    Loop,
    Mixture,
    Pairing,
    Penalty,
    Price,
    Search,
    Sizes,
    Threats,
    Training,
    Walk,
    commands,
)
from doubleback.settings.words import words

A, B = Path("runs/a"), Path("runs/b c")
CONV = Architecture("conv-vae", Sizes(hidden=(9,), latent=3, filters=(4, 8)), "gaussian", 0.1)
DRAW = Architecture("draw", Sizes((16,), 2, None, 5, 3, 4), "bernoulli")
LEAST = {
    "Train": (A,),
    "Audit": ((A,),),
    "Classify": (A,),
    "Robustness": ((A,),),
    "Transition": ((A,),),
    "Reproduce": (),
    "Report": ((A,),),
    "Demo": (),
}


@pytest.fixture(autouse=True)
def gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """One setting asks for it."""
    monkeypatch.setattr("doubleback.settings.loop.has_gpu", lambda: True)


def said(name: str) -> list[Any]:
    """Commands of this name that together say every setting it has: yes and no, where a setting has both."""
    every: dict[str, list[Any]] = {
        "Train": [
            commands.Train(
                A,
                Training(
                    Data("./images", 16, 100, "photo", "kind", "drawn", "black"),
                    CONV,
                    Penalty("latent", 0.25, True, 4, "finite-difference", 0.1, 0.75, 2),
                    0.5,
                    Loop(3, 20, 0.01, 1e-05, 9, "64", compile=True, devices=2, tensorboard=True),
                    B,
                ),
                resume=True,
            ),
            commands.Train(B, Training(architecture=DRAW, penalty=Penalty("output", 0.0, False))),
            commands.Train(B, Training(loop=Loop(cuda_graph=True))),
        ],
        "Audit": [
            commands.Audit(
                (A, B),
                ("latent", "output", "untargeted", "mine.py:Goal"),
                "mnist",
                "validation",
                Auditing(Pairing(7, "9", "dog"), Price((0.0, 0.5, 1e-07)), Search(11, 2, 3, 4)),
                B,
            ),
            commands.Audit((A,), auditing=Auditing(price=Price(9))),
        ],
        "Classify": [commands.Classify(A, Mixture(3, "tied", 0.0, 5), B)],
        "Robustness": [
            commands.Robustness(
                (A, B), Threats(("pgd",), "L2", ("8/255", "1"), 4, 3, 0, 2, 1), 10, (B, A), "validation", B
            )
        ],
        "Transition": [
            commands.Transition((A, B), "9", "7", 3, Walk(0.5, 12, 0.9, 0), B, "validation", 4, A),
        ],
        "Reproduce": [commands.Reproduce(("table1", "figure6"), "smoke", A, B, 3, ("mnist", "celeba"), True)],
        "Report": [commands.Report((A, B), Path("page.html"))],
        "Demo": [commands.Demo(A, "mnist", 3, 4, 5, 6)],
    }
    return every[name]


def leaves(settings: Any) -> Iterator[tuple[str, bool]]:
    """Every innermost setting by the name of its field, and whether it was said."""
    for field in fields(settings):
        value = getattr(settings, field.name)
        if is_dataclass(value):
            yield from leaves(value)
        else:
            yield field.name, value != field.default


@pytest.mark.parametrize("name", NAMES)
def test_a_command_comes_back_from_its_words(name: str) -> None:
    """All that can be said of it, and the least; a setting that nobody says here is one that is not tried."""
    least = getattr(commands, name)(*LEAST[name])
    for command in (least, *said(name)):
        assert _parsed(words(command)) == command
    tried = {field for command in said(name) for field, spoken in leaves(command) if spoken}
    assert tried == {field for field, _ in leaves(least)}


@pytest.mark.parametrize("name", NAMES)
def test_every_setting_is_declared_once(name: str) -> None:
    """No two classes of one command have a field of the same name, wherever it is nested."""
    fields_of = [field for field, _ in leaves(getattr(commands, name)(*LEAST[name]))]
    assert len(fields_of) == len(set(fields_of))


def test_words() -> None:
    """Positional ones first; what is a default, or left out, is not said; a switch needs no word."""
    train = said("Train")[0]
    line = words(train, left_out=("resume", "init", "hidden"))
    assert line[:5] == ("train", "--output", "runs/a", "--data", "./images")
    assert line[line.index("--through-target") + 1] == "yes"
    assert not {"--resume", "--init", "--model.hidden"} & set(line)
    assert line[line.index("--compile") + 1].startswith("--")
    assert words(commands.Audit((A, B), output=A)) == ("audit", "runs/a", "runs/b c", "--output", "runs/a")
    assert words(commands.Demo()) == ("demo",)


@tried(max_examples=15, deadline=None)
@given(
    st.floats(0, 1e9, exclude_min=True),
    st.lists(st.floats(0, 1e9), min_size=1, max_size=3),
    st.lists(st.integers(1, 9999), min_size=1, max_size=3),
    st.from_regex(r"[\w.~/][\w .~/'\"$*=-]*", fullmatch=True),
)
def test_any_number_and_any_name_comes_back(rate: float, prices: list[float], widths: list[int], name: str) -> None:
    training = Training().changed(data=name, hidden=tuple(widths), learning_rate=rate, difference_step=rate)
    auditing = Auditing().changed(coefficients=tuple(prices))
    for command in (commands.Train(Path(name), training), commands.Audit((Path(name), A), auditing=auditing)):
        assert _parsed(words(command)) == command
