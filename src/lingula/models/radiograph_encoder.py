"""The image encoder: any timm network, giving pooled features and the feature map they are pooled from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lingula.core.errors import UserError, nearest
from lingula.core.types import FeatureMap, ImageFeatures, Images
from lingula.models.encoder_config import ImageEncoderConfig
from lingula.models.image_weights import imagenet_file, load_weights
from lingula.models.packaged_weights import packaged_weights

TOKEN_FAMILIES = ("vision_transformer", "deit", "beit", "eva")
"""timm modules whose networks give a sequence of tokens and accept any image size only when asked to."""


class RadiographEncoder(nn.Module):
    """A timm network without its classifier.

    `forward` is the network's own global pooling of `feature_map` (or its mean beside its maximum); a convolution or hidden
    layer that some classifiers put between pooling and logits (MobileNet) belongs to the classifier and is removed, so that
    pixels, cells and pooled features live in the same space.

    Args:
        config: Name, weights, channels, stochastic depth, stride.

    Raises:
        UserError: Unknown name, an option the network does not have, or weights that are not there or do not fit.
    """

    other_forwards = ("pyramid",)
    """Methods besides `forward` that training calls."""

    def __init__(self, config: ImageEncoderConfig) -> None:
        super().__init__()
        self.channels: int = config.channels
        self.model: nn.Module = _network(config)
        width = int(self.model.num_features)  # type: ignore[arg-type]
        self.pooling = config.pooling
        self.dimension: int = 2 * width if config.pooling == "mean-max" else width
        _drop_hidden_classifier(self.model)
        if config.weights not in ("none", "imagenet"):
            load_weights(self.model, Path(config.weights).expanduser())

    def forward(self, images: Images) -> ImageFeatures:
        """Pooled features, `batch image_features`."""
        features = self._run(images)
        if features.ndim == 3 and self.pooling == "mean":
            pooled: Tensor = self.model.forward_head(features, pre_logits=True)  # type: ignore[operator]
            return pooled
        if self.pooling == "mean-max":
            return _mean_max(self._cells(features, images.shape[-2:]))
        return self._norm(features.mean(dim=(2, 3), keepdim=True)).flatten(1)

    def pool(self, grid: FeatureMap) -> ImageFeatures:
        """Pool the last feature map of a network with a pyramid: what `forward` gives for the same images.

        Args:
            grid: `batch channels rows columns`, as `pyramid` returns it.
        """
        if self.pooling == "mean-max":
            return _mean_max(self._norm(grid))
        return self._norm(grid.mean(dim=(2, 3), keepdim=True)).flatten(1)

    @property
    def pyramid_channels(self) -> list[int]:
        """Channels of the levels of `pyramid`, finest first.

        Raises:
            UserError: The network has no maps of falling resolution.
        """
        info = getattr(self.model, "feature_info", [])
        if len({int(level["reduction"]) for level in info}) < 2:
            name = type(self.model).__name__
            raise UserError(f"the image encoder ({name}) has no feature pyramid", "Choose a convolutional one, e.g. resnet50.")
        return [int(level["num_chs"]) for level in info]

    def pyramid(self, images: Images) -> tuple[FeatureMap, list[FeatureMap]]:
        """Return the last feature map and the maps of every level, finest first, from one pass through the network.

        Raises:
            UserError: The network has no maps of falling resolution.
        """
        _ = self.pyramid_channels
        if images.shape[1] != self.channels:
            images = images.expand(-1, self.channels, -1, -1)
        last, levels = self.model.forward_intermediates(images)  # type: ignore[operator]
        return last, list(levels)

    def feature_map(self, images: Images) -> FeatureMap:
        """Last feature map, `batch channels rows columns`; row 0 is at the top."""
        return self._cells(self._run(images), images.shape[-2:])

    def cell_features(self, images: Images) -> FeatureMap:
        """What pooling would give for each cell of the feature map alone, `batch image_features rows columns`."""
        grid = self.feature_map(images)
        return torch.cat([grid, grid], dim=1) if self.pooling == "mean-max" else grid

    def _cells(self, features: Tensor, size: torch.Size) -> FeatureMap:
        """The grid of a network's output for images of some size, normalised as the network does behind its pooling."""
        if features.ndim == 4:
            return self._norm(features)
        tokens = features[:, int(self.model.num_prefix_tokens) :]  # type: ignore[arg-type]
        rows, columns = self.model.patch_embed.dynamic_feat_size(size)  # type: ignore[union-attr,operator]
        return self.model.fc_norm(tokens).transpose(1, 2).unflatten(2, (rows, columns))  # type: ignore[no-any-return,operator]

    def _run(self, images: Images) -> Tensor:
        """Grids come out as `batch features rows columns`, sequences as `batch tokens features`."""
        if images.shape[1] != self.channels:
            images = images.expand(-1, self.channels, -1, -1)
        features: Tensor = self.model.forward_features(images)  # type: ignore[operator]
        if features.ndim == 4 and getattr(self.model, "output_fmt", "NCHW") == "NHWC":
            return features.permute(0, 3, 1, 2)
        return features

    def _norm(self, grid: FeatureMap) -> FeatureMap:
        """The norm that some networks (ConvNeXt) have behind their pooling; per cell on a whole map."""
        norm = getattr(getattr(self.model, "head", None), "norm", None)
        return grid if norm is None else norm(grid)


def _mean_max(cells: FeatureMap) -> ImageFeatures:
    """Mean and maximum over the cells, side by side."""
    return torch.cat([cells.mean(dim=(2, 3)), cells.amax(dim=(2, 3))], dim=1)


def _network(config: ImageEncoderConfig) -> nn.Module:
    """Build the timm network, with ImageNet weights where asked for."""
    import timm

    if not timm.is_model(config.name):
        remedy = nearest(config.name.split(".")[0], timm.list_models()) or "timm.list_models() lists the names."
        raise UserError(f"timm has no image encoder '{config.name}'", remedy)
    options: dict[str, Any] = {"in_chans": config.channels, "num_classes": 0}
    family = timm.model_entrypoint(config.name.split(".")[0]).__module__.rsplit(".", 1)[-1]
    if family in TOKEN_FAMILIES:
        options["dynamic_img_size"] = True
    chosen: dict[str, Any] = {}
    if config.drop_path > 0:
        chosen["drop_path_rate"] = config.drop_path
    if config.output_stride is not None:
        chosen["output_stride"] = config.output_stride
    if config.weights == "imagenet":
        state = packaged_weights(config.name)
        where = {"file": str(imagenet_file(config.name))} if state is None else {"state_dict": state}
        options |= {"pretrained": True, "pretrained_cfg_overlay": where}
    try:
        network: nn.Module = timm.create_model(config.name, **options, **chosen)
    except TypeError as error:
        if not any(name in str(error) for name in chosen):
            raise
        raise UserError(f"{config.name} cannot change {' or '.join(chosen)}", "Leave it out or choose another encoder.") from None
    return network


def _drop_hidden_classifier(network: nn.Module) -> None:
    """Remove what lies between the pooled features and the logits, so that no parameter is left without a gradient."""
    if getattr(network, "head_hidden_size", network.num_features) == network.num_features:
        return
    for name in ("conv_head", "norm_head", "act2", "pre_logits", "head"):
        if hasattr(network, name):
            setattr(network, name, nn.Identity())
