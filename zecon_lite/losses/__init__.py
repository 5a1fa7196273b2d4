"""Losses: each is a formula on tensors and, where it needs a network, a small object around it.

A loss takes a `State` and returns a scalar: the sum over the batch of one value per image.
"""

from .clip import (
    ClipDirection,
    ClipDistance,
    TemplateDirection,
    clip_direction,
    clip_direction_log,
    clip_distance,
    text_direction,
)
from .contrast import AttentionContrast, ZeCon, patch_nce, place_nce, result_anchored, source_anchored
from .ensemble import ClipEnsemble, ContentFactor, ensemble_similarity, imagenet_templates, input_aware_target
from .gram import GramDistance, gram, gram_distance
from .identity import Identity, identity_distance
from .pixels import PixelDistance, l1, mse, out_of_range, total_variation
from .vgg import VGGContent
from .vit import (
    ClsDivergence,
    ClsStyle,
    KeyContrast,
    KeySelfSimilarity,
    ViTFeatures,
    cls_distance,
    key_contrast,
    key_self_similarity,
    self_similarity,
)

__all__ = [
    "AttentionContrast",
    "ClipDirection",
    "ClipDistance",
    "ClipEnsemble",
    "ClsDivergence",
    "ClsStyle",
    "ContentFactor",
    "GramDistance",
    "Identity",
    "KeyContrast",
    "KeySelfSimilarity",
    "PixelDistance",
    "TemplateDirection",
    "VGGContent",
    "ViTFeatures",
    "ZeCon",
    "clip_direction",
    "clip_direction_log",
    "clip_distance",
    "cls_distance",
    "ensemble_similarity",
    "gram",
    "gram_distance",
    "identity_distance",
    "imagenet_templates",
    "input_aware_target",
    "key_contrast",
    "key_self_similarity",
    "l1",
    "mse",
    "out_of_range",
    "patch_nce",
    "place_nce",
    "result_anchored",
    "self_similarity",
    "source_anchored",
    "text_direction",
    "total_variation",
]
