"""Training of a ResNet-18 on two views of each image, by lightly and by the bare network."""

import time

import torch
import torchvision
from lightly.loss import NegativeCosineSimilarity
from lightly.models.modules import SimSiamPredictionHead, SimSiamProjectionHead
from lightly.transforms import SimSiamTransform
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset, RandomSampler

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
ON_CUDA = DEVICE.type == "cuda"


def rate_of_steps(step, n_items, warm_up, timed):
    """Items per second of `timed` calls of `step`, which does `n_items`, after `warm_up` calls."""
    for i in range(warm_up + timed):
        if i == warm_up:
            synchronize()
            start = time.perf_counter()
        step()
    synchronize()
    return timed * n_items / (time.perf_counter() - start)


def synchronize():
    if ON_CUDA:
        torch.cuda.synchronize()


def autocast(precision):
    return torch.autocast(DEVICE.type, torch.bfloat16, enabled=precision == "bfloat16")


def make_resnet():
    """ResNet-18 as skanomaly has it for images of up to 64 pixels."""
    network = torchvision.models.resnet18()
    network.conv1 = nn.Conv2d(3, 64, 3, 1, 1, bias=False)
    network.maxpool = network.fc = nn.Identity()
    return network


class Views(Dataset):
    """Two views of each image by lightly's transform."""

    def __init__(self, X):
        self.images = [Image.fromarray(x) for x in X]
        self.transform = SimSiamTransform(input_size=X.shape[1])

    def __len__(self):
        return len(self.images)

    def __getitem__(self, i):
        return self.transform(self.images[i])


class LightlyLoop:
    """The loop of lightly's documentation, with a loader that stays alive and never ends."""

    def __init__(self, X, precision, batch, workers):
        self.precision, self.batch = precision, batch
        self.backbone = make_resnet().to(DEVICE)
        self.projector = SimSiamProjectionHead(512, 512, 128).to(DEVICE)
        self.predictor = SimSiamPredictionHead(128, 64, 128).to(DEVICE)
        self.criterion = NegativeCosineSimilarity()
        model = nn.ModuleList([self.backbone, self.projector, self.predictor])
        self.optimizer = torch.optim.SGD(model.parameters(), lr=0.06)
        views = Views(X)
        self.loader = DataLoader(
            views,
            batch,
            # longer than is measured: workers load ahead to the end, as within a long epoch
            sampler=RandomSampler(views, replacement=True, num_samples=10**6),
            num_workers=workers,
            persistent_workers=True,
            pin_memory=ON_CUDA,
        )

    def rate(self, warm_up, timed):
        """Images per second."""
        batches = iter(self.loader)
        return rate_of_steps(lambda: self._step(next(batches)), self.batch, warm_up, timed)

    def _step(self, views):
        with autocast(self.precision):
            (z0, p0), (z1, p1) = (self._forward(x.to(DEVICE, non_blocking=True)) for x in views)
            loss = (self.criterion(z0, p1) + self.criterion(z1, p0)) / 2
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()

    def _forward(self, x):
        z = self.projector(self.backbone(x))
        return z.detach(), self.predictor(z)


class BareNetwork:
    """Forward and backward of one batch of views, and nothing else."""

    def __init__(self, precision, batch, side):
        self.precision, self.batch = precision, batch
        self.network = make_resnet().to(DEVICE, memory_format=torch.channels_last)
        views = torch.rand(2 * batch, 3, side, side, device=DEVICE)
        self.views = views.to(memory_format=torch.channels_last)

    def rate(self, warm_up, timed):
        """Images, of two views, per second."""
        return rate_of_steps(self._step, self.batch, warm_up, timed)

    def _step(self):
        self.network.zero_grad()
        with autocast(self.precision):
            loss = self.network(self.views).float().square().mean()
        loss.backward()
