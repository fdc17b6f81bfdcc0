"""What has to be run for a reproduction: which data are there, what is finished already, how much runs side by side."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from doubleback.data import load_images, stored
from doubleback.errors import InputError
from doubleback.files import read_json
from doubleback.folders import names_in, strange
from doubleback.paper.joining import part_of
from doubleback.paper.members import ARTEFACTS, members
from doubleback.paper.record import RECORD, read_reproduction
from doubleback.paper.running import Progress, Reproduction, identity, progress_of
from doubleback.paper.scales import SCALES
from doubleback.processes import cores, free_memory
from doubleback.settings.commands import Reproduce, Train
from doubleback.settings.words import home_of

_GIGABYTES_EACH = {"cpu": 4, "cuda": 10}  # of memory, for a command: the largest is a 64x64 audit
_AT_ONCE = 4  # commands on one GPU: more share its kernels without gain


def plan(settings: Reproduce) -> Reproduction:
    """Find out what has to be run: which data are there, what is finished already.

    Raises:
        InputError: the folder holds another reproduction; a setting is out of range.
    """
    folder = settings.home
    _settle_data(settings.data_dir)
    data = _stand_ins()
    _check_folder(folder, identity(settings.scale, data))
    artefacts = ARTEFACTS if "all" in settings.what else settings.what
    scale = SCALES[settings.scale]
    wanted = part_of(members(scale, artefacts, data), scale, *settings.share, settings.withhold)
    jobs, why = (settings.jobs, "as asked for") if settings.jobs is not None else _jobs()
    if jobs < 1:
        raise InputError(f"jobs is {jobs}; give a whole number of at least 1")
    environment = {"OMP_NUM_THREADS": str(max(1, cores() // jobs))}
    known = read_reproduction(folder).commands if (folder / RECORD).exists() else {}
    progress = {
        name: progress_of(folder, one, known[name].seconds if name in known else 0.0) for name, one in wanted.items()
    }
    found = Reproduction(folder, settings.scale, wanted, progress, data, environment, jobs, why)
    _leave_out_missing_data(found)
    return found


def _settle_data(data_dir: Path | None) -> None:
    """Make $DOUBLEBACK_DATA, or what is given in its place, absolute: the commands start in another folder."""
    if data_dir is not None and not data_dir.is_dir():
        raise InputError(f"{data_dir} is not a folder; give one that holds mnist/, svhn/ and celeba/ (or faces/)")
    if home := data_dir or os.environ.get("DOUBLEBACK_DATA"):
        os.environ["DOUBLEBACK_DATA"] = str(home_of(Path(home)).resolve())


def _stand_ins() -> dict[str, str]:
    """Other faces in CelebA's place, if these are there and CelebA is not."""
    return {"celeba": "faces"} if stored("faces") and not stored("celeba") else {}


def _check_folder(folder: Path, ours: Mapping[str, Any]) -> None:
    names = names_in(folder)
    if RECORD not in names:
        if names:
            raise strange(folder, "reproduction")
        return
    there = read_json(folder / RECORD)
    for name, here in ours.items():
        if there.get(name) != here:
            raise InputError(
                f"{folder} holds a reproduction of another {name.replace('_', '-')} ({there.get(name)} there, "
                f"{here} here); give another --output"
            )


def _leave_out_missing_data(reproduction: Reproduction) -> None:
    """Open every data set that is needed, once; without it, what needs it is left out and the rest still runs."""
    for name in dict.fromkeys(one.data for one in reproduction.of_state("due")):
        source = reproduction.data.get(name, name)
        of_it = [one.command for one in reproduction.members.values() if one.data == name]
        try:
            for limit in {command.training.images.limit for command in of_it if isinstance(command, Train)}:
                load_images(source, limit=limit)
        except InputError as error:
            for one in reproduction.of_state("due"):
                if one.data == name:
                    reproduction.progress[one.folder] = Progress("left out", why=f"needs {source}: {error}")
    reproduction.leave_out_what_is_in_vain()


def _jobs() -> tuple[int, str]:
    """How many commands to run side by side, and why."""
    count = cores()
    if torch.cuda.is_available():
        free = torch.cuda.mem_get_info()[0] / 2**30
        jobs = max(1, min(_AT_ONCE, count, int(free / _GIGABYTES_EACH["cuda"])))
        return jobs, f"a GPU with {free:.0f} GB free, {_GIGABYTES_EACH['cuda']} for each, {_AT_ONCE} at most"
    free = free_memory() / 2**30
    jobs = int(max(1, min(count, free / _GIGABYTES_EACH["cpu"])))
    return jobs, f"{count} cores, {free:.0f} GB free, {_GIGABYTES_EACH['cpu']} for each"
