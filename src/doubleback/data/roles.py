"""Which part a name stands for: train, validation or test."""

import re

_ROLES = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("validation", "valid", "val", "dev"), "validation"),
    **dict.fromkeys(("test", "testing", "eval", "evaluation"), "test"),
}


def role_of(name: str) -> str | None:
    """The part that is called so; None if no part is.

    >>> role_of("Val"), role_of("training"), role_of("extra")
    ('validation', 'train', None)
    """
    return _ROLES.get(name.lower())


def role_within(name: str) -> str | None:
    """The part that one of the words of a name stands for; None for no such word, or for words of several parts.

    >>> role_within("mnist_train-00000-of-00001"), role_within("test2017"), role_within("train_test")
    ('train', 'test', None)
    """
    found = {role_of(word) for word in re.findall(r"[^\W\d_]+", name)} - {None}
    return found.pop() if len(found) == 1 else None
