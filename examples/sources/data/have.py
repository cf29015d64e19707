"""What somebody already has: a table, a folder of pictures, a Dataset with masks, a loader, a stream. Nothing of ours.

python have.py    # writes iris.csv and pictures/ into the current folder
"""

import csv
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, IterableDataset

WORDS, LENGTH, SENTENCES = 50, 12, 300


class Sentences(Dataset):
    """Tokens, padded, with a mask and a class, as a tokenizer gives them."""

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(0)
        self.lengths = torch.randint(3, LENGTH + 1, (SENTENCES,), generator=generator)
        self.ids = torch.randint(1, WORDS, (SENTENCES, LENGTH), generator=generator, dtype=torch.int32)
        self.mask = (torch.arange(LENGTH) < self.lengths[:, None]).long()

    def __len__(self) -> int:
        return SENTENCES

    def __getitem__(self, i: int) -> dict[str, Tensor]:
        ids = self.ids[i] * self.mask[i]
        return {"input_ids": ids, "attention_mask": self.mask[i], "labels": (ids > WORDS // 2).sum() % 3}


class Reader(nn.Module):
    """Called by name, ``model(input_ids=…, attention_mask=…)``."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.out = nn.Embedding(WORDS, 8), nn.Linear(8, 3)

    def forward(
        self, input_ids: Tensor, token_type_ids: Tensor | None = None, attention_mask: Tensor | None = None
    ):
        weight = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        weight = weight[..., None].to(self.out.weight.dtype)
        return self.out((self.words(input_ids) * weight).sum(1) / weight.sum(1))


def loader() -> DataLoader:
    """A loader as it stands in a training script."""
    return DataLoader(Sentences(), batch_size=32, shuffle=True)


class Rows(IterableDataset):
    """A regression that is made as it is read; it begins every pass with a seed of its own."""

    def __iter__(self):
        generator = torch.Generator().manual_seed(0)
        for _ in range(80):
            x = torch.randn(256, 20, generator=generator)
            yield x, x[:, :1].sin() + x[:, 1:2] * x[:, 2:3]


def rows() -> DataLoader:
    return DataLoader(Rows(), batch_size=None)


def net() -> nn.Module:
    return nn.Sequential(nn.Linear(20, 16), nn.Tanh(), nn.Linear(16, 1))


def write() -> None:
    from PIL import Image
    from sklearn.datasets import load_digits, load_iris

    iris = load_iris()
    with open("iris.csv", "w", newline="") as file:
        table = csv.writer(file)
        table.writerow([*iris.feature_names, "species"])
        table.writerows([*row, iris.target_names[k]] for row, k in zip(iris.data, iris.target, strict=True))
    digits = load_digits(n_class=3)
    for i, (picture, k) in enumerate(zip(digits.images, digits.target, strict=True)):
        path = Path("pictures", ("zero", "one", "two")[k], f"{i:03}.png")
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((picture * 15.9).astype("uint8")).save(path)


if __name__ == "__main__":
    write()
