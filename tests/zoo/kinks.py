#!/usr/bin/env python3
"""How far PyTorch's own float32 gradients are from float64 when it sums in another order.

    python tests/zoo/kinks.py densenet121 resnet101 timm:selecsls42b

A ReLU whose argument lies within a rounding error of zero has one derivative or the other,
by the order of summation. One line of a Markdown table for every architecture of the zoo.
"""
import argparse
import copy

from architectures import BATCH, build, draw


def gradient(net, images, labels):
    import torch

    images = images.clone().requires_grad_()
    torch.nn.functional.cross_entropy(net(images), labels).backward()
    return images.grad.double()


def variants(net, images, labels):
    """The gradient with respect to the images, by the name of the way it is computed."""
    import torch
    from torch.fx.experimental.optimization import fuse

    yield "as it is", gradient(net, images, labels)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield "one thread", gradient(net, images, labels)
    torch.set_num_threads(threads)
    last = torch.channels_last
    yield "channels last", gradient(copy.deepcopy(net).to(memory_format=last), images.to(memory_format=last), labels)
    with torch.backends.mkldnn.flags(enabled=False):
        yield "without oneDNN", gradient(net, images, labels)
    parts = [gradient(net, images[i:i + 1], labels[i:i + 1]) / BATCH for i in range(BATCH)]
    yield "image by image", torch.cat(parts)
    yield "BatchNormalization folded", gradient(fuse(copy.deepcopy(net)), images, labels)


def main():
    import torch

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="+", help="architectures, timm's as timm:NAME")
    for i, name in enumerate(parser.parse_args().names):
        net = build(name)
        images, labels = draw(name)
        truth = gradient(copy.deepcopy(net).double(), images.double(), labels)
        errors = {way: float((found - truth).norm() / truth.norm()) for way, found in variants(net, images, labels)}
        if i == 0:
            print("| architecture | " + " | ".join(errors) + " |\n|" + "---|" * (len(errors) + 1))
        print(f"| {name} | " + " | ".join(f"{error:.0e}" for error in errors.values()) + " |", flush=True)


if __name__ == "__main__":
    main()
