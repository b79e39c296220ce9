"""The same training in PyTorch: a network whose every weight is a Gaussian, attacked by PGD.

Any `torch.nn.Module` becomes Bayesian through `torch.func.functional_call`: each forward pass
draws w = mean + exp(log_std) * eps for the weights and biases of its layers.
"""
import math

import torch
import torch.nn.functional as F


def network(name, classes=10):
    """vgg16 or small (plain networks with BatchNorm), or resnet18, for 3x32x32 images."""
    if name == "resnet18":
        import torchvision
        net = torchvision.models.resnet18(num_classes=classes)
        net.conv1 = torch.nn.Conv2d(3, 64, 3, 1, 1, bias=False)
        net.maxpool = torch.nn.Identity()
        return net
    plan = {"vgg16": [64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512, 0],
            "small": [32, 0, 64, 0, 128, 0]}[name]
    layers, channels, size = [], 3, 32
    for width in plan:
        if width == 0:
            layers.append(torch.nn.MaxPool2d(2))
            size //= 2
        else:
            layers += [torch.nn.Conv2d(channels, width, 3, 1, 1), torch.nn.BatchNorm2d(width), torch.nn.ReLU()]
            channels = width
    layers += [torch.nn.AvgPool2d(size), torch.nn.Flatten(), torch.nn.Linear(channels, classes)]
    return torch.nn.Sequential(*layers)


class Peer:
    """Adv-BNN (Liu et al., ICLR 2019) on one network. `inner` is how the attack differentiates:
    `input` with respect to the image alone, `full` the published code's way, with all
    gradients of the parameters computed and thrown away."""

    def __init__(self, net, init_std=0.05, prior=0.05, kl_scale=1 / 50000, lr=0.01, inner="input"):
        self.net, self.prior, self.kl_scale, self.inner = net, prior, kl_scale, inner
        self.mean = {name: p.detach().clone().requires_grad_() for name, p in net.named_parameters()}
        self.log_std = {name: torch.full_like(p, math.log(init_std)).requires_grad_() for name, p in self.mean.items()}
        self.parameters = [*self.mean.values(), *self.log_std.values()]
        self.optimizer = torch.optim.Adam(self.parameters, lr=lr)

    def forward(self, images):
        """Logits `[N, classes]` of one draw of the weights."""
        draw = {name: mean + torch.exp(self.log_std[name]) * torch.randn_like(mean) for name, mean in self.mean.items()}
        return torch.func.functional_call(self.net, draw, (images,))

    def kl(self):
        """The divergence of the posterior from N(0, prior^2)."""
        return sum((math.log(self.prior) - s + (torch.exp(2 * s) + self.mean[name] ** 2) / (2 * self.prior**2) - 0.5).sum()
                   for name, s in self.log_std.items())

    def attack(self, images, labels, steps, radius, step_size):
        """PGD without random start, BatchNorm in evaluation mode."""
        self.net.eval()
        moved = images.clone()
        for parameter in self.parameters:
            parameter.requires_grad_(self.inner == "full")
        for _ in range(steps):
            moved.requires_grad_()
            loss = F.cross_entropy(self.forward(moved), labels)
            if self.inner == "full":
                self.optimizer.zero_grad()
                loss.backward()
                gradient = moved.grad
            else:
                gradient, = torch.autograd.grad(loss, moved)
            with torch.no_grad():
                moved = (moved + step_size * gradient.sign()).clamp(images - radius, images + radius).clamp(0, 1)
        for parameter in self.parameters:
            parameter.requires_grad_(True)
        return moved.detach()

    def update(self, images, labels):
        """One training step; the cross-entropy and the KL before it."""
        self.net.train()
        self.optimizer.zero_grad()
        cross_entropy, kl = F.cross_entropy(self.forward(images), labels), self.kl()
        (cross_entropy + self.kl_scale * kl).backward()
        self.optimizer.step()
        return cross_entropy.item(), kl.item()
