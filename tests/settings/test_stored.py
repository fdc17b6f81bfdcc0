"""Settings as JSON, and back; folders that version 0.1.0 has written among them."""

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from doubleback.errors import InputError
from doubleback.experiments.runs import Stored
from doubleback.settings import Architecture, Auditing, Data, Loop, Pairing, Penalty, Price, Sizes, Threats, Training
from doubleback.settings.stored import checked, flat, unflat

SETTINGS = Training(
    Data("digits", 8),
    Architecture("conv-vae", Sizes((9,), 3, (4, 8)), "gaussian", 0.1),
    Penalty("reconstruction", 0.25, True),
    0.5,
    Loop(3, 20, 0.01, devices=2),
    Path("runs/a"),
)


@pytest.mark.parametrize(
    "settings", [Training(), SETTINGS, Auditing(Pairing(source_label="9"), Price((0.0, 1.0))), Threats(eps=("8/255",))]
)
def test_settings_come_back(settings: Any) -> None:
    stored = json.loads(json.dumps(flat(settings)))
    assert stored == flat(settings), "it is plain JSON"
    assert unflat(type(settings), stored, "here") == settings


def test_the_names_are_those_of_the_fields() -> None:
    stored = flat(SETTINGS)
    assert stored["sizes"] == {
        "hidden": [9],
        "latent": 3,
        "filters": [4, 8],
        "steps": None,
        "read_size": None,
        "write_size": None,
        "slope": None,
    }
    assert (stored["data"], stored["init"], stored["through_target"]) == ("digits", "runs/a", True)
    assert {"model", "likelihood", "penalty", "kl_weight", "epochs", "seed"} < set(stored)


def test_what_the_weights_depend_on() -> None:
    """Not how the run is watched, nor how its steps are recorded."""
    watched = SETTINGS.changed(tensorboard=True)
    assert watched.described == SETTINGS.described
    assert SETTINGS.changed(seed=1).described != SETTINGS.described
    assert unflat(Training, SETTINGS.described, "here") == SETTINGS


def test_what_is_missing_takes_its_default() -> None:
    assert unflat(Training, {"data": "mnist"}, "here") == Training(Data("mnist"))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"colour": "red"}, "here holds the unknown setting 'colour'"),
        ({"sizes": {"latent": 3, "depth": 2}}, "here holds the unknown setting 'sizes.depth'"),
        ({"sizes": 3}, "here holds settings that cannot be used"),
        ({"epochs": "many"}, "here holds settings that cannot be used"),
        ({"epochs": 0}, "cannot be used .epochs is 0"),
        ({"model": "transformer"}, "cannot be used .model is 'transformer'"),
        ({"model": ["vae"]}, "cannot be used"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_what_cannot_be_read(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said) as caught:
        unflat(Training, flat(SETTINGS) | changes, "here")
    assert "\n" not in str(caught.value)


ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.just(10**40)
    | st.just("x" * 999),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)


@given(name=st.sampled_from([*flat(SETTINGS), *flat(SETTINGS)["sizes"], "colour"]), value=ANYTHING)
@hypothesis_settings(max_examples=200, deadline=None)
def test_whatever_stands_there_is_a_setting_or_refused_in_a_line(name: str, value: Any) -> None:
    stored = flat(SETTINGS)
    if name in stored["sizes"]:
        stored["sizes"][name] = value
    else:
        stored[name] = value
    with suppress(InputError):
        found = unflat(Training, stored, "here")
        assert unflat(Training, flat(found), "here") == found


@pytest.mark.parametrize(
    ("stored", "said"),
    [
        ({"image_shape": [1, 8, 8]}, "missing required field `train`"),
        ({"train": {}, "image_shape": [1, 8]}, "Expected `array` of length 3"),
        ({"train": {}, "image_shape": [1, 8, 8.5]}, r"Expected `int`, got `float` - at `\$\.image_shape"),
        ({"train": {}, "image_shape": [1, 8, 0]}, "Expected `int` >= 1"),
        ({"train": {}, "image_shape": [1, 8, 2**40]}, "Expected `int` <= "),
        ({"train": {}, "image_shape": [1, 8, 8], "classes": [None]}, r"Expected `int \| str`"),
    ],
)
def test_a_record_is_checked_by_its_type(stored: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=f"here is not as doubleback writes it .*{said}"):
        checked(Stored, stored, "here")
    assert checked(Stored, {"train": {}, "image_shape": [1, 8, 9], "new": 3}, "here") == Stored({}, (1, 8, 9))
