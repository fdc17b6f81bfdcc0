"""pythae: its autoencoders, variational ones and VQVAE. Pixels are in [0, 1].

The audited reconstruction is that of the mean code, `model.predict`; of VQVAE that of the codebook's nearest vectors.
Models that change the code between encoder and decoder (flows, hierarchies) have to be wrapped by hand.
"""

from typing import Any

from torch import Tensor, nn

from doubleback.errors import InputError
from doubleback.models.victim import Made, Parts

HOME = "pythae"
_NOT = ("HVAE", "VAE_IAF", "VAE_LinNF", "RHVAE", "SVAE", "PoincareVAE", "PVAE")


def parts_of(net: nn.Module) -> Parts | None:
    """A pythae model with `encoder` and `decoder`.

    Raises:
        InputError: it changes the code on the way.
    """
    model: Any = net
    if not (hasattr(model, "encoder") and hasattr(model, "decoder")):
        return None
    if type(net).__name__ in _NOT:
        raise InputError(f"{type(net).__name__} changes the code before it decodes; pass encode= and decode= functions")

    def looked_up(z: Tensor) -> Made:
        rows = z.reshape(len(z), 1, 1, -1) if z.dim() == 2 else z
        found = model.quantizer(rows.permute(0, 2, 3, 1), uses_ddp=False)
        code = found.quantized_vector.reshape(len(z), -1) if z.dim() == 2 else found.quantized_vector
        return Made(model.decoder(code)["reconstruction"], tokens=found.quantized_indices.reshape(len(z), -1))

    decode = looked_up if hasattr(model, "quantizer") else lambda z: model.decoder(z)["reconstruction"]
    save = (lambda folder: model.save(str(folder))) if hasattr(model, "save") else None
    return Parts((net,), save=save, encode=model.encoder, decode=decode, own=lambda x: model({"data": x})["recon_x"])
