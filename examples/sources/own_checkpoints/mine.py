"""What the user has already: a net, data, and a loop that saves a checkpoint after each epoch. Nothing of landscape."""

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional


def net(width=16):
    return nn.Sequential(nn.Linear(64, width), nn.BatchNorm1d(width), nn.ReLU(), nn.Linear(width, 10))


def data():
    images, labels = load_digits(return_X_y=True)
    return torch.tensor(images, dtype=torch.float32) / 16, torch.tensor(labels)


def loop(after, epochs=12):
    torch.manual_seed(0)
    module, (x, y) = net(), data()
    optimizer = torch.optim.SGD(module.parameters(), 0.1, momentum=0.9)
    for epoch in range(epochs):
        for rows in torch.randperm(len(x)).split(64):
            optimizer.zero_grad()
            functional.cross_entropy(module(x[rows]), y[rows]).backward()
            optimizer.step()
        after(epoch, module)


if __name__ == "__main__":
    loop(
        lambda epoch, module: torch.save(
            {"state_dict": module.state_dict(), "epoch": epoch}, f"sgd_{epoch}.pt"
        )
    )
