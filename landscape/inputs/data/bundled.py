"""The data sets that scikit-learn brings along or makes; it is imported only inside the functions."""

from collections.abc import Sequence

import numpy as np

from landscape.errors import BadInput
from landscape.inputs.data.dataset import DataSet, data_set, first, standardised
from landscape.inputs.data.mnist import distinct_digits


def digits(
    test_size: float = 0.2,
    seed: int = 0,
    image: bool = False,
    size: int = 8,
    limit: int | None = None,
    classes: Sequence[int] | None = None,
) -> DataSet:
    """1797 handwritten digits of 8×8 pixels in [0, 1]: inputs (n, 64), or (n, 1, 8, 8) as images.

    ``test_size`` is the share held out for testing, drawn by ``seed`` within each class; with 0 all
    samples train and there is no test set. ``size``: so many pixels a side, by linear interpolation; ``limit``: the
    first so many training samples. ``classes`` keeps those digits alone and numbers them 0, 1, ... in the order given,
    as of ``mnist``. (Alpaydin and Kaynak 1998.)
    """
    from sklearn.datasets import load_digits

    inputs, targets = map(np.asarray, load_digits(return_X_y=True))
    if classes is not None:
        kept = distinct_digits(classes)
        are_kept = np.isin(targets, kept)
        inputs, targets = inputs[are_kept], np.argmax(targets[are_kept, None] == kept, axis=1)
    inputs = inputs.reshape(-1, 1, 8, 8) / 16 if image else inputs / 16
    if size != 8:
        inputs = _resized(inputs, size, image)
    train, test = train_test_indices(len(targets), test_size, seed, targets)
    train = train[first(limit)]
    return data_set("digits", inputs[train], targets[train], inputs[test], targets[test])


def _resized(inputs: np.ndarray, size: int, image: bool) -> np.ndarray:
    if not isinstance(size, int) or size < 2:
        raise BadInput(f"size={size!r}", "at least 2 pixels a side")
    places = np.linspace(0, 7, size)
    low = np.minimum(places.astype(np.int64), 6)
    weights = np.zeros((size, 8))
    weights[np.arange(size), low] = 1 - (places - low)
    weights[np.arange(size), low + 1] = places - low
    made = weights @ inputs.reshape(-1, 8, 8) @ weights.T
    return made.reshape(-1, 1, size, size) if image else made.reshape(-1, size * size)


def breast_cancer(test_size: float = 0.2, seed: int = 0) -> DataSet:
    """569 tumours, malignant (0) or benign (1): inputs (n, 30), standardised by the training samples.

    ``test_size`` and ``seed`` as in ``digits``. (Street, Wolberg and Mangasarian 1993.)
    """
    from sklearn.datasets import load_breast_cancer

    inputs, targets = map(np.asarray, load_breast_cancer(return_X_y=True))
    train, test = train_test_indices(len(targets), test_size, seed, targets)
    train_inputs, test_inputs = standardised(inputs[train], inputs[test])
    return data_set("breast_cancer", train_inputs, targets[train], test_inputs, targets[test])


def circles(
    num_samples: int = 500,
    noise: float = 0.1,
    factor: float = 0.5,
    seed: int = 0,
    test_size: float = 0.2,
    shuffle: bool = True,
    stratified: bool = True,
) -> DataSet:
    """Two concentric circles, the inner one ``factor`` times the outer: inputs (n, 2), targets (n,).

    ``noise`` is the standard deviation added to both coordinates; ``num_samples`` counts the test set in,
    which is drawn within each class where ``stratified``; ``shuffle`` as in ``sklearn.datasets.make_circles``.
    """
    from sklearn.datasets import make_circles

    made = make_circles(num_samples, shuffle=shuffle, noise=noise or None, factor=factor, random_state=seed)
    inputs, targets = map(np.asarray, made)
    train, test = train_test_indices(len(targets), test_size, seed, targets if stratified else None)
    return data_set("circles", inputs[train], targets[train], inputs[test], targets[test])


def moons(num_samples: int = 500, noise: float = 0.1, seed: int = 0, test_size: float = 0.2) -> DataSet:
    """Two interleaving half circles: inputs (n, 2), targets (n,); arguments as in ``circles``."""
    from sklearn.datasets import make_moons

    inputs, targets = map(np.asarray, make_moons(num_samples, noise=noise or None, random_state=seed))
    train, test = train_test_indices(len(targets), test_size, seed, targets)
    return data_set("moons", inputs[train], targets[train], inputs[test], targets[test])


def train_test_indices(
    n: int, test_size: float, seed: int, classes: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Ascending indices of the training and of the test samples, within each class if ``classes`` (n,) says.

    Raises BadInput for a ``test_size`` outside [0, 1).
    """
    from sklearn.model_selection import train_test_split

    if not isinstance(test_size, int | float) or not 0 <= test_size < 1:
        raise BadInput(f"test_size={test_size!r}", "a share in [0, 1)", "write test_size=0 for no test set")
    if test_size == 0:
        return np.arange(n), np.arange(0)
    train, test = train_test_split(np.arange(n), test_size=test_size, random_state=seed, stratify=classes)
    return np.sort(train), np.sort(test)
