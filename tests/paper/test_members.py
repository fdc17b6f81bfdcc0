"""The plan: every command can be typed, fills the folder that it says, and comes after those that it needs."""

from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
import tyro
from hypothesis import given, settings
from hypothesis import strategies as st

from doubleback.paper.compared import JUDGE, PAIR, SIDES, comparisons
from doubleback.paper.members import ARTEFACTS, Member, members
from doubleback.paper.scales import SCALES
from doubleback.settings import Penalty
from doubleback.settings.commands import Audit, Classify, Harden, Robustness, Train, Transition

STAND_INS = {"celeba": "faces"}


@pytest.mark.parametrize("scale", ["smoke", *(pytest.param(one, marks=pytest.mark.slow) for one in ("cpu", "full"))])
def test_every_command_can_be_typed_and_fills_its_folder(scale: str) -> None:
    plan = members(SCALES[scale], ARTEFACTS, STAND_INS)
    for folder, member in plan.items():
        command = member.command
        name, *words = member.words
        assert name == type(command).__name__.lower()
        assert tyro.cli(type(command), args=words, config=(tyro.conf.FlagCreatePairsOff,)) == command
        if isinstance(command, Train):
            assert command.output == Path(folder)
            assert command.resume
            assert command.training.images.data == STAND_INS.get(member.data, member.data)
        elif isinstance(command, Audit):
            home = command.output / command.runs[0].name if command.output else command.runs[0] / "audit"
            assert home == Path(folder)
            judge = (JUDGE,) if folder.startswith("figure1/") else ()
            assert member.needs == (*map(str, command.runs), *judge)
        elif isinstance(command, Harden):
            assert command.output == Path(folder)
            assert member.needs == (str(command.victim),)
            assert command.hardening.share == 0.02
        elif isinstance(command, Classify):
            assert command.output == Path(folder)
            assert member.needs == (str(command.run),)
        else:
            assert isinstance(command, Robustness | Transition)
            assert command.output == Path(folder)
            read = command.models if isinstance(command, Robustness) else command.classifiers
            assert set(map(str, read)) <= set(member.needs)


@cache
def planned(scale: str, *artefacts: str) -> dict[str, Member]:
    return members(SCALES[scale], artefacts, {})


@settings(deadline=None, max_examples=30)  # the first plan of each scale takes longer than those that are kept
@given(scale=st.sampled_from(list(SCALES)), artefacts=st.lists(st.sampled_from(ARTEFACTS), unique=True))
def test_each_comes_after_those_that_it_needs_and_none_is_there_for_nothing(scale: str, artefacts: list[str]) -> None:
    every, plan = planned(scale, *ARTEFACTS), members(SCALES[scale], artefacts, {})
    done: set[str] = set()
    for folder, member in plan.items():
        assert set(member.needs) <= done
        done.add(folder)
    assert all(every[folder] == member for folder, member in plan.items()), "the same command for every artefact"
    needed = {folder for member in plan.values() for folder in member.needs}
    read = {folder for artefact in artefacts for folder in planned(scale, artefact)}
    assert set(plan) == read | needed


@pytest.mark.parametrize("scale", SCALES)
def test_all_is_everything_that_the_issue_asks_for(scale: str) -> None:
    size = SCALES[scale]
    plan = members(size, ARTEFACTS, {})
    rows = comparisons(size)
    assert {row.data for row in rows} == {"mnist", "celeba", "svhn"}
    for row in rows:
        assert len({len(runs) for runs in row.runs.values()}) == 1
        assert {f"{run}/audit" for runs in row.runs.values() for run in runs} <= set(plan)
        assert tuple(row.runs) == (SIDES if row.kinds["hardened"] == "hardened" else PAIR)
    draws = [row.row.training.architecture.sizes for row in rows if row.data == "mnist" and row.ids["model"] == "draw"]
    assert {sizes.read_size for sizes in draws} == {None, 5, 12}
    assert {sizes.latent for sizes in draws} == {None, 8}
    assert {sizes.hidden for sizes in draws} == {None, (128,)}
    assert len({sizes.steps for sizes in draws}) > 1
    assert {"robustness/mnist", "robustness/svhn", "figure3", "figure6"} <= set(plan)


def test_at_cpu_scale_the_vaes_are_trained_three_times_and_draw_once_or_twice() -> None:
    rows = [row for row in comparisons(SCALES["cpu"]) if row.kinds["hardened"] == "hardened"]
    seeds = {(row.data, row.row.key): len(row.seeds) for row in rows}
    assert {count for (_, key), count in seeds.items() if "vae" in key} == {3}
    assert {key for (_, key), count in seeds.items() if count == 2} == {"draw", "draw-12"}
    assert len({(row.row.auditing.pairing.pairs, row.row.auditing.price) for row in rows}) == 1, "attacked alike"


def test_figure_6_follows_the_classifier_of_lambda_1_and_lambda_2_equal_to_1() -> None:
    plan = members(SCALES["full"], ["figure6"], {})
    assert "classifiers/mnist-vae-lambda-1-0" in plan["figure6"].needs
    training = plan["runs/mnist-vae-lambda-1-0"].command.training
    assert (training.penalty, training.kl_weight) == (Penalty("reconstruction", 1.0), 1.0)


def test_figure_1_is_attacked_from_1_to_0_on_draw() -> None:
    plan = members(SCALES["cpu"], ["figure1"], {})
    found = [member for folder, member in plan.items() if folder.startswith("figure1/")]
    assert len(found) == len(SIDES)
    for member in found:
        pairing = member.command.auditing.pairing
        assert (pairing.source_label, pairing.target_label) == ("1", "0")
        assert "mnist-draw-12-" in member.needs[0]


def test_a_hardened_run_differs_from_its_plain_one_in_the_penalty_only() -> None:
    for size in SCALES.values():
        plan = members(size, ["table1"], {})
        for row in size.autoencoders:
            for seed in row.seeds:
                plain, hardened = (plan[row.run(kind, seed)].command for kind in PAIR)
                assert plain.training.penalty == Penalty()
                assert replace(plain.training, penalty=Penalty("reconstruction")) == hardened.training


@pytest.mark.parametrize("scale", SCALES)
def test_minutes_are_those_of_the_scale(scale: str) -> None:
    plan = members(SCALES[scale], ARTEFACTS, {})
    known = {folder: member.minutes for folder, member in plan.items() if member.minutes is not None}
    assert set(known) <= (set(plan) if scale == "cpu" else set())
    if known:
        assert known["runs/mnist-vae-plain-0"] == known["runs/mnist-vae-plain-2"] == 2.6
        assert known["runs/mnist-vae-lambda-1-0"] == 3.2
