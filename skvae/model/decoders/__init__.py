"""Decoders: from latents to the parameters of the likelihood."""

from skvae.model.decoders._base import DecoderModule, DecoderSpec
from skvae.model.decoders.autoregressive import AutoregressiveDecoder
from skvae.model.decoders.mlp import MLPDecoder

__all__ = ["AutoregressiveDecoder", "DecoderModule", "DecoderSpec", "MLPDecoder"]
