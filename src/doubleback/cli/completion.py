"""What lets the Tab key complete `doubleback` commands, as a script for a shell. Imports no torch.

tyro has such scripts, too. They start Python at every Tab, offer parts of explanations as if they were settings, and
know no files where an argument has no flag (tyro 1.0).
"""

from collections.abc import Iterable, Sequence

from doubleback.cli.help import COMMANDS, usable
from doubleback.errors import InputError

ASKED = "--completion"
SHELLS = {"bash": "", "zsh": "autoload -U compinit bashcompinit && compinit && bashcompinit\n"}
_SCRIPT = """\
_doubleback() {{
  local current="${{COMP_WORDS[COMP_CWORD]}}" command="${{COMP_WORDS[1]}}" known="" place=$((COMP_CWORD - 1)) option
  while [ "$place" -gt 1 ] && [ "${{COMP_WORDS[place]#--}}" = "${{COMP_WORDS[place]}}" ]; do place=$((place - 1)); done
  option="${{COMP_WORDS[place]}}"
  [ "$((COMP_CWORD - place))" -gt 1 ] && option="$option ..."
  if [ "$COMP_CWORD" -eq 1 ]; then
    known="{commands}"
  elif [ "${{current#-}}" != "$current" ]; then
    case "$command" in
{flags}
    esac
  else
    case "$command $option" in
{choices}
    esac
  fi
  COMPREPLY=($(compgen -W "$known" -- "$current"))
}}
complete -o default -F _doubleback doubleback
"""


def script(shell: str) -> str:
    """The script; a shell that reads it completes commands, settings, their choices, and names of files.

    Args:
        shell: "bash" or "zsh".

    Raises:
        InputError: it is another one.
    """
    if shell not in SHELLS:
        raise InputError(f"{ASKED} is {shell!r}; give one of {', '.join(SHELLS)}")
    flags, choices = [], [_case([f"{ASKED} {ASKED}"], SHELLS)]
    for name, command in COMMANDS.items():
        every = usable(command)
        flags.append(_case([name], [*(one.flag for one in every if not one.positional), "--help"]))
        for one in every:
            if one.choices:
                spoken = f"{name} {name if one.positional else one.flag}"
                choices.append(_case([spoken, *([f"{spoken} ..."] if one.several else [])], one.choices))
    words = " ".join([*COMMANDS, "--help", "--version", ASKED])
    return SHELLS[shell] + _SCRIPT.format(commands=words, flags="\n".join(flags), choices="\n".join(choices))


def _case(spoken: Sequence[str], words: Iterable[str]) -> str:
    patterns = "|".join(f'"{one}"' for one in spoken)
    return f'      {patterns}) known="{" ".join(words)}" ;;'
