"""The plan: every command can be typed, fills the folder that it says, and comes after those that it needs."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from doubleback.cli import _parsed
from doubleback.experiments.config import Audit, Classify, Robustness, Train, Transition
from doubleback.experiments.reproduction.members import ARTEFACTS, PAIR, comparisons, members
from doubleback.experiments.reproduction.scales import SCALES

STAND_INS = {"celeba": "faces"}


@pytest.mark.parametrize("scale", SCALES)
def test_every_command_can_be_typed_and_fills_its_folder(scale: str) -> None:
    plan = members(SCALES[scale], ARTEFACTS, STAND_INS)
    for folder, member in plan.items():
        settings = _parsed(member.words)
        if isinstance(settings, Train):
            assert settings.output == Path(folder)
            assert settings.resume
            assert settings.data == STAND_INS.get(member.data, member.data)
        elif isinstance(settings, Audit):
            home = settings.output / settings.runs[0].name if settings.output else settings.runs[0] / "audit"
            assert home == Path(folder)
            assert member.needs == tuple(map(str, settings.runs))
        elif isinstance(settings, Classify):
            assert settings.output == Path(folder)
            assert member.needs == (str(settings.run),)
        else:
            assert isinstance(settings, Robustness | Transition)
            assert settings.output == Path(folder)
            read = settings.models if isinstance(settings, Robustness) else settings.classifiers
            assert set(map(str, read)) <= set(member.needs)


@given(scale=st.sampled_from(list(SCALES)), artefacts=st.lists(st.sampled_from(ARTEFACTS), unique=True))
def test_each_comes_after_those_that_it_needs_and_none_is_there_for_nothing(scale: str, artefacts: list[str]) -> None:
    every, plan = members(SCALES[scale], ARTEFACTS, {}), members(SCALES[scale], artefacts, {})
    done: set[str] = set()
    for folder, member in plan.items():
        assert set(member.needs) <= done
        done.add(folder)
    assert all(every[folder] == member for folder, member in plan.items()), "the same command for every artefact"
    needed = {folder for member in plan.values() for folder in member.needs}
    read = {folder for artefact in artefacts for folder in members(SCALES[scale], [artefact], {})}
    assert set(plan) == read | needed


@pytest.mark.parametrize("scale", SCALES)
def test_all_is_everything_that_the_issue_asks_for(scale: str) -> None:
    size = SCALES[scale]
    plan = members(size, ARTEFACTS, {})
    rows = comparisons(size)
    assert {row.data for row in rows} == {"mnist", "celeba", "svhn"}
    for row in rows:
        assert len(row.plain) == len(row.hardened)
        assert {f"{run}/audit" for run in (*row.plain, *row.hardened)} <= set(plan)
    draws = [row.label for row in rows if row.data == "mnist" and row.label.startswith("DRAW")]
    for varied in ("no attention", "window 5", "latent 8", "LSTM 128"):
        assert [label for label in draws if varied in label]
    assert len({label.partition("T = ")[2][:2] for label in draws}) > 1, "several numbers of steps"
    assert {"robustness/mnist", "robustness/svhn", "figure3", "figure6"} <= set(plan)


def test_at_cpu_scale_the_vaes_are_trained_three_times_and_draw_once() -> None:
    rows = {(row.data, row.label): row for row in comparisons(SCALES["cpu"])}
    assert len(rows["mnist", "VAE"].plain) == len(rows["celeba", "VAE, convolutional"].plain) == 3
    assert all(len(row.plain) == 1 for row in rows.values() if row.label.startswith("DRAW"))


def test_figure_6_follows_the_classifier_of_lambda_1_and_lambda_2_equal_to_1() -> None:
    plan = members(SCALES["full"], ["figure6"], {})
    assert "classifiers/mnist-vae-lambda-1-0" in plan["figure6"].needs
    words = " ".join(plan["runs/mnist-vae-lambda-1-0"].words)
    assert "--penalty reconstruction --penalty-weight 1 --kl-weight 1" in words


def test_figure_1_is_attacked_from_1_to_0_on_draw() -> None:
    plan = members(SCALES["cpu"], ["figure1"], {})
    found = [member for folder, member in plan.items() if folder.startswith("figure1/")]
    assert len(found) == len(PAIR)
    for member in found:
        assert "--from 1 --to 0" in " ".join(member.words)
        assert "--model draw" in " ".join(plan[member.needs[0]].words)


def test_a_hardened_run_differs_from_its_plain_one_in_the_penalty_only() -> None:
    for size in SCALES.values():
        plan = members(size, ["table1"], {})
        for row in size.autoencoders:
            for seed in row.seeds:
                plain, hardened = (plan[row.run(kind, seed)].words for kind in PAIR)
                left = [word for word in hardened if word not in ("--penalty", "reconstruction")]
                assert [word.replace("plain", "hardened") for word in plain] == left
