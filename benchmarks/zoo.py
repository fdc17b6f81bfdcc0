"""Models of other people's libraries, built from their configurations and trained for a minute: what `wrap` is for.

Each is made, trained and wrapped as its users do it, in one line of glue at most. Needs what `make test-real` installs.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import doubleback
from benchmarks.standins import stood_in

SIDE = 32


@dataclass(frozen=True)
class Kind:
    """A model and how it is trained and wrapped.

    Attributes:
        make: the model, untrained.
        loss: of the model and images in [0, 1].
        wrap: the glue: the model -> a victim.
        glue: the same as text.
        shown: images -> what the model takes, where that is no image.
    """

    make: Callable[[], Any]
    loss: Callable[[Any, Tensor], Tensor]
    wrap: Callable[[Any], Any] = doubleback.wrap
    glue: str = "wrap(net)"
    shown: Callable[[Tensor], Tensor] = lambda x: x


def _kl() -> nn.Module:
    from diffusers import AutoencoderKL

    blocks = 3
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * blocks, up_block_types=("UpDecoderBlock2D",) * blocks,
        block_out_channels=(16, 32, 32), layers_per_block=1, latent_channels=4, norm_num_groups=8, sample_size=SIDE,
    )  # fmt: skip


def _kl_loss(net: Any, x: Tensor) -> Tensor:
    y = 2 * x - 1
    q = net.encode(y).latent_dist
    return F.mse_loss(net.decode(q.sample()).sample, y) + 1e-6 * q.kl().mean()


def _tiny() -> nn.Module:
    from diffusers import AutoencoderTiny

    return AutoencoderTiny(
        encoder_block_out_channels=(16, 16, 16), decoder_block_out_channels=(16, 16, 16), num_encoder_blocks=(1, 1, 1),
        num_decoder_blocks=(1, 1, 1),
    )  # fmt: skip


def _tiny_loss(net: Any, x: Tensor) -> Tensor:
    y = 2 * x - 1
    return F.mse_loss(net.decode(net.encode(y).latents).sample, y)


def _dc() -> nn.Module:
    from diffusers import AutoencoderDC

    three = (16, 32, 32)
    return AutoencoderDC(
        latent_channels=8, encoder_block_out_channels=three, decoder_block_out_channels=three,
        encoder_layers_per_block=(1, 1, 1), decoder_layers_per_block=(1, 1, 1), encoder_block_types="ResBlock",
        decoder_block_types="ResBlock", attention_head_dim=8, encoder_qkv_multiscales=((), (), ()),
        decoder_qkv_multiscales=((), (), ()),
    )  # fmt: skip


def _dc_loss(net: Any, x: Tensor) -> Tensor:
    y = 2 * x - 1
    return F.mse_loss(net.decode(net.encode(y).latent).sample, y)


def _vq() -> nn.Module:
    from diffusers import VQModel

    return VQModel(
        block_out_channels=(16, 32, 32), down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3, latent_channels=4, num_vq_embeddings=128, norm_num_groups=8,
    )  # fmt: skip


def _vq_loss(net: Any, x: Tensor) -> Tensor:
    y = 2 * x - 1
    made = net.decode(net.encode(y).latents)
    return F.mse_loss(made.sample, y) + made.commit_loss.mean()


def _codec(name: str) -> Callable[[], nn.Module]:
    def make() -> nn.Module:
        with stood_in():
            from compressai import models

        return getattr(models, name)(**({"N": 24} if name == "Cheng2020Anchor" else {"N": 24, "M": 32}))  # type: ignore[no-any-return]

    return make


def _codec_loss(net: Any, x: Tensor) -> Tensor:
    x = F.interpolate(x, size=64)
    out = net(x)
    bits = sum(-part.log2().sum() for part in out["likelihoods"].values())
    return 500 * F.mse_loss(out["x_hat"], x) + bits / x[:, 0].numel() + 0.01 * net.aux_loss()


def _pythae(name: str, **settings: Any) -> Callable[[], nn.Module]:
    def make() -> nn.Module:
        from pythae import models

        config = getattr(models, f"{name}Config")(input_dim=(3, SIDE, SIDE), latent_dim=32, **settings)
        return getattr(models, name)(config)  # type: ignore[no-any-return]

    return make


def _mae(norm_pix_loss: bool) -> Callable[[], nn.Module]:
    def make() -> nn.Module:
        from transformers import ViTMAEConfig, ViTMAEForPreTraining

        return ViTMAEForPreTraining(
            ViTMAEConfig(
                hidden_size=48, num_hidden_layers=2, num_attention_heads=4, intermediate_size=96, image_size=SIDE,
                patch_size=8, decoder_num_attention_heads=4, decoder_hidden_size=48, decoder_num_hidden_layers=1,
                decoder_intermediate_size=96, mask_ratio=0.5, norm_pix_loss=norm_pix_loss,
            )
        )  # fmt: skip

    return make


def _mae_loss(net: Any, x: Tensor) -> Tensor:
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    patches = net.patchify((x - mean) / std)
    net.config.mask_ratio = 0.0  # every patch is seen: an autoencoder
    logits = net((x - mean) / std).logits
    net.config.mask_ratio = 0.5
    if net.config.norm_pix_loss:
        patches = (patches - patches.mean(-1, keepdim=True)) / (patches.var(-1, keepdim=True) + 1e-6).sqrt()
    return F.mse_loss(logits, patches)


def _timm() -> nn.Module:
    with stood_in():
        import timm

    return timm.create_model("resnet10t", num_classes=0)  # type: ignore[no-any-return]


def _contrast(net: Any, x: Tensor) -> Tensor:
    """Two views of an image are alike, those of others are not."""
    views = [F.normalize(net((x + 0.1 * torch.randn_like(x)).clamp(0, 1)), dim=1) for _ in range(2)]
    return F.cross_entropy(views[0] @ views[1].T / 0.2, torch.arange(len(x)))


class Plain(nn.Module):
    """An encoder and a decoder with BatchNorm, as a Lightning module has them."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Conv2d(3, 16, 4, 2, 1), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 32, 4, 2, 1), nn.BatchNorm2d(32),
            nn.ReLU(), nn.Flatten(), nn.Linear(32 * 64, 48),
        )  # fmt: skip
        self.decoder = nn.Sequential(
            nn.Linear(48, 32 * 64), nn.Unflatten(1, (32, 8, 8)), nn.BatchNorm2d(32), nn.ReLU(),
            nn.ConvTranspose2d(32, 16, 4, 2, 1), nn.BatchNorm2d(16), nn.ReLU(), nn.ConvTranspose2d(16, 3, 4, 2, 1),
            nn.Sigmoid(),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return self.decoder(self.encoder(x))  # type: ignore[no-any-return]


class UNet(nn.Module):
    """Skips from the encoder to the decoder: no code to attack."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Sequential(nn.Conv2d(3, 16, 4, 2, 1), nn.SiLU())
        self.deep = nn.Sequential(nn.Conv2d(16, 32, 4, 2, 1), nn.SiLU(), nn.ConvTranspose2d(32, 16, 4, 2, 1), nn.SiLU())
        self.up = nn.ConvTranspose2d(32, 3, 4, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        skipped = self.down(x)
        return torch.sigmoid(self.up(torch.cat([skipped, self.deep(skipped)], 1)))


def _signals() -> nn.Module:
    net = nn.Module()
    net.encoder = nn.Sequential(nn.Conv1d(3, 16, 8, 4, 2), nn.ReLU(), nn.Conv1d(16, 8, 8, 4, 2))
    net.decoder = nn.Sequential(nn.ConvTranspose1d(8, 16, 8, 4, 2), nn.ReLU(), nn.ConvTranspose1d(16, 3, 8, 4, 2))
    return net


def _rows() -> nn.Module:
    net = nn.Module()
    net.encoder = nn.Sequential(nn.Linear(3 * SIDE, 64), nn.ReLU(), nn.Linear(64, 12))
    net.decoder = nn.Sequential(nn.Linear(12, 64), nn.ReLU(), nn.Linear(64, 3 * SIDE))
    return net


def _halves(net: Any, x: Tensor) -> Tensor:
    return F.mse_loss(net.decoder(net.encoder(x)), x)


def _whole(net: Any, x: Tensor) -> Tensor:
    return F.mse_loss(net(x), x)


def _scripted(net: nn.Module) -> Any:
    return doubleback.wrap(torch.jit.trace(net.eval(), torch.rand(2, 3, SIDE, SIDE)))


def _exported(net: nn.Module) -> Any:
    batch = torch.export.Dim("batch", min=1, max=4096)
    example = (torch.rand(2, 3, SIDE, SIDE),)
    return doubleback.wrap(torch.export.export(net.eval(), example, dynamic_shapes=({0: batch},)))


def _by_pythae(net: Any, x: Tensor) -> Tensor:
    return net({"data": x}).loss / x[0].numel()  # type: ignore[no-any-return]


KINDS: dict[str, Kind] = {
    "diffusers AutoencoderKL": Kind(_kl, _kl_loss),
    "diffusers AutoencoderTiny": Kind(_tiny, _tiny_loss),
    "diffusers AutoencoderDC": Kind(_dc, _dc_loss),
    "diffusers VQModel": Kind(_vq, _vq_loss),
    "CompressAI FactorizedPrior": Kind(_codec("FactorizedPrior"), _codec_loss),
    "CompressAI ScaleHyperprior": Kind(_codec("ScaleHyperprior"), _codec_loss),
    "CompressAI Cheng2020Anchor": Kind(_codec("Cheng2020Anchor"), _codec_loss),
    "pythae AE": Kind(_pythae("AE"), _by_pythae),
    "pythae VAE": Kind(_pythae("VAE"), _by_pythae),
    "pythae BetaVAE": Kind(_pythae("BetaVAE", beta=0.1), _by_pythae),
    "pythae VQVAE": Kind(_pythae("VQVAE", num_embeddings=64), _by_pythae),
    "transformers ViTMAE": Kind(_mae(False), _mae_loss),
    "transformers ViTMAE, norm_pix_loss": Kind(_mae(True), _mae_loss),
    "timm resnet10t, an encoder": Kind(_timm, _contrast, lambda net: doubleback.wrap(encode=net), "wrap(encode=net)"),
    "encoder and decoder with BatchNorm": Kind(Plain, _whole),
    "the same, as functions": Kind(
        Plain,
        _whole,
        lambda net: doubleback.wrap(encode=lambda x: net.encoder(x), decode=lambda z: net.decoder(z)),
        "wrap(encode=lambda x: ..., decode=lambda z: ...)",
    ),
    "the same, TorchScript": Kind(Plain, _whole, _scripted, "wrap(torch.jit.load(file))"),
    "the same, torch.export": Kind(Plain, _whole, _exported, "wrap(torch.export.load(file))"),
    "U-Net, no code": Kind(UNet, _whole),
    "signals (B, 3, 1024)": Kind(_signals, _halves, shown=lambda x: x.flatten(2)),
    "rows (B, 96)": Kind(_rows, _halves, shown=lambda x: x.mean(2).flatten(1)),
}


def trained(kind: Kind, images: Tensor, *, steps: int, seed: int = 0, batch: int = 16) -> Any:
    """The model after so many steps of Adam, in evaluation mode.

    Args:
        kind: which.
        images: (N, 3, 32, 32), uint8.
        steps: of training.
        seed: of the weights and the batches.
        batch: images a step.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = kind.make().train()
        optimizer = torch.optim.Adam(net.parameters(), 2e-3)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, steps)
        for _ in range(steps):
            x = kind.shown(images[torch.randint(len(images), (batch,))].float() / 255)
            loss = kind.loss(net, x)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimizer.step()
            schedule.step()
    return net.eval()
