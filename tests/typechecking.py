"""The run-time checker of shapes and types that pytest switches on for the package: ints pass for floats (PEP 484)."""

from beartype import BeartypeConf, beartype

checked = beartype(conf=BeartypeConf(is_pep484_tower=True))
