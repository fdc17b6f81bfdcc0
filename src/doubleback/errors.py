"""The one error that a user can cause, and its message: what is wrong, what was expected, how to fix it."""

from collections.abc import Iterator
from contextlib import contextmanager

from doubleback.terminal import plain


class InputError(ValueError):
    """Something handed to doubleback is unusable: a value, a file, a folder.

    The message is one line naming the value, what was expected and the fix. The command line prints it and
    exits with status 2; in the library it is an ordinary `ValueError`.

    Args:
        message: the line; what does not print in a name that it holds is spelt out.
    """

    def __init__(self, message: str) -> None:
        super().__init__(plain(message))


class BusyError(InputError):
    """Another process writes there at this moment."""


def reason(error: BaseException) -> str:
    """The first line of an error's message, or its name where it has none: for the brackets of our own line."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


class DivergedError(RuntimeError):
    """Training's loss is no longer finite; the message says at which step, and what to change."""


class LostProcessError(RuntimeError):
    """Another process of the same run has died; the message says what is kept and how to go on."""


@contextmanager
def said_in_a_line(what: str) -> Iterator[None]:
    """Whatever somebody else's code raises inside, as a line that names the code.

    Raises:
        InputError: it has raised, or has asked Python to end; what the system refuses is passed on as it is.
    """
    try:
        yield
    except InputError:
        raise
    except (Exception, SystemExit) as error:
        if isinstance(error, Exception) and out_of_reach(error):
            raise
        raise InputError(f"{what} raises {type(error).__name__} ({reason(error)[:200]}); correct it") from error


def ran_out(error: BaseException) -> bool:
    """Whether this error says that there was not enough memory, of the machine or of a GPU."""
    said = str(error).lower()
    of_torch = isinstance(error, RuntimeError) and ("allocate" in said or "out of memory" in said)
    return isinstance(error, MemoryError) or of_torch


def out_of_reach(error: Exception) -> InputError | None:
    """What the system refused, as a line: memory that is not there, a file that nobody may touch. None: another fault.

    What can be seen beforehand is refused beforehand; this is for the rest.
    """
    if ran_out(error):
        return InputError("there is not enough memory for this; give smaller sizes, or fewer images at once")
    if isinstance(error, OSError) and error.filename is not None:
        return InputError(f"cannot use {error.filename}: {error.strerror}; give another path")
    return None
