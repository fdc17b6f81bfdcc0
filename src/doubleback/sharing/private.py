"""What is passed on names no folder of the machine that made it."""

import re
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

_PATH = re.compile(r"""(?:(?<=[\s'"(=,:])|^)(?:~[^/\s]*)?(?:[A-Za-z]:[\\/]|/(?!/))[^\s'"),;]*""")


def without_paths(value: Any) -> Any:
    """JSON data in which every absolute path has become its last part.

    >>> without_paths(["audit", "/home/me/runs/plain", "--data=/data/x", "8/255", {"run": "runs/plain"}])
    ['audit', 'plain', '--data=x', '8/255', {'run': 'runs/plain'}]
    """
    if isinstance(value, dict):
        return {key: without_paths(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [without_paths(one) for one in value]
    if not isinstance(value, str):
        return value
    if PurePosixPath(value).is_absolute() or PureWindowsPath(value).is_absolute():  # whole, also with blanks in it
        return _last(value)
    return _PATH.sub(lambda found: _last(found[0]), value)


def _last(path: str) -> str:
    return re.split(r"[\\/]", path.rstrip("\\/"))[-1] or "path"
