"""The bundled CLIP's image tower, registered with timm under its own name, so that open_clip can build it by config.

Imported only when a CLIP is built: timm is heavy.
"""

from typing import Any

from timm.models import register_model
from timm.models.byobnet import ByoBlockCfg, ByobNet, ByoModelCfg

# depth, channels, stride of each stage; with the stem's stride, 64 px end in a 4 x 4 map that is averaged.
STAGES = ((1, 32, 1), (2, 64, 2), (2, 128, 2), (1, 192, 2))


@register_model  # type: ignore[untyped-decorator]  # timm's
def zecon_tiny_resnet(
    pretrained: bool = False, pretrained_cfg: object = None, pretrained_cfg_overlay: object = None, **kwargs: Any
) -> ByobNet:
    """A residual network whose stem has no max pooling: the gradient of a maximum reaches one pixel in nine."""
    config = ByoModelCfg(
        blocks=tuple(ByoBlockCfg(type="basic", d=d, c=c, s=s, gs=0, br=1.0) for d, c, s in STAGES),
        stem_chs=32,
        stem_pool="",
        act_layer="gelu",
    )
    # timm also hands over where downloads would go; there are none. What is left shapes the head.
    model = ByobNet(config, num_classes=kwargs.get("num_classes", 0), global_pool=kwargs.get("global_pool", "avg"))
    model.default_cfg = {"pool_size": (4, 4)}
    return model
