"""The presets: each builds, is of the settings that a training has, and was measured as it says."""

import shlex

import pytest
import tyro

from doubleback.presets import measured, preset
from doubleback.registry import MODELS, build
from doubleback.settings import Architecture, Loop, Penalty, Sizes
from doubleback.settings.commands import Train

SHAPES = {"mnist": (1, 28, 28), "svhn": (3, 32, 32), "celeba": (3, 64, 64)}
MEASURED = ("vae", "conv-vae", "draw", "draw-attention", "ae", "conv-ae", *(n for n in MODELS if MODELS[n].classifies))


def typed(command: str) -> Train:
    """The command that a line of `measured.json` spells."""
    words = shlex.split(command)
    assert words[0] == "train"
    return tyro.cli(Train, args=[*words[1:], "--output", "x"], config=(tyro.conf.FlagCreatePairsOff,))


@pytest.mark.parametrize("image_shape", SHAPES.values())
@pytest.mark.parametrize("model", MODELS)
def test_every_model_has_a_preset_that_builds(model: str, image_shape: tuple[int, int, int]) -> None:
    found = preset(model, image_shape)
    sizes = Sizes(**found.sizes).given
    assert sizes == dict(found.sizes)
    loop = {"batch_size", "learning_rate", "epochs"}
    if MODELS[model].classifies:
        assert set(found.settings) == loop
        built = build(model, image_shape, sizes, classes=("a", "b"))
    else:
        of_model = {name: found.settings[name] for name in ("likelihood", "variance")}
        assert set(found.settings) - {"penalty_weight"} == loop | set(of_model)
        assert Architecture(model, Sizes(**found.sizes), **of_model).sizes.given == sizes
        built = build(model, image_shape, sizes, **of_model)
        assert Penalty("reconstruction", found.settings.get("penalty_weight")).penalty_weight != 0
    assert built.image_shape == image_shape
    assert Loop(**{name: found.settings[name] for name in loop}).epochs > 0


def test_a_plain_autoencoder_takes_what_serves_its_variational_twin() -> None:
    for shape in SHAPES.values():
        assert preset("ae", shape) == preset("vae", shape)
        assert preset("conv-ae", shape) == preset("conv-vae", shape)


def test_a_model_without_a_line_of_its_own_takes_what_serves_every_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """A new architecture is a file and a line in the registry: `presets` need not know it."""
    monkeypatch.setitem(MODELS, "new", MODELS["draw"].__class__("draw:New", "autoencode", {"latent": int}, "new"))
    found = preset("new", (3, 64, 64))
    assert found.sizes == {"latent": 64}
    assert found.settings["likelihood"] == "gaussian"
    assert {"batch_size", "learning_rate", "epochs", "penalty_weight"} < set(found.settings)
    monkeypatch.setitem(MODELS, "judge", MODELS["lenet"].__class__("draw:Judge", "classify", {}, "judge"))
    assert preset("judge", (1, 28, 28)) == preset("lenet", (1, 28, 28))


def test_attention_has_settings_of_its_own() -> None:
    assert preset("draw", (1, 28, 28)).settings.get("penalty_weight") is None
    assert preset("draw", (1, 28, 28), attention=True).settings["penalty_weight"] == 0.015
    assert preset("draw", (3, 32, 32), attention=True).sizes == preset("draw", (3, 32, 32)).sizes


def test_what_was_measured_was_trained_as_it_says() -> None:
    """Each command spells the model and the data, and its penalty; a hardened run stands beside each plain one."""
    count = 0
    for model in MEASURED:
        for data in SHAPES:
            commands = [typed(one.command).training for one in measured(model, data)]
            count += len(commands)
            for command in commands:
                attention = "-attention" if command.architecture.sizes.read_size else ""
                assert f"{command.architecture.model}{attention}" == model
                assert data in (command.images.data, {"faces": "celeba"}.get(command.images.data))
            assert [command.penalty.penalty for command in commands] in ([], ["none", "reconstruction"])
    assert count == 30
    assert measured("lenet", "mnist") == ()
