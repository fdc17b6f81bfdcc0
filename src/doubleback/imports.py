"""An object that a user names as code of their own: `package.module:name`, or `file.py:name`.

Only what is named so is imported; nothing is ever imported from a folder that is read or written.
"""

import hashlib
import importlib
import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from doubleback.errors import InputError


def is_named(text: str) -> bool:
    """Whether this is the name of an object of a module or a file, not a plain word.

    >>> is_named("mine.py:Brightness"), is_named("latent")
    (True, False)
    """
    return ":" in text


def named_object(text: str) -> Any:
    """The object that `module:name` or `file.py:name` stands for.

    Raises:
        InputError: there is no such file, module or name, or it fails to import.
    """
    home, _, name = text.rpartition(":")
    if not home or not name:
        raise InputError(f"{text!r} names no object; give module:name or file.py:name")
    if home.endswith(".py") and not _is_file(Path(home)):
        raise InputError(f"{home} does not exist; give file.py:name of a file that does")
    try:
        module = _from_file(Path(home)) if home.endswith(".py") else importlib.import_module(home)
    except (Exception, SystemExit) as error:
        first = (str(error).splitlines() or [""])[0]
        if _is_file(Path(f"{home}.py")):
            raise InputError(f"{home} is not an installed module; did you mean {home}.py:{name}?") from error
        raise InputError(
            f"{home} cannot be imported ({type(error).__name__}: {first}); fix it, or name another"
        ) from error
    if not hasattr(module, name):
        raise InputError(f"{home} has no {name!r}; give a name that it defines")
    return getattr(module, name)


def code_digest(text: str) -> str:
    """A digest of the file that `module:name` or `file.py:name` comes from: another text is another object."""
    home = text.rpartition(":")[0]
    spec = None if home.endswith(".py") else importlib.util.find_spec(home)
    path = Path(home) if spec is None else Path(spec.origin or "")
    return hashlib.sha256(path.read_bytes() if path.is_file() else b"").hexdigest()[:32]


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()  # not a pipe, which could be waited for without end
    except OSError:  # a name that no file system takes
        return False


def _from_file(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(str(path.resolve()), path)  # no other module has such a name
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)  # dataclasses look their module up
    with beside(path):
        spec.loader.exec_module(module)
    return module


@contextmanager
def beside(file: Path) -> Iterator[None]:
    """While a user's file is read, or makes a model, it may import its neighbours, as `python file.py` may.

    They come last, so that none of them hides a library. Afterwards nothing is imported from there. Nothing is written
    there either.
    """
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    folder = str(file.resolve().parent)
    new = _is_file(file) and folder not in sys.path
    if new:
        sys.path.append(folder)
    try:
        yield
    finally:
        sys.dont_write_bytecode = before
        if new:
            sys.path.remove(folder)
