"""Which images a step of a training sees, and how they come to its device."""

from dataclasses import replace

import torch
from lightning_fabric import Fabric
from torch import Tensor

from doubleback.data import ImageData, Split
from doubleback.errors import InputError
from doubleback.objective import TrainingObjective
from doubleback.randomness import Stream, generator
from doubleback.tensors import as_images, as_labels, as_unit


def let_in(images: ImageData, model: object) -> ImageData:
    """The images and labels that a training sees, through the gate (`tensors`).

    Raises:
        InputError: they cannot be used, do not fit the model, or are not an `ImageData`.
    """
    if not isinstance(images, ImageData):
        raise InputError(f"images are a {type(images).__name__}; give an ImageData, such as `load_images` returns")

    def through(split: Split, name: str) -> Split:
        x = as_images(split.images, model, f"{name} images")
        return Split(
            x, None if split.labels is None else as_labels(split.labels, len(x), any_number=True, unlabelled=True)
        )

    train, validation = through(images.train, "training"), through(images.validation, "validation")
    if train.images.shape[1:] != validation.images.shape[1:]:
        shapes = " and ".join(str(tuple(one.images.shape[1:])) for one in (train, validation))
        raise InputError(f"the images of training and validation have the shapes {shapes}; give both one shape")
    return replace(images, train=train, validation=validation)


class Batches:
    """The batches of a training, each process's share of them.

    Args:
        fabric: the processes, and the device of this one.
        train: what is learned from.
        size: images in a batch of all processes together.
        seed: of the order of each epoch, and of each step's noise.
    """

    def __init__(self, fabric: Fabric, train: Split, size: int, seed: int) -> None:
        self.fabric, self.size, self.seed = fabric, size, seed
        self.in_epoch = len(train) // size
        self._train = _held(train, fabric.device)
        self._order: tuple[int, Tensor] | None = None

    def share(self, objective: TrainingObjective, step: int) -> list[Tensor | None]:
        """What the objective takes of a step's batch in this process, on its device.

        Torch's own generator, from which dropout draws, gets a seed for each step, which is the same after a resume.
        """
        place = step * self.fabric.world_size + self.fabric.global_rank
        torch.manual_seed(generator(self.seed, Stream.MODEL, place).initial_seed())
        batch = self._train.at(self._places(step))
        x = as_unit(batch.images).to(next(objective.model.parameters()).dtype)
        mine = slice(self.fabric.global_rank, None, self.fabric.world_size)
        share = objective.share(x, batch.labels, generator(self.seed, Stream.NOISE, step), mine)
        return [None if part is None else self._sent(part) for part in share]

    def _places(self, step: int) -> Tensor:
        epoch, place = divmod(step, self.in_epoch)
        if self._order is None or self._order[0] != epoch:
            order = torch.randperm(len(self._train), generator=generator(self.seed, Stream.ORDER, epoch))
            self._order = (epoch, order.to(self._train.images.device))
        return self._order[1][place * self.size : (place + 1) * self.size]

    def _sent(self, part: Tensor) -> Tensor:
        """On the device of this process; a GPU fetches it while Python goes on."""
        if self.fabric.device.type == "cuda" and part.device.type == "cpu":
            part = part.pin_memory()
        sent: Tensor = self.fabric.to_device(part)
        return sent


def _held(split: Split, device: torch.device) -> Split:
    """Keep the images in the GPU's own memory, where they take at most a quarter of what is free there.

    Batches then cross no bus. Elsewhere they stay where they are, memory-mapped, and each batch is brought over.
    """
    if device.type != "cuda" or split.images.nbytes > torch.cuda.mem_get_info(device)[0] / 4:
        return split
    return Split(split.images.to(device), None if split.labels is None else split.labels.to(device))
