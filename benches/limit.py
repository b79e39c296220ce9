#!/usr/bin/env python3
"""How near the attack comes to the machine's convolution limit.

The limit: every convolution and linear layer of the network, forward and image gradient, alone, as
oneDNN runs it at its best (weights packed beforehand, blocked layouts kept, nothing between them), the
faster of that and PyTorch's plain call. No program that computes these gradients is quicker. It and
`advbnn bench` take turns; the share is limit / time of one attack step, all of it: draws of the
weights, normalization, pools, ReLU and the projection.

    pip install torch torchvision onnx
    python3 benches/limit.py
"""
import argparse
import statistics
import tempfile
import time

import torch
import torch.nn.functional as F
from torch import nn

from peer import network
from training import Ours


def layers(net, x):
    """(layer, shape of its input, shape of its output) of every convolution and linear layer."""
    found = []
    hooks = [m.register_forward_hook(lambda m, i, o: found.append((m, i[0].shape, o.shape)))
             for m in net.modules() if isinstance(m, (nn.Conv2d, nn.Linear))]
    with torch.no_grad():
        net(x)
    for hook in hooks:
        hook.remove()
    return found


def packed(conv, x):
    """A convolution of a blocked image by a packed weight."""
    args = conv.padding, conv.stride, conv.dilation, conv.groups
    weight = torch._C._nn.mkldnn_reorder_conv2d_weight(conv.weight.to_mkldnn(), *args, x.shape)
    image = x.to_mkldnn()
    return lambda: torch.mkldnn_convolution(image, weight, None, *args)


def forms(layer, taken, given):
    """Ways to run the layer forward, and ways to run its image gradient."""
    x, dy, weight = torch.rand(taken), torch.rand(given), layer.weight.detach()
    if isinstance(layer, nn.Linear):
        return [lambda: F.linear(x, weight)], [lambda: dy @ weight]
    settings = layer.stride, layer.padding, layer.dilation, False, [0, 0], layer.groups
    plain = lambda: F.conv2d(x, weight, None, layer.stride, layer.padding, layer.dilation, layer.groups)
    back = lambda: torch.ops.aten.convolution_backward(dy, x, weight, None, *settings, [True, False, False])
    forward, backward = [plain, packed(layer, x)], [back]
    if layer.stride == (1, 1) and layer.groups == 1:
        padding = [d * (k - 1) - p for k, d, p in zip(layer.kernel_size, layer.dilation, layer.padding)]
        turned = nn.Conv2d(layer.out_channels, layer.in_channels, layer.kernel_size, 1, padding, layer.dilation)
        turned.weight = nn.Parameter(weight.flip(2, 3).transpose(0, 1).contiguous(), requires_grad=False)
        backward.append(packed(turned, dy))
    return forward, backward


def seconds(run, repeat=5):
    run()
    times = []
    for _ in range(repeat):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", nargs="?", default="vgg16", help="vgg16, small or resnet18")
    parser.add_argument("--advbnn", default="target/release/advbnn", help="the binary to measure")
    parser.add_argument("--providers", nargs="+", default=["openvino", "cpu"])
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    o = parser.parse_args()
    torch.set_num_threads(o.threads)
    torch.manual_seed(0)
    net = network(o.name).eval()
    x = torch.rand(o.batch, 3, 32, 32)
    work = [forms(*layer) for layer in layers(net, x)]
    flops = 4 * sum(m.weight[0].numel() * given.numel() for m, _, given in layers(net, x))
    limits, times = [], {provider: [] for provider in o.providers}
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        ours = Ours(o.advbnn, net, folder)
        for _ in range(o.rounds):
            limits.append(sum(min(map(seconds, ways)) for both in work for ways in both))
            for provider in o.providers:
                times[provider].append(ours.bench(provider, o, iters=3)["attack_s"] / o.steps)
    limit = statistics.median(limits)
    print(f"{o.name}, batch {o.batch}, {o.threads} threads, one attack step; {flops / 1e9:.1f} GFLOP")
    print(f"  convolutions alone  {limit:.3f} s, {flops / limit / 1e9:.0f} GFLOP/s")
    for provider, found in times.items():
        share = statistics.median(l / t for l, t in zip(limits, found))
        print(f"  advbnn, {provider:10}  {statistics.median(found):.3f} s, share of the limit {100 * share:.0f} %")


if __name__ == "__main__":
    main()
