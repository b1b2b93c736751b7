"""EDSR and MDSR in PyTorch, written from the published descriptions, to compare ours with.

Only their arithmetic and the names in their state dicts are those of the published codes, EDSR-PyTorch, BasicSR and
super-image (facts 1, 2 and 4). Images are float32, NCHW, RGB.
"""

import torch
from torch import nn

MEAN = (0.4488, 0.4371, 0.4040)


def conv(in_channels, out_channels, kernel_size=3):
    return nn.Conv2d(in_channels, out_channels, kernel_size, padding=kernel_size // 2)


def upsampler(scale, filters):
    layers = []
    for factor in (3,) if scale == 3 else (2,) * (scale.bit_length() - 1):
        layers += [conv(filters, factor**2 * filters), nn.PixelShuffle(factor)]
    return nn.Sequential(*layers)


class MeanConv(nn.Conv2d):
    def __init__(self, sign, rgb_range=255):
        super().__init__(3, 3, 1)
        with torch.no_grad():
            self.weight.copy_(torch.eye(3).reshape(3, 3, 1, 1))
            self.bias.copy_(sign * rgb_range * torch.tensor(MEAN))
        self.requires_grad_(False)


class Block(nn.Module):
    def __init__(self, filters, kernel_size=3, scaling=1.0):
        super().__init__()
        self.body = nn.Sequential(conv(filters, filters, kernel_size), nn.ReLU(), conv(filters, filters, kernel_size))
        self.scaling = scaling

    def forward(self, x):
        return x + self.body(x) * self.scaling


class EDSR(nn.Module):
    """0..255 in and out; with `rgb_range=1` 0..1."""

    def __init__(self, scale, num_blocks, filters, scaling=1.0, rgb_range=255):
        super().__init__()
        self.sub_mean, self.add_mean = MeanConv(-1, rgb_range), MeanConv(1, rgb_range)
        self.head = nn.Sequential(conv(3, filters))
        blocks = [Block(filters, scaling=scaling) for _ in range(num_blocks)]
        self.body = nn.Sequential(*blocks, conv(filters, filters))
        self.tail = nn.Sequential(upsampler(scale, filters), conv(filters, 3))

    def forward(self, x):
        return self.add_mean(self.inner(self.sub_mean(x)))

    def inner(self, x):
        x = self.head(x)
        return self.tail(x + self.body(x))


class SuperImageEDSR(EDSR):
    """0..1 in and out; has the mean's tensors and does not use them."""

    def forward(self, x):
        return self.inner(x)


class MDSR(nn.Module):
    def __init__(self, scales, num_blocks, filters):
        super().__init__()
        self.scales = scales
        self.sub_mean, self.add_mean = MeanConv(-1), MeanConv(1)
        self.head = nn.Sequential(conv(3, filters))
        self.pre_process = nn.ModuleList(nn.Sequential(Block(filters, 5), Block(filters, 5)) for _ in scales)
        self.body = nn.Sequential(*(Block(filters) for _ in range(num_blocks)), conv(filters, filters))
        self.upsample = nn.ModuleList(upsampler(scale, filters) for scale in scales)
        self.tail = nn.Sequential(conv(filters, 3))

    def forward(self, x, scale):
        i = self.scales.index(scale)
        x = self.pre_process[i](self.head(self.sub_mean(x)))
        return self.add_mean(self.tail(self.upsample[i](x + self.body(x))))


class BasicBlock(nn.Module):
    def __init__(self, filters, scaling):
        super().__init__()
        self.conv1, self.conv2, self.scaling = conv(filters, filters), conv(filters, filters), scaling

    def forward(self, x):
        return x + self.conv2(torch.relu(self.conv1(x))) * self.scaling


class BasicSREDSR(nn.Module):
    """0..1 in and out; multiplies by 255 inside."""

    def __init__(self, scale, num_blocks, filters, scaling=1.0):
        super().__init__()
        self.conv_first = conv(3, filters)
        self.body = nn.Sequential(*(BasicBlock(filters, scaling) for _ in range(num_blocks)))
        self.conv_after_body = conv(filters, filters)
        self.upsample = upsampler(scale, filters)
        self.conv_last = conv(filters, 3)
        self.mean = torch.tensor(MEAN).reshape(1, 3, 1, 1)

    def forward(self, x):
        x = self.conv_first((x - self.mean) * 255)
        x = self.conv_last(self.upsample(x + self.conv_after_body(self.body(x))))
        return x / 255 + self.mean


def seeded(make, seed=0):
    """Builds a module with seeded weights whose output has about the contrast of its input."""
    torch.manual_seed(seed)
    module = make().eval()
    # Soft blobs, for a picture's contrast is in its low frequencies, which random weights let through.
    blobs = nn.functional.interpolate(torch.rand(1, 3, 4, 4), scale_factor=8, mode="bilinear")
    probe = blobs * (255 if isinstance(module, EDSR | MDSR) and not isinstance(module, SuperImageEDSR) else 1)
    last = [layer for name, layer in module.named_modules() if isinstance(layer, nn.Conv2d) and "mean" not in name][-1]
    with torch.no_grad():
        output = module(probe, module.scales[0]) if isinstance(module, MDSR) else module(probe)
        contrast = output.std() / probe.std()
        last.weight /= contrast
        last.bias /= contrast
    return module


def run(module, image, **options):
    """Runs a module on an image (h, w, 3) of any type; returns float32 (H, W, 3)."""
    x = torch.from_numpy(image.astype("float32")).permute(2, 0, 1)[None]
    with torch.no_grad():
        return module(x, **options)[0].permute(1, 2, 0).contiguous().numpy()
