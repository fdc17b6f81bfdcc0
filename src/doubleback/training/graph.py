"""Steps without Python: recorded once on a GPU as a CUDA graph, then replayed."""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

WARM_UP = 3  # calls that run as they are: compilers, choices of algorithms and workspaces cannot be recorded


class GraphedGradients:
    """A function of tensors that leaves gradients in parameters, replayed from its fourth call on.

    One launch takes the place of thousands: what Python takes for them, the GPU need not wait for. The function
    must do the same at every call, whatever the values of its inputs, and take tensors of the same shapes; all that it
    computes with stays on the GPU. Source: PyTorch's "CUDA Graphs", whole-network capture.

    Args:
        function: (tensors or None) -> a tensor; finds the gradients at None and sets them.
        parameters: whose gradients it sets.
    """

    def __init__(self, function: Callable[..., Tensor], parameters: Iterable[nn.Parameter]) -> None:
        self._function = function
        self._parameters = list(parameters)
        self._calls = 0
        self._aside = torch.cuda.Stream()  # type: ignore[no-untyped-call]  # torch has no hint
        self._graph = torch.cuda.CUDAGraph()
        self._inputs: list[Tensor | None] = []
        self._gradients: list[Tensor | None] = []

    def __call__(self, *inputs: Tensor | None) -> Tensor:
        """The function's result, a copy; the gradients are those of the graph, which its next replay writes over."""
        self._calls += 1
        if self._calls <= WARM_UP:
            self._aside.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(self._aside):
                result = self._function(*inputs)
            torch.cuda.current_stream().wait_stream(self._aside)
            return result
        if self._calls == WARM_UP + 1:
            self._record(inputs)
        for held, new in zip(self._inputs, inputs, strict=True):
            if held is not None and new is not None:
                held.copy_(new, non_blocking=True)
        for parameter, gradient in zip(self._parameters, self._gradients, strict=True):
            parameter.grad = gradient
        self._graph.replay()
        return self._result.clone()

    def _record(self, inputs: tuple[Tensor | None, ...]) -> None:
        self._inputs = [None if one is None else one.clone() for one in inputs]
        with torch.cuda.graph(self._graph):
            self._result = self._function(*self._inputs)
        self._gradients = [parameter.grad for parameter in self._parameters]
