"""The one error that a user can cause, and its message: what is wrong, what was expected, how to mend it."""


class InputError(ValueError):
    """Something handed to doubleback is unusable: a value, a file, a folder.

    The message is one line naming the value, what was expected and the fix. The command line prints it and
    exits with status 2; in the library it is an ordinary `ValueError`.
    """


class DivergedError(RuntimeError):
    """Training's loss is no longer finite; the message says at which step, and what to change."""


class LostProcessError(RuntimeError):
    """Another process of the same run has died; the message says what is kept and how to go on."""


def first_line(error: BaseException) -> str:
    """The first line of an error's message; its type if it has none."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
