"""A COLIPRI that was trained here, as a model of the package colipri."""

from __future__ import annotations

from lingula.core.errors import UserError
from lingula.exchange.colipri import Colipri
from lingula.exchange.colipri_config import ColipriConfig
from lingula.methods.colipri import ColipriMethod
from lingula.models.pooled_text_config import BertSizes
from lingula.models.volume_config import VolumeEncoderConfig

SAME_ENCODER = ("channels", "mlp_ratio", "register_tokens")
"""What the package's encoder has no number for."""
SAME_BERT = ("hidden_act", "layer_norm_eps", "type_vocab_size")
"""What the package's BERT has no number for."""


def colipri_of(method: ColipriMethod, input_size: tuple[int, int, int]) -> Colipri:
    """Return both encoders with their projections, poolings and temperature; the decoders of training stay behind.

    Args:
        method: Trained.
        input_size: Voxels of the crops it was trained on.

    Raises:
        UserError: A part is none that the package can build.
    """
    encoder, text = method.image_encoder.backbone.config, method.text_encoder
    _check_encoder(encoder)
    config = ColipriConfig.from_values(
        {
            "image_encoder": {
                **{name: getattr(encoder, name) for name in ("embed_dim", "depth", "num_heads", "patch_size")},
                "input_size": input_size,
            },
            "projection_dim": text.dimension,
            "image_pooler_heads": method.config.image_pooler_heads,
            "text_pooler_heads": method.config.text_pooler_heads,
            "text_encoder": _bert_sizes(text.encoder.model.config),
        },
        "the run's sizes",
    )
    model = Colipri(config)
    model.image_encoder.load_state_dict(method.image_encoder.state_dict())
    model.text_encoder.backbone.load_state_dict(text.encoder.model.state_dict())
    model.text_encoder.pooler.load_state_dict(text.pooler.state_dict())
    model.softmax_temperature.fill_(method.temperature)
    return model.eval()


def _check_encoder(config: VolumeEncoderConfig) -> None:
    published = VolumeEncoderConfig()
    for name in SAME_ENCODER:
        if getattr(config, name) != getattr(published, name):
            problem = f"the package colipri builds its encoder with {name} {getattr(published, name)}"
            raise UserError(f"{problem}, this one has {getattr(config, name)}", "Train with the released model's.")


def _bert_sizes(config: object) -> dict[str, int]:
    """Return the sizes of a language model.

    Raises:
        UserError: It is no BERT of the usual kind, or has no layers.
    """
    from transformers import BertConfig

    if not isinstance(config, BertConfig):
        raise UserError(f"the package colipri reads texts with a BERT, not with {type(config).__name__}", "Train with one.")
    usual = BertConfig()
    for name in SAME_BERT:
        if getattr(config, name) != getattr(usual, name):
            problem = f"the package colipri builds its BERT with {name} {getattr(usual, name)}, not {getattr(config, name)}"
            raise UserError(problem, "Train with a BERT of the usual kind.")
    if not config.num_hidden_layers:
        problem = "the package colipri reads texts with a BERT, and this text encoder has no transformer layer"
        raise UserError(problem, "Train with --text-encoder.small.layers 1 or more.")
    return {name: getattr(config, name) for name in BertSizes.model_fields}
