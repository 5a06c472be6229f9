"""Does it detect? Ones of the digits against the other nine, beside a four-component PCA."""

import csv

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.metrics import roc_auc_score

from tests import naive
from tests.conftest import SAMPLE

pytestmark = pytest.mark.slow  # fits a detector of images


def test_the_vae_tells_digits_apart_better_than_a_pca() -> None:
    with (SAMPLE / "digits.csv").open(newline="") as file:
        table = np.array([[float(cell) for cell in row] for row in list(csv.reader(file))[1:]])
    pixels, ones = table[:, :64], np.flatnonzero(table[:, 64] == 1)
    ours, theirs = [], []
    for seed in range(5):
        order = np.random.default_rng(seed).permutation(ones)
        train, unseen = order[: len(ones) // 2], order[len(ones) // 2 :]
        test = np.concatenate([unseen, np.flatnonzero(table[:, 64] != 1)])
        other = np.arange(len(test)) >= len(unseen)
        detector = naive.learn_matrix(pixels[train], seed=seed, hidden=(32,), latent=4).detector
        ours.append(roc_auc_score(other, detector.score(naive.columns(pixels[test])).score))
        theirs.append(roc_auc_score(other, pca_error(pixels[train], pixels[test])))
    assert np.mean(ours) > np.mean(theirs), (ours, theirs)


def pca_error(train: np.ndarray, test: np.ndarray) -> np.ndarray:
    """Squared error of a four-component reconstruction of standardised columns."""
    mean, std = train.mean(axis=0), train.std(axis=0)
    std[std < 1e-12] = 1.0
    a, b = (train - mean) / std, (test - mean) / std
    pca = PCA(n_components=4, svd_solver="full").fit(a)
    return np.asarray(((b - pca.inverse_transform(pca.transform(b))) ** 2).sum(axis=1))
