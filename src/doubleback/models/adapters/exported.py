"""Programs that `torch.export` has made: a whole model, often for batches of one size alone."""

from typing import Any

from doubleback.models.victim import Parts

HOME = "torch"


def parts_of(net: Any) -> Parts | None:
    """An exported program of one input; None of everything else that torch makes."""
    if type(net).__name__ != "ExportedProgram":
        return None
    module = net.module()
    return Parts((module,), forward=module, batch=_static_batch(net))


def _static_batch(program: Any) -> int | None:
    """The number of rows that it takes, and no other; None: any number."""
    inputs = set(program.graph_signature.user_inputs)
    for node in program.graph.nodes:
        if node.op == "placeholder" and node.name in inputs:
            rows = node.meta["val"].shape[0]
            return rows if isinstance(rows, int) else None
    return None
