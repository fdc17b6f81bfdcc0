"""The version, said once: the package, the wheel and every file that doubleback writes take it from here."""

__version__ = "0.2.0"
