"""The architectures of the zoo, and how they are exported to ONNX with their truth.

Seeded random weights, eval mode, a batch of two. Gradients are computed in float64
and stored as float32, so that a float32 implementation is judged against the truth;
`noise` is the relative error of PyTorch's own float32 gradient, which is large in
networks with kinks near zero. What PyTorch starts at zero is drawn at random, or no
gradient would reach the image.
"""
import warnings
from pathlib import Path

import numpy as np

BATCH, CLASSES, OPSET = 2, 10, 18

# The families that are checked on tract too.
FAMILIES = """alexnet convnext_tiny densenet121 efficientnet_b0 googlenet inception_v3 maxvit_t mnasnet0_5
mobilenet_v2 mobilenet_v3_small regnet_y_400mf resnet18 resnet50 resnext50_32x4d shufflenet_v2_x1_0 squeezenet1_0
swin_t swin_v2_t vgg11_bn vit_b_16""".split()

TIMM = [f"timm:{name}" for name in """resnetv2_50 rexnet_100 ghostnet_100 hrnet_w18_small dla34 res2net50_26w_4s
skresnet18 cspresnet50 nf_resnet50 ecaresnet26t mixer_s32_224 gmlp_s16_224 resmlp_12_224 convmixer_768_32
poolformer_s12 edgenext_xx_small mobilevit_xxs fastvit_t8 levit_128s cait_xxs24_224 deit_tiny_patch16_224
beit_base_patch16_224 xcit_nano_12_p16_224 coat_tiny crossvit_tiny_240 pvt_v2_b0 twins_pcpvt_small volo_d1_224
davit_tiny efficientformer_l1 maxxvit_rmlp_nano_rw_256 tiny_vit_5m_224 repvit_m1 mobileone_s0 inception_next_tiny
hgnetv2_b0 vovnet39a selecsls42b tresnet_m xception41 eca_botnext26ts_256 lambda_resnet26t convit_tiny
convnextv2_atto csatv2 dpn48b efficientformerv2_s0 efficientvit_b0 efficientvit_m0 efficientvim_m1
eva02_tiny_patch14_224 fasternet_t0 focalnet_tiny_srf gcvit_xxtiny gernet_s hardcorenas_a hiera_tiny_224
inception_v4 iformer_t lcnet_050 legacy_seresnet18 legacy_xception lowformer_b0 mambaout_femto
mobilenetv4_conv_small mvitv2_tiny nest_tiny nextvit_small pit_ti_224 rdnet_tiny regnetx_002 repghostnet_050
resnest14d sequencer2d_s shvit_s1 starnet_s1 swiftformer_xs swinv2_cr_tiny_ns_224 tf_efficientnet_lite0
tnt_s_legacy_patch16_224 visformer_tiny vit_tiny_patch16_224 vit_tiny_r_s16_p8_224
vit_relpos_small_patch16_224 vitamin_small_224 coatnet_nano_rw_224""".split()]

# Too large to run on a small machine: their files are converted, and shapes compared.
SHAPES_ALONE = ["vit_h_14", "regnet_y_128gf"]


def torchvision_names():
    import torchvision

    return torchvision.models.list_models(module=torchvision.models)


def input_size(name):
    if name.startswith("timm:"):
        import timm

        configuration = timm.get_pretrained_cfg(name[5:], allow_unregistered=False)
        if configuration and configuration.fixed_input_size:
            return configuration.input_size[-1]
    if "inception" in name:
        return 299
    large = ("alexnet", "vgg")
    return 224 if any(part in name for part in (*large, "vit", "swin", "maxvit")) else 96


def build(name):
    """The network with the seeded weights of the zoo."""
    import torch

    warnings.filterwarnings("ignore")
    torch.manual_seed(0)
    if name.startswith("timm:"):
        import timm

        net = timm.create_model(name[5:], pretrained=False, num_classes=CLASSES)
    else:
        import torchvision

        auxiliary = {"aux_logits": False, "init_weights": True} if name in ("inception_v3", "googlenet") else {}
        net = torchvision.models.get_model(name, weights=None, num_classes=CLASSES, **auxiliary)
    net.eval()
    with torch.no_grad():
        for parameter in net.parameters():
            if not parameter.any():
                parameter.normal_(0, 0.02)
    return net


def ends(net):
    """The first and the last weight with more than one axis, by name."""
    named = [(name, value) for name, value in net.named_parameters() if value.dim() > 1]
    return dict([named[0], named[-1]])


def _gradients(net, images, labels):
    import torch

    net.zero_grad()
    images = images.clone().requires_grad_()
    logits = net(images)
    loss = torch.nn.functional.cross_entropy(logits, labels)
    loss.backward()
    weights = {"d:" + name: value.grad.clone() for name, value in ends(net).items()}
    return {"x": images.detach(), "logits": logits.detach(), "loss": loss.detach(), "dx": images.grad, **weights}


def _truth(net, images, labels):
    """Images, labels, gradients in float64 and `noise`, as arrays; leaves the network in float64."""
    single = _gradients(net, images, labels)["dx"].double()
    arrays = _gradients(net.double(), images.double(), labels)
    arrays["noise"] = (single - arrays["dx"]).norm() / arrays["dx"].norm()
    return {"y": labels.numpy(), **{key: value.float().numpy() for key, value in arrays.items()}}


def draw(name):
    """The next images and their labels."""
    import torch

    size = input_size(name)
    return torch.rand(BATCH, 3, size, size), torch.arange(BATCH) % CLASSES


def another_truth(name, seed):
    """The truth at other images than those that `export` draws."""
    import torch

    net = build(name)
    torch.manual_seed(seed)
    return _truth(net, *draw(name))


def export(name, exporter, folder):
    """Writes folder/NAME.onnx, and folder/NAME.npz with the truth; returns both paths."""
    import torch

    net = build(name)
    images, labels = draw(name)
    model = Path(folder) / (name.replace("timm:", "timm_") + ".onnx")
    large = name in SHAPES_ALONE
    options = {"external_data": large} if exporter == "dynamo" else {"do_constant_folding": False}
    torch.onnx.export(net, (images,), str(model), input_names=["input"], output_names=["logits"],
                      opset_version=OPSET, dynamo=exporter == "dynamo", verbose=False, **options)
    truth = model.with_suffix(".npz")
    if large:
        np.savez(truth, x=images.numpy(), y=labels.numpy())
        return model, truth
    np.savez(truth, **_truth(net, images, labels))
    return model, truth
