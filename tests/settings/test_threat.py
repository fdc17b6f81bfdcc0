"""What is asked of an attacker on the command line: read whole, or refused in one line."""

import pytest

from doubleback.cli.main import _parsed
from doubleback.errors import InputError
from doubleback.settings import Auditing, Budget, Price


def test_it_is_read_whole() -> None:
    words = "audit a b --norm L2 --eps 0.5 8/255 --relative --queries 9 --survive quantize:8 jpeg:75 --transfer"
    command = _parsed(words.split())
    threat = command.auditing.threat
    assert threat.budget == Budget("L2", ("0.5", "8/255"), relative=True)
    assert (threat.queries, threat.survive, command.transfer) == (9, ("quantize:8", "jpeg:75"), True)
    assert _parsed(["audit", "a", "--eps", "8/255"]).auditing.threat.budget == Budget("Linf", ("8/255",))
    assert _parsed(["audit", "a"]).auditing.threat.budget is None


def test_steps_that_nobody_has_said_are_those_of_the_capability() -> None:
    assert Auditing().resolved.search.steps == Price.STEPS == 300
    assert Auditing().changed(eps=["8/255"]).resolved.search.steps == Budget.STEPS == 100
    assert Auditing().changed(eps=["8/255"], steps=7).resolved.search.steps == 7


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("audit a --eps 2", "give at most 1"),
        ("audit a --eps 0", "give a positive number"),
        ("audit a --eps nan", "give a positive number"),
        ("audit a --eps x", "is not a number"),
        ("audit a --eps 8/255 8/255", "is there twice"),
        ("audit a --norm L2", "--norm has no effect without --eps"),
        ("audit a --relative", "--relative has no effect without --eps"),
        ("audit a --queries 5", "--queries has no effect without --eps"),
        ("audit a --transfer", "--transfer has no effect without --eps"),
        ("audit a --eps 0.1 --relative", "give the norm L2"),
        ("audit a --eps 0.1 --coefficients 5", "--coefficients has no effect with --eps"),
        ("audit a --eps 0.1 --queries -5", "queries is -5"),
        ("audit a --survive gzip:3", "survive is 'gzip:3'"),
        ("audit a --norm L1 --eps 0.1", "L1"),
        ("attack a b c --eps 0.1 0.2", "give one"),
        ("attack a b c --eps 0.1 --coefficient 2", "--coefficient has no effect with --eps"),
    ],
)
def test_what_has_no_effect_or_no_meaning_is_refused(words: str, said: str) -> None:
    with pytest.raises(InputError) as caught:
        _parsed(words.split())
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
