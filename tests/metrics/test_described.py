"""Figures that can be had, and reasons for those that cannot."""

import math

import pytest

from doubleback.metrics.described import Described


def test_figures_stand_where_their_names_say_and_reasons_beside_them() -> None:
    figures = Described()
    figures.measure("a", lambda: 1.0)
    figures.measure("b.c", lambda: 2.0)
    assert figures.results() == {"a": 1.0, "b": {"c": 2.0}}
    figures.measure("b.d", lambda: math.nan)
    figures.measure("e", lambda: [][0])  # type: ignore[var-annotated]
    assert figures.results() == {
        "a": 1.0,
        "b": {"c": 2.0, "d": None},
        "e": None,
        "not_measured": {"b.d": "it is nan", "e": "IndexError: list index out of range"},
    }


def test_ctrl_c_is_no_reason() -> None:
    def interrupted() -> float:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Described().measure("a", interrupted)
