"""No folder of a machine is named in what is passed on."""

import pytest

from doubleback.sharing.private import without_paths


@pytest.mark.parametrize(
    ("said", "passed_on"),
    [
        ("/home/me/runs/plain", "plain"),
        ("/home/me/my photos", "my photos"),
        ("/home/me/runs/", "runs"),
        ("C:\\Users\\me\\runs\\plain", "plain"),
        ("--output=/home/me/x", "--output=x"),
        ("see /home/me/x, and ~/y/z", "see x, and z"),
        ("/home/me/mine.py:Goal", "mine.py:Goal"),
        ("8/255", "8/255"),
        ("runs/plain", "runs/plain"),
        ("owner/name", "owner/name"),
        ("https://huggingface.co/owner/name", "https://huggingface.co/owner/name"),
        ("/", "path"),
        (3, 3),
        (None, None),
    ],
)
def test_a_word(said: object, passed_on: object) -> None:
    assert without_paths(said) == passed_on
    assert without_paths({"a": [said, {"b": said}]}) == {"a": [passed_on, {"b": passed_on}]}
