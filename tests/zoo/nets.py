"""The zoo: fixed lists of torchvision's and timm's CNNs, built with random weights that hide nothing.

* `TORCHVISION`, `TIMM`, `SAMPLE`: names such as ``torchvision/resnet50`` and ``timm/convnext_atto``.
* `LEFT_OUT`: torchvision's other classification networks, with the reason.
* `build`: a network and an example for it.

Nothing is ever downloaded.
"""

from __future__ import annotations

import importlib
import importlib.util
import zlib
from typing import Any, Final

import torch
from torch import Tensor, nn

WHY_NOT_HERE: Final = (
    "torchvision and timm are not installed (make test installs them; docs/zoo.md)"
)

_ATTENTION: Final = "not a CNN: attention between positions"
LEFT_OUT: Final = dict.fromkeys(
    (
        *("maxvit_t", "swin_b", "swin_s", "swin_t", "swin_v2_b", "swin_v2_s", "swin_v2_t"),
        *("vit_b_16", "vit_b_32", "vit_h_14", "vit_l_16", "vit_l_32"),
    ),
    _ATTENTION,
)

_TORCHVISION: Final = """
alexnet
convnext_tiny convnext_small convnext_base convnext_large
densenet121 densenet161 densenet169 densenet201
efficientnet_b0 efficientnet_b1 efficientnet_b2 efficientnet_b3 efficientnet_b4 efficientnet_b5
efficientnet_b6 efficientnet_b7 efficientnet_v2_s efficientnet_v2_m efficientnet_v2_l
googlenet inception_v3
mnasnet0_5 mnasnet0_75 mnasnet1_0 mnasnet1_3
mobilenet_v2 mobilenet_v3_small mobilenet_v3_large
regnet_x_400mf regnet_x_800mf regnet_x_1_6gf regnet_x_3_2gf regnet_x_8gf regnet_x_16gf regnet_x_32gf
regnet_y_400mf regnet_y_800mf regnet_y_1_6gf regnet_y_3_2gf regnet_y_8gf regnet_y_16gf regnet_y_32gf
regnet_y_128gf
resnet18 resnet34 resnet50 resnet101 resnet152
resnext50_32x4d resnext101_32x8d resnext101_64x4d wide_resnet50_2 wide_resnet101_2
shufflenet_v2_x0_5 shufflenet_v2_x1_0 shufflenet_v2_x1_5 shufflenet_v2_x2_0
squeezenet1_0 squeezenet1_1
vgg11 vgg11_bn vgg13 vgg13_bn vgg16 vgg16_bn vgg19 vgg19_bn
"""

_TIMM: Final = """
convmixer_1024_20_ks9_p14
convnext_atto convnext_atto_ols convnext_zepto_rms convnextv2_atto
cs3darknet_focus_s cs3darknet_s cs3sedarknet_l cspdarknet53 cspresnet50 cspresnext50 cspnext_tiny
darknet17 darknetaa53
densenetblur121d
dla34 dla46_c dla46x_c dla60_res2net dla60_res2next
dpn48b dpn68
eca_nfnet_l0 nf_ecaresnet26 nf_regnet_b0 nf_resnet26 nf_seresnet26 nfnet_l0 test_nfnet
eca_resnet33ts eca_resnext26ts gcresnet33ts gcresnext26ts seresnet33ts
resnet32ts resnet51q regnetz_b16 regnetz_c16
efficientnet_b0 efficientnet_b0_g16_evos efficientnet_b0_gn efficientnet_b1_pruned
efficientnet_blur_b0 efficientnet_cc_b0_4e efficientnet_es efficientnet_lite0 efficientnet_x_b3
efficientnetv2_rw_t gc_efficientnetv2_rw_t tf_efficientnet_b0 tf_efficientnetv2_b0 tinynet_e
ese_vovnet19b_dw ese_vovnet19b_slim ese_vovnet39b_evos eca_vovnet39b vovnet39a
fasternet_t0 fastvit_t8
fbnetc_100 fbnetv3_b
gernet_s mobileone_s0 repvgg_a0 repvgg_b1g4
ghostnet_050 ghostnetv2_100 ghostnetv3_050 repghostnet_050
hardcorenas_a
hgnet_tiny hgnetv2_b0
hrnet_w18_small hrnet_w18_small_v2
inception_next_atto inception_resnet_v2 inception_v4
lcnet_050 lcnetv2_small
legacy_seresnet18 legacy_seresnext26_32x4d legacy_xception
mambaout_femto
mixnet_m mixnet_s
mnasnet_050 mnasnet_small semnasnet_050 spnasnet_100
mobilenet_edgetpu_100 mobilenet_edgetpu_v2_xs mobilenetv1_100 mobilenetv2_035
mobilenetv3_large_100 mobilenetv3_small_050 tf_mobilenetv3_small_minimal_100
mobilenetv4_conv_blur_medium mobilenetv4_conv_small mobilenetv4_conv_small_035
nasnetalarge pnasnet5large
poolformer_s12 poolformerv2_s12 convformer_s18
rdnet_tiny
regnetv_040 regnetx_002 regnety_002 regnety_008_tv regnety_040_sgn regnetz_005
repvit_m0_9 repvit_m1
res2net50_14w_8s res2net50d res2next50
resnest14d resnest26d resnest50d_1s4x24d
resnet10t resnet14t resnet18 resnet18d resnet26t resnet50_gn
resnetaa34d resnetblur18 resnetrs50 seresnet18 seresnext26d_32x4d
ecaresnet26t ecaresnetlight ecaresnext26t_32x4d
resnetv2_18 resnetv2_50 resnetv2_50d_evos resnetv2_50d_frn resnetv2_50d_gn resnetv2_50x1_bit
rexnet_100 rexnetr_100
selecsls42 selecsls60
skresnet18 skresnet34 skresnext50_32x4d
starnet_s050
tresnet_m
xception41 xception41p
"""

TORCHVISION: Final = tuple(f"torchvision/{name}" for name in _TORCHVISION.split())
TIMM: Final = tuple(f"timm/{name}" for name in _TIMM.split())

SIZE: Final = 64
"""Height and width of the images, where a network takes so small ones."""

_LARGER: Final = {
    "torchvision/inception_v3": 96,
    "timm/inception_v4": 96,
    "timm/inception_resnet_v2": 96,
}


def installed() -> bool:
    """Whether both packages can be imported here."""
    return all(importlib.util.find_spec(each) is not None for each in ("torchvision", "timm"))


def torchvision() -> Any:
    """The package torchvision, imported by who needs it; `tools/mend_torchvision.py` sees that it imports."""
    return importlib.import_module("torchvision")


def build(name: str, *, seed: int = 0) -> tuple[nn.Module, Tensor]:
    """A network in evaluation mode with random weights, and an example for it.

    Norms, gates and layer scales are drawn, so that no reader hides behind a zero; running statistics are those of the
    example, disturbed, so that activations stay of ordinary size in however deep a network.

    Args:
        name: One of `TORCHVISION` or `TIMM`, or another network of those packages.
        seed: Of all random numbers.

    Returns:
        The network, and one image, (1, 3, size, size).
    """
    package, _, model_name = name.partition("/")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(zlib.crc32(f"{name} {seed}".encode()))
        net = _made(package, model_name).eval().requires_grad_(requires_grad=True)
        size = _LARGER.get(name, SIZE)
        example = torch.randn(1, 3, size, size)
        draw_what_hides(net)
        calibrate(net, example)
    return net, example


def _made(package: str, name: str) -> nn.Module:
    if package == "timm":
        return importlib.import_module("timm").create_model(name, pretrained=False)
    options = {"init_weights": False} if name in {"googlenet", "inception_v3"} else {}
    return torchvision().models.get_model(name, weights=None, **options)


def draw_what_hides(net: nn.Module) -> None:
    """Draw every norm, and every parameter that has one value everywhere: layer scales, gates that begin at zero.

    Scales are positive: behind a few negative ones, each with a ReLU, a channel is closed whatever comes in.
    """
    with torch.no_grad():
        for module in net.modules():
            ordinary = isinstance(module, nn.modules.conv._ConvNd | nn.Linear)
            norm = "running_var" in module._buffers
            for name, tensor in module.named_parameters(recurse=False):
                alike = tensor.numel() == 1 or not bool((tensor != tensor.flatten()[0]).any())
                if not (alike or norm):
                    continue
                if "bias" in name or name == "tau":  # a threshold, of filter response normalisation
                    tensor.normal_(0.0, 0.2)
                elif ordinary and name == "weight":
                    tensor.normal_(0.0, 0.1)
                else:
                    tensor.uniform_(0.5, 1.5)


def calibrate(net: nn.Module, example: Tensor) -> None:
    """Set the running statistics from what arrives, layer after layer, and disturb them."""

    def from_input(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        x = inputs[0].transpose(0, 1).flatten(1)
        spread = x.std()
        mean, var = getattr(module, "running_mean", None), getattr(module, "running_var", None)
        if isinstance(mean, Tensor):
            mean.copy_(x.mean(1) + 0.3 * spread * torch.randn(len(x)))
        if isinstance(var, Tensor):
            own = x.var(1) if x.shape[1] > 1 else torch.zeros(len(x))
            var.copy_((own + 0.1 * spread.square()) * torch.empty(len(x)).uniform_(0.5, 1.5))

    handles = [
        module.register_forward_pre_hook(from_input)
        for module in net.modules()
        if "running_var" in module._buffers
    ]
    try:
        with torch.no_grad():
            net(example)
    finally:
        for handle in handles:
            handle.remove()
