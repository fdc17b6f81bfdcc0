"""Every setting is declared once, explained, and comes back from the words of its command line."""

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as tried
from hypothesis import strategies as st

from doubleback.cli.help import COMMANDS
from doubleback.cli.main import _parsed
from doubleback.errors import InputError
from doubleback.settings import (
    Architecture,
    Auditing,
    Data,
    Hardening,
    Labels,
    Loop,
    Mixture,
    Pairing,
    Penalty,
    Price,
    Search,
    Sizes,
    Threat,
    Threats,
    Training,
    Walk,
    Wrapping,
    commands,
)
from doubleback.settings.words import words

NAMES = [command.__name__ for command in COMMANDS.values()]
A, B = Path("runs/a"), Path("runs/b c")
CONV = Architecture("conv-vae", Sizes(hidden=(9,), latent=3, filters=(4, 8)), "gaussian", 0.1)
WRAPPING = Wrapping(B, (-1.0, 1.0), (0.0, 255.0), (0.5, 0.25), (0.5, 2.0))
DRAW = Architecture("draw", Sizes((16,), 2, None, 5, 3, 4), "bernoulli")
LEAST = {
    "Train": (A,),
    "Harden": (A, B),
    "Audit": ((A,),),
    "Check": (A,),
    "Attack": (A, A, B),
    "Classify": (A,),
    "Robustness": ((A,),),
    "Transition": ((A,),),
    "Frontier": (A, B),
    "Reproduce": (),
    "Report": ((A,),),
    "Leaderboard": ((A,),),
    "Push": (A, "owner/name"),
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
                    Penalty("latent", 0.25, None, 4, "finite-difference", 0.1, 0.75, 2, "blends"),
                    0.5,
                    Loop(3, 20, 0.01, 1e-05, 9, "64", compile=True, devices=2, tensorboard=True),
                    B,
                ),
                resume=True,
            ),
            commands.Train(B, Training(architecture=DRAW, penalty=Penalty("reconstruction", 0.0, False))),
            commands.Train(B, Training(penalty=Penalty("spectral", margin=0.5, power_steps=2))),
            commands.Train(B, Training(penalty=Penalty("kept-code", radius=0.5, ascent_steps=2))),
            commands.Train(B, Training(architecture=Architecture("lipschitz", Sizes(slope=1.5)))),
            commands.Train(B, Training(loop=Loop(cuda_graph=True))),
            commands.Train(B, Training(labels=Labels(200.0, 0.5, 2, invert=True))),
        ],
        "Harden": [
            commands.Harden(
                A,
                B,
                Hardening(
                    "0.5 %",
                    "decoder",
                    "mine.py:loss",
                    True,
                    Penalty("latent", 0.25, None, 4, "finite-difference", 0.1, 0.75, 2, "images"),
                    Loop(3, 20, 0.01, 1e-05, 9, "64", compile=True, devices=2, tensorboard=True),
                ),
                "./images",
                16,
                WRAPPING,
            ),
            commands.Harden(A, B, Hardening(penalty=Penalty("spectral", margin=0.5, power_steps=2))),
            commands.Harden(A, B, Hardening(penalty=Penalty("reconstruction", through_target=True))),
            commands.Harden(A, B, Hardening(penalty=Penalty("smooth-code", radius=0.5, ascent_steps=2))),
            commands.Harden(A, B, Hardening(loop=Loop(cuda_graph=True))),
        ],
        "Audit": [
            commands.Audit(
                (A, B),
                ("latent", "output", "untargeted", "mine.py:Goal"),
                "mnist",
                32,
                "validation",
                Auditing(Pairing(7, "9", "dog"), Price((0.0, 0.5, 1e-07)), Search(11, 2, 3, 4), "4GB"),
                WRAPPING,
                B,
            ),
            commands.Audit(
                (A,),
                auditing=Auditing(threat=Threat("L2", ("8/255", "1"), True, 9, ("jpeg:75",), ("hmc:3",))),
                transfer=True,
            ),
            commands.Audit((A,), auditing=Auditing(price=Price(9))),
        ],
        "Check": [
            commands.Check(
                A,
                "mnist",
                32,
                ("output",),
                Auditing(Pairing(7, "9", "dog"), Price(9), Search(11, 2, 3, 4), "1.5gb"),
                WRAPPING,
                B,
            ),
            commands.Check(
                A, auditing=Auditing(threat=Threat("L2", ("8/255", "1"), True, 9, ("jpeg:75",), ("hmc:3",)))
            ),
        ],
        "Attack": [
            commands.Attack(A, A, B, ("output",), 0.5, Price(9), Search(11, 2, 3, 4), WRAPPING, B),
            commands.Attack(
                A, A, B, threat=Threat("L2", ("8/255",), True, 9, ("quantize:8", "resize:0.5"), ("smooth:0.5",))
            ),
        ],
        "Classify": [commands.Classify(A, Mixture(3, "tied", 0.0, 5), B, "./images", 16, WRAPPING)],
        "Robustness": [
            commands.Robustness(
                (A, B), Threats(("pgd",), "L2", ("8/255", "1"), 4, 3, 0, 2, 1), 10, (B, A), "validation", B, "m.py:f"
            )
        ],
        "Transition": [
            commands.Transition((A, B), "9", "7", 3, Walk(0.5, 12, 0.9, 0), B, "validation", 4, A, "m.py:f"),
        ],
        "Frontier": [
            commands.Frontier(
                A,
                B,
                ("1%", "5%"),
                ("noise", "jpeg"),
                3,
                4,
                5,
                Loop(3, 20, 0.01, 1e-05, 9, "64", compile=True, devices=2, tensorboard=True),
                "./images",
                16,
                WRAPPING,
            ),
            commands.Frontier(A, B, loop=Loop(cuda_graph=True)),
        ],
        "Reproduce": [
            commands.Reproduce(("table1", "figure6"), "smoke", A, B, 3, ("mnist", "celeba"), True, "1/2"),
            commands.Reproduce(join=(A, B)),
        ],
        "Report": [commands.Report((A, B), Path("page.html"))],
        "Leaderboard": [commands.Leaderboard((A, B), Path("page.html"), Path("page.md"))],
        "Push": [
            commands.Push(A, "owner/name", A, B, license="cc-by-4.0"),
            commands.Push(A, "owner/name", public=True),
        ],
        "Demo": [commands.Demo(A, "mnist", 3, "4%", 4, 5, 6)],
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
    hardened = words(said("Train")[1])
    assert hardened[hardened.index("--through-target") + 1] == "no"
    assert not {"--resume", "--init", "--model.hidden"} & set(line)
    assert line[line.index("--compile") + 1].startswith("--")
    assert words(commands.Audit((A, B), output=A)) == ("audit", "runs/a", "runs/b c", "--output", "runs/a")
    assert words(commands.Demo()) == ("demo",)


@tried(max_examples=15, deadline=None)
@given(
    st.floats(0, 1e9, exclude_min=True),
    st.lists(st.floats(0, 1e9), min_size=1, max_size=3),
    st.lists(st.integers(1, 9999), min_size=1, max_size=3),
    st.from_regex(r"[\w./][\w .~/'\"$*=-]*", fullmatch=True),  # `~` at the start is somebody's home folder
)
def test_any_number_and_any_name_comes_back(rate: float, prices: list[float], widths: list[int], name: str) -> None:
    differences = {"penalty": "output", "estimator": "finite-difference", "difference_step": rate}
    training = Training().changed(data=name, hidden=tuple(widths), learning_rate=rate, **differences)
    auditing = Auditing().changed(coefficients=tuple(prices))
    for command in (commands.Train(Path(name), training), commands.Audit((Path(name), A), auditing=auditing)):
        assert _parsed(words(command)) == command


# -- what is said has an effect, or is refused -----------------------------------------------------------------

ALWAYS = ""
"""Read whatever the others are. Else: words that say the option where nothing reads it, `;` between two cases."""


def always(options: str) -> dict[str, str]:
    return dict.fromkeys(options.split(), ALWAYS)


READ: dict[str, dict[str, str]] = {
    "Train": {
        "output": ALWAYS,
        "data": ALWAYS,
        "image_size": ALWAYS,
        "limit": ALWAYS,
        "image_column": ALWAYS,  # refused where there is no table
        "label_column": ALWAYS,
        "parts": ALWAYS,
        "background": ALWAYS,
        "model": ALWAYS,
        "hidden": "--model lenet --model.hidden 3",
        "latent": "--model mlp --model.latent 3",
        "filters": "--model vae --model.filters 3; --model draw --model.filters 3",
        "steps": "--model vae --model.steps 3; --model conv-vae --model.steps 3",
        "read_size": "--model ae --model.read-size 3",
        "write_size": "--model conv-ae --model.write-size 3",
        "slope": "--model vae --model.slope 2",
        "likelihood": "--model lenet --likelihood gaussian",
        "variance": "--model cvnet --variance 0.1",  # with bernoulli: `resolve`, which knows the images
        "penalty": "--model mlp --penalty output",
        "penalty_weight": "--penalty-weight 1; --penalty none --penalty-weight 0; --model mlp --penalty-weight 1",
        "through_target": "--through-target yes; --penalty output --through-target no",
        "projections": "--projections 2; --penalty reconstruction --projections 2",
        "estimator": "--estimator perturbed; --penalty noise --estimator finite-difference",
        "difference_step": "--difference-step 0.1; --penalty output --difference-step 0.1",
        "penalty_start": "--penalty-start 0; --penalty none --penalty-start 1",
        "every": "--every 2",
        "at": "--at blends; --penalty none --at images",
        "margin": "--margin 1; --penalty output --margin 0",
        "power_steps": "--power-steps 2; --penalty targeted --power-steps 3",
        "radius": "--radius 0.1; --penalty spectral --radius 0.1",
        "ascent_steps": "--ascent-steps 2; --penalty noise --ascent-steps 2",
        "label_weight": "--model lenet --label-weight 2; --penalty output --label-weight 2",
        "label_gradient": "--label-gradient 1",
        "shift": "--shift 1",
        "invert": "--invert",
        "kl_weight": "--model ae --kl-weight 1; --model conv-ae --kl-weight 2; --model lenet --kl-weight 1",
        "epochs": ALWAYS,
        "batch_size": ALWAYS,
        "learning_rate": ALWAYS,
        "max_grad_norm": ALWAYS,
        "seed": ALWAYS,
        "precision": ALWAYS,
        "compile": ALWAYS,
        "cuda_graph": ALWAYS,
        "devices": ALWAYS,
        "tensorboard": ALWAYS,
        "init": ALWAYS,
        "resume": ALWAYS,
    },
    # of these commands every option is read whatever the others are; of a penalty's as of `train`
    "Harden": always(
        "victim output within freeze loss alone data image_size weights input_range output_range mean std penalty "
        "penalty_weight through_target projections estimator difference_step penalty_start every at margin power_steps "
        "radius ascent_steps epochs batch_size learning_rate max_grad_norm seed precision compile cuda_graph devices "
        "tensorboard"
    ),
    "Audit": always(
        "runs attack data image_size split pairs source_label target_label coefficients steps restarts samples seed "
        "memory norm eps relative queries survive defend weights input_range output_range mean std output transfer"
    ),
    "Check": always(
        "victim data image_size attack pairs source_label target_label coefficients steps restarts samples seed memory "
        "norm eps relative queries survive defend weights input_range output_range mean std json"
    ),
    "Attack": always(
        "victim source target attack coefficient coefficients steps restarts samples seed weights input_range "
        "output_range mean std output norm eps relative queries survive defend"
    ),
    "Classify": always(
        "run components covariance regularization seed output data image_size weights input_range output_range mean std"
    ),
    "Robustness": always(
        "models attack norm eps steps restarts queries noise_samples seed samples black_box split output code"
    ),
    "Transition": always("classifiers from_class to count eta steps confidence beyond judge split seed output code"),
    "Frontier": always(
        "victim output within defences pairs coefficients steps seed data image_size weights input_range output_range "
        "mean std epochs batch_size learning_rate max_grad_norm precision compile cuda_graph devices tensorboard"
    ),
    "Reproduce": always("what scale data_dir output jobs withhold plan part join"),
    "Report": always("folders output"),
    "Leaderboard": always("folders output markdown"),
    "Push": always("run name audit output public license"),
    "Demo": always("output data epochs within pairs coefficients seed"),
}


@pytest.mark.parametrize("name", NAMES)
def test_of_every_option_it_is_known_when_it_is_read(name: str) -> None:
    assert READ[name].keys() == {field for field, _ in leaves(getattr(commands, name)(*LEAST[name]))}


@pytest.mark.parametrize(
    ("option", "line"),
    [(option, line.strip()) for option, lines in READ["Train"].items() for line in lines.split(";") if lines],
)
def test_what_nothing_reads_is_refused(option: str, line: str) -> None:
    with pytest.raises(InputError) as refused:
        _parsed(["train", "--output", "x", *line.split()])
    assert f"--{option.replace('_', '-')}" in str(refused.value).replace("--model.", "--")


@pytest.mark.parametrize(
    "line",
    [
        "--penalty output --projections 2 --penalty-weight 0 --every 2 --penalty-start 1",
        "--penalty reconstruction --through-target no --estimator finite-difference --difference-step 1",
        "--penalty none --estimator exact --projections 1 --every 1",  # what holds anyhow may be said
        "--model vae --kl-weight 1",
        "--init runs/x --kl-weight 2",
    ],
)
def test_what_is_read_is_taken(line: str) -> None:
    _parsed(["train", "--output", "x", *line.split()])


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("train --output x --model.hidden", "--model.hidden has no value"),
        ("train --model.hidden --output x", "--model.hidden has no value"),
        ("train --output x --model.filters --compile", "--model.filters has no value"),
        ("robustness a --black-box", "--black-box has no value"),
        ("robustness a --black-box --eps 1", "--black-box has no value"),
        ("reproduce --withhold --plan", "--withhold has no value"),
        ("reproduce --withhold mnist --plan --plan", "--plan is there twice"),
        ("train --output x --seed 1 --seed 2", "--seed is there twice"),
        ("train --output x --batch-size 4 --batch_size 8", "--batch-size is there twice"),
        ("train --output x --seed=1 --seed 1", "--seed is there twice"),
        ("audit a --attack output --attack latent", "--attack is there twice"),
        ("robustness a --attack pgd pgd", "attack pgd is there twice"),
    ],
)
def test_what_is_said_in_vain(line: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        _parsed(line.split())


def test_switches_and_values_with_an_equals_sign_need_nothing_after_them() -> None:
    assert _parsed(["train", "--output=x", "--compile", "--resume"]).resume
    assert _parsed(["reproduce", "table1", "--plan"]).plan
