"""Whether a task needs time: what can be learned where time is taken away.

The other control is the setting ``shuffle_time`` of a training, which leaves nothing but counts in its data.
"""

from collections.abc import Callable

from torch import Tensor

from tsbp.runs.data import DataSet


def count_accuracy(dataset: DataSet) -> float:
    """Test accuracy in per cent of a linear classifier of counts: logistic regression on each input's sum over time.

    Args:
        dataset: frames ``[N, T, C, H, W]``, or images ``[N, C, H, W]`` that are shown row by row, whose time is H.
    """
    return _linear_accuracy(dataset, counts)


def first_spike_accuracy(dataset: DataSet) -> float:
    """The same of a classifier of times: logistic regression on the step of each input's first spike.

    Args:
        dataset: frames ``[N, T, C, H, W]``. An input that never fires counts as one that fires after the last step.
    """
    return _linear_accuracy(dataset, first_spikes)


def first_spikes(frames: Tensor) -> Tensor:
    """Step of each input's first spike, T for none: ``[N, T, C, H, W]`` → ``[N, inputs]``."""
    fired = frames.flatten(2) > 0
    return fired.int().argmax(1).where(fired.any(1), frames.shape[1])


def _linear_accuracy(dataset: DataSet, features: Callable[[Tensor], Tensor]) -> float:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    classifier = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    classifier.fit(features(dataset.train_images), dataset.train_labels)
    return 100 * float(classifier.score(features(dataset.test_images), dataset.test_labels))


def counts(images: Tensor) -> Tensor:
    """Sum of each input over the time of frames, or over the rows of images: ``[N, inputs]``."""
    return images.sum(1 if images.dim() == 5 else 2).flatten(1)
