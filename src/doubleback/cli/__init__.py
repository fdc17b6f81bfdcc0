"""The command line: `main` parses and dispatches, `console` prints. The commands are `doubleback.settings.commands`."""

from doubleback.cli.main import main

__all__ = ["main"]
