"""Tasks that need time: Randman, spoken digits, store and recall, and the controls that take time away."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.io import wavfile

from tsbp.runs import data
from tsbp.runs.controls import count_accuracy, first_spike_accuracy, first_spikes
from tsbp.runs.data import download, randman, recall, spoken_digits
from tsbp.runs.settings import TrainingConfig
from tsbp.runs.training import prepare, train

HERE = Path(".")


# --- Randman ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def small_randman() -> data.DataSet:
    return randman.source(classes=3, inputs=8, n_train=150, n_test=60).load(HERE, 50)


def times(frames: torch.Tensor) -> torch.Tensor:
    """The step of each input's spike, ``[N, inputs]``."""
    return frames[..., 0, 0].float().argmax(1)


def test_every_input_of_randman_fires_once(small_randman):
    for frames in (small_randman.train_images, small_randman.test_images):
        assert frames.shape[1:] == (50, 8, 1, 1) and frames.unique().tolist() == [0, 1]
        assert (frames.sum(1) == 1).all()
    assert small_randman.train_labels.bincount().tolist() == [50] * 3
    assert small_randman.test_labels.bincount().tolist() == [20] * 3


def test_times_fill_the_unit_interval(small_randman):
    """In every class, each input fires in the first step for some example, and in the last for another."""
    steps = times(torch.cat([small_randman.train_images, small_randman.test_images]))
    labels = torch.cat([small_randman.train_labels, small_randman.test_labels])
    for label in range(3):
        low, high = steps[labels == label].aminmax(dim=0)
        assert (low == 0).all() and (high == 49).all()


def test_ranks_are_uniform_in_every_class():
    dataset = randman.source(classes=2, inputs=5, n_train=100, n_test=100, marginal="uniform").load(HERE, 25)
    steps = times(torch.cat([dataset.train_images, dataset.test_images]))
    labels = torch.cat([dataset.train_labels, dataset.test_labels])
    for label in range(2):
        for one in steps[labels == label].T:
            assert one.bincount(minlength=25).tolist() == [4] * 25


def test_randman_is_the_same_at_every_call_and_finer_with_more_steps(small_randman):
    source = randman.source(classes=3, inputs=8, n_train=150, n_test=60)
    assert source.load(HERE, 50).fingerprint() == small_randman.fingerprint()
    fine = source.load(HERE, 100)
    assert torch.equal(times(fine.train_images) // 2, times(small_randman.train_images))
    other = randman.source(classes=3, inputs=8, n_train=150, n_test=60, smoothness=2.0).load(HERE, 50)
    assert other.fingerprint() != small_randman.fingerprint()


def test_a_random_function_by_hand():
    """One input, two dimensions, and so large an exponent that two terms are left."""
    values = randman.manifold(1, 2, 10.0, np.random.default_rng(3))
    a, b, c = np.random.default_rng(3).random((3, 1, 2, 2))[:, 0]
    x = np.array([[0.3, 0.8]])
    expected = 1.0
    for d in range(2):
        terms = [k**-10.0 * a[d, k - 1] * np.sin(2 * np.pi * (k * b[d, k - 1] * x[0, d] + c[d, k - 1])) for k in (1, 2)]
        expected *= sum(terms)
    assert values(x).item() == pytest.approx(expected, rel=1e-12)


def test_near_points_have_near_times_and_smoothness_grows_with_the_exponent():
    """How far the values move over a hundredth of the cube, in units of their spread."""
    moved = []
    for smoothness in (0.7, 1.0, 1.5, 2.0, 3.0):
        random = np.random.default_rng(0)
        values = randman.manifold(10, 2, smoothness, random)
        x = random.random((200, 2)) * 0.99
        there, beside = values(x), values(x + np.array([0.01, 0.0]))
        moved.append(np.median(np.abs(beside - there) / there.std(0)))
    assert moved == sorted(moved, reverse=True)
    assert moved[1] < 0.3 and moved[-1] < 0.06


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"classes": 0}, "classes must be an integer of at least 1, got 0"),
        ({"inputs": 2.0}, "inputs must be an integer of at least 1, got 2.0"),
        ({"dimension": True}, "dimension must be an integer of at least 1, got True"),
        ({"n_train": 9}, "n_train must be an integer of at least 10, got 9"),
        ({"n_test": 1005}, "n_test must be a multiple of the 10 classes, got 1005"),
        ({"smoothness": 0}, "smoothness must be finite and greater than 0, got 0"),
        ({"smoothness": float("inf")}, "smoothness must be finite and greater than 0, got inf"),
        ({"marginal": "normal"}, "marginal must be one of range, uniform, got 'normal'"),
    ],
)
def test_what_randman_cannot_be(arguments, said):
    with pytest.raises(ValueError, match=f"^{re.escape(said)}$"):
        randman.source(**arguments)


def test_randman_beyond_memory_is_refused():
    with pytest.raises(ValueError, match=r"randman: 3,000 examples of 10000000000000 steps would take .* of memory"):
        randman.SOURCE.load(HERE, 10**13)


# --- store and recall -------------------------------------------------------------------------------------------------


def test_the_label_is_the_cue():
    dataset = recall.SOURCE.load(HERE, 30)
    frames, labels = dataset.train_images[..., 0, 0], dataset.train_labels
    assert frames.shape == (2000, 30, 50) and labels.bincount().tolist() == [500] * 4
    populations = frames.unflatten(2, (5, 10)).sum(3).float()  # [N, T, population]
    assert (populations[:, :5, :4].sum(1).argmax(1) == labels).float().mean() > 0.999
    rate = populations.mean(0) / 10
    assert rate[-5:, 4].mean() == pytest.approx(0.5, abs=0.01), "the go signal"
    noise = torch.cat([rate[5:-5].flatten(), rate[:5, 4], rate[-5:, :4].flatten()])
    assert noise.mean() == pytest.approx(0.02, abs=0.001), "nothing but noise in between"
    assert recall.SOURCE.load(HERE, 30).fingerprint() == dataset.fingerprint()


def test_recall_without_noise_is_silent_in_between():
    dataset = recall.source(classes=2, n_train=40, n_test=20, noise=0.0).load(HERE, 14)
    frames = dataset.test_images[..., 0, 0].unflatten(2, (3, 10))
    assert not frames[:, 5:-5].any() and not frames[:, -5:, :2].any() and not frames[:, :5, 2].any()
    cue = frames[:, :5].sum((1, 3))
    assert (cue.argmax(1) == dataset.test_labels).all() and (cue > 0).sum() == 20


def test_recall_of_no_delay_is_the_shortest():
    assert recall.SOURCE.load(HERE, 10).train_images.shape[1] == 10
    with pytest.raises(ValueError, match=r"^time_steps must be at least 10 for recall: 5 of the cue, .*; got 9$"):
        recall.SOURCE.load(HERE, 9)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"classes": 1}, "classes must be an integer of at least 2, got 1"),
        ({"n_train": 3}, "n_train must be an integer of at least 4, got 3"),
        ({"n_test": "many"}, "n_test must be an integer of at least 4, got 'many'"),
        ({"noise": 0.5}, "noise must be a probability from 0 to below 0.5, got 0.5"),
        ({"noise": float("nan")}, "noise must be a probability from 0 to below 0.5, got nan"),
    ],
)
def test_what_recall_cannot_be(arguments, said):
    with pytest.raises(ValueError, match=f"^{re.escape(said)}$"):
        recall.source(**arguments)


def test_a_short_delay_is_learned():
    config = TrainingConfig.for_dataset(
        "recall", network="64R", epochs=2, examples=1000, device="cpu", evaluate_every=2
    )
    assert train(config, quiet=True)["test_accuracy"] > 90


# --- spoken digits ----------------------------------------------------------------------------------------------------


def write_recording(file: Path, samples: np.ndarray, rate: int = 8000) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    wavfile.write(file, rate, samples)


def tone(frequency: float, seconds: float, loudness: np.ndarray | float = 0.5) -> np.ndarray:
    """16-bit samples at 8 kHz."""
    t = np.arange(int(8000 * seconds)) / 8000
    return np.round(2**15 * loudness * np.sin(2 * np.pi * frequency * t)).astype(np.int16)


@pytest.fixture
def speakers(tmp_path) -> Path:
    """Two digits of three speakers, each a tone of its own; returns the folder of the data."""
    for s, speaker in enumerate(("ann", "bob", "eve")):
        for digit in (0, 7):
            name = f"{digit}_{speaker}_0.wav"
            write_recording(tmp_path / "FSDD" / "recordings" / name, tone(300 + 200 * s + 1500 * (digit == 7), 0.2))
    return tmp_path


def test_send_on_delta_by_hand():
    levels = np.array([[0, 3, 5, 6, 20, 19, 15, 14, 14]]).T  # one band
    up, down = np.moveaxis(spoken_digits.send_on_delta(levels, 5.0)[..., 0], -1, 0)
    assert up.tolist() == [0, 0, 0, 1, 1, 0, 0, 0, 0], "more than 5, not 5; one event however far it went"
    assert down.tolist() == [0, 0, 0, 0, 0, 0, 0, 1, 0], "from 20, the level of the last event"
    several = np.stack([levels, -levels])
    found = spoken_digits.send_on_delta(several, 5.0)
    assert found.shape == (2, 9, 2, 1) and found.dtype == np.uint8
    assert (found[0, :, ::-1] == found[1]).all()


def test_a_tone_is_loud_in_its_band_and_silence_is_60_dB_below():
    centres = spoken_digits._MEL_BANDS.argmax(0) * 8000 / 512
    for frequency in (250.0, 1000.0, 3000.0):
        levels = spoken_digits.mel_levels(tone(frequency, 0.5) / 2**15, 100)
        assert levels.shape == (100, 40) and levels.max() == 0 and levels.min() == -60
        loudest = levels[50].argmax()
        assert abs(centres[loudest] - frequency) <= np.diff(centres)[max(loudest - 1, 0) : loudest + 1].max()
        assert (levels[:24] == -60).all() and (levels[77:] == -60).all(), "centred in one second"


def test_a_recording_longer_than_the_window_loses_both_ends():
    samples = np.concatenate([tone(500, 0.5), tone(2000, 0.5), tone(500, 0.5)]) / 2**15
    middle = spoken_digits.mel_levels(samples, 40)
    assert np.unique(middle.argmax(1)).tolist() == [np.argmax(spoken_digits._MEL_BANDS[round(2000 * 512 / 8000)])]


def test_a_tone_that_rises_sends_on_events_at_a_steady_rate(tmp_path):
    """By 1 dB a step: one event in six steps, for five are not more than 5."""
    seconds = 0.5
    decibels = 100 * np.arange(int(8000 * seconds)) / 8000 - 50
    levels = spoken_digits.mel_levels(tone(1000, seconds, 10 ** (decibels / 20)) / 2**15, 50)
    band = levels[-5].argmax()
    events = spoken_digits.send_on_delta(levels, 5.0)[15:45, :, band]
    assert not events[:, 1].any()
    assert set(np.diff(np.flatnonzero(events[:, 0]))) <= {5, 6}


def test_how_loud_a_recording_is_makes_no_difference():
    loud, quiet = (spoken_digits.mel_levels(tone(700, 0.3) * factor, 60) for factor in (1.0, 0.01))
    np.testing.assert_allclose(loud, quiet, atol=1e-9)
    assert not spoken_digits.mel_levels(np.zeros(100), 60).any(), "silence is no division by zero"


def test_recordings_become_frames_with_one_speaker_left_out(speakers):
    loaded = data.load("spoken-digits", speakers, 30)
    assert loaded.train_images.shape == (4, 30, 2, 40, 1) and loaded.test_images.shape == (2, 30, 2, 40, 1)
    assert loaded.train_labels.tolist() == [0, 7, 0, 7] and loaded.test_labels.tolist() == [0, 7]
    assert loaded.groups.tolist() == [0, 0, 1, 1, 2, 2]
    assert loaded.note.startswith(spoken_digits.OTHER_NOTE)
    last = data.load("spoken-digits", speakers, 30).fold(3, 2)
    assert torch.equal(last.test_images, loaded.test_images), "the last fold is the default split"


def test_recordings_that_cannot_be_used_are_named(speakers, tmp_path):
    folder = speakers / "FSDD" / "recordings"
    file = folder / "3_eve_1.wav"
    whole = (folder / "7_eve_0.wav").read_bytes()
    for content in (b"", b"not a sound", whole[:30], whole[:-100]):
        file.write_bytes(content)
        with pytest.raises(ValueError, match=r"^spoken-digits: .*3_eve_1\.wav is damaged: [^\n]+$"):
            data.load("spoken-digits", speakers, 30)
    for samples, rate in (
        (tone(500, 0.1), 16_000),
        (np.zeros((80, 2), np.int16), 8000),
        (np.zeros(80, np.uint8), 8000),
    ):
        write_recording(file, samples, rate)
        with pytest.raises(ValueError, match=r"3_eve_1\.wav is damaged: expected 16 bits, 8 kHz and mono, got "):
            data.load("spoken-digits", speakers, 30)
    for path in folder.glob("*_[ab]*.wav"):
        path.unlink()
    file.unlink()
    (folder / "readme.wav").write_bytes(b"passed over, as its name is no recording's")
    with pytest.raises(ValueError, match=r"of at least two speakers in .*, got 2 of eve$"):
        data.load("spoken-digits", speakers, 30)
    with pytest.raises(ValueError, match=r"spoken-digits: 6 recordings of 10{13} steps would take"):
        for speaker in ("ann", "bob"):
            for digit in (1, 2):
                write_recording(folder / f"{digit}_{speaker}_0.wav", tone(400, 0.1))
        data.load("spoken-digits", speakers, 10**13)


def test_without_a_network_the_message_says_what_belongs_where(tmp_path, monkeypatch):
    def offline(root: Path, fetch) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr(download, "into", offline)
    said = r"^spoken-digits: expected the 3,000 recordings <digit>_<speaker>_<index>\.wav .*FSDD/recordings; .*no route"
    with pytest.raises(FileNotFoundError, match=said):
        data.load("spoken-digits", tmp_path)


def test_a_download_is_unpacked_and_checked(speakers, tmp_path, monkeypatch):
    """The archive holds the repository in a folder of its own, of which the recordings are taken."""
    import tarfile

    from torchvision.datasets import utils

    archive = tmp_path / "made.tar.gz"
    with tarfile.open(archive, "w:gz") as content:
        for file in spoken_digits.recordings(speakers / "FSDD" / "recordings"):
            content.add(file, f"free-spoken-digit-dataset-26eb9aa/recordings/{file.name}")
        content.add(archive.parent / "FSDD" / "recordings" / "0_ann_0.wav", "free-spoken-digit-dataset-26eb9aa/0.wav")

    def fake(url: str, root: str, filename: str) -> None:
        assert spoken_digits.COMMIT in url
        (Path(root) / filename).write_bytes(archive.read_bytes())

    monkeypatch.setattr(utils, "download_url", fake)
    root = tmp_path / "new"
    with pytest.raises(FileNotFoundError, match=r"spoken-digits: .*are not those that were published"):
        data.load("spoken-digits", root)
    assert not root.exists()
    files = spoken_digits.recordings(speakers / "FSDD" / "recordings")
    monkeypatch.setattr(spoken_digits, "PUBLISHED", spoken_digits.fingerprint(files))
    loaded = data.load("spoken-digits", root, 30)
    assert spoken_digits.OTHER_NOTE not in loaded.note
    assert sorted(path.name for path in root.rglob("*") if path.is_file()) == [file.name for file in files]


def test_the_published_recordings(real_data):
    root = real_data("FSDD")
    loaded = data.load("spoken-digits", root, 50)
    assert loaded.train_images.shape == (2500, 50, 2, 40, 1) and loaded.note == ""
    assert loaded.groups.bincount().tolist() == [500] * 6
    assert loaded.train_labels.bincount().tolist() == [250] * 10 and loaded.test_labels.bincount().tolist() == [50] * 10
    assert loaded.train_images.flatten(1).sum(1).min() > 0, "no recording is without an event"
    tested = [loaded.fold(6, k) for k in range(6)]
    assert torch.stack([fold.tested for fold in tested]).sum(0).eq(1).all(), "every recording is tested once"
    for k, fold in enumerate(tested):
        assert fold.groups[:2500].unique().tolist() == [s for s in range(6) if s != k]
        assert fold.groups[2500:].unique().tolist() == [k]


# --- groups that are not split ----------------------------------------------------------------------------------------


def grouped(n_groups: int = 6, n_train: int = 40) -> data.DataSet:
    """60 examples whose only pixel is their number, in groups of equal size."""
    images = torch.arange(60, dtype=torch.uint8).view(-1, 1, 1, 1)
    labels, groups = torch.arange(60) % 2, torch.arange(60) % n_groups
    parts = images[:n_train], labels[:n_train], images[n_train:], labels[n_train:]
    return data.DataSet("grouped", *parts, n_classes=2, groups=groups)


@pytest.mark.parametrize("folds", [2, 3, 6])
def test_folds_are_whole_groups(folds):
    dataset = grouped()
    parts = [dataset.fold(folds, k) for k in range(folds)]
    assert torch.stack([part.tested for part in parts]).sum(0).eq(1).all()
    for part in parts:
        n = len(part.train_labels)
        numbers = torch.cat([part.train_images, part.test_images]).flatten().long()
        assert torch.equal(part.groups, numbers % 6), "groups go where their examples go"
        assert not set(part.groups[:n].tolist()) & set(part.groups[n:].tolist())
        assert len(part.groups[n:].unique()) == 6 // folds
        assert part.note == f"{folds}-fold cross-validation over 60 examples in 6 whole groups"


def test_other_cuts_of_groups():
    dataset = grouped()
    cuts = {tuple(dataset.fold(3, 3 * cut).groups[40:].unique().tolist()) for cut in range(8)}
    assert len(cuts) > 1, "other pairs"
    with pytest.raises(ValueError, match=r"^fold must be less than 6, the number of groups, .*got 6$"):
        dataset.fold(6, 6)
    for folds in (4, 5, 12):
        with pytest.raises(ValueError, match=rf"^folds must divide the number of groups of grouped, 6, got {folds}$"):
            dataset.fold(folds, 0)


@pytest.mark.parametrize("n", [1, 7, 8, 20, 33])
def test_held_out_examples_are_from_groups_that_are_not_trained_on(n):
    dataset = grouped()
    held = dataset.hold_out(n)
    train_groups, held_groups = (images.flatten().long() % 6 for images in (held.train_images, held.test_images))
    assert len(held.test_images) == n and not set(train_groups.tolist()) & set(held_groups.tolist())
    assert torch.equal(held.groups, torch.cat([train_groups, held_groups]))
    assert (held.train_images < 40).all() and (held.test_images < 40).all(), "the test set is not looked at"
    whole = torch.isin(torch.arange(40) % 6, train_groups.unique()).sum()
    assert len(held.train_images) == whole, "the other groups are whole"
    assert torch.equal(held.test_images, dataset.hold_out(n).test_images)


def test_holding_out_leaves_a_group_to_train_on():
    with pytest.raises(
        ValueError, match=r"^validation must be from 1 to 3[34] examples, so that a whole group is left"
    ):
        grouped().hold_out(39)
    with pytest.raises(ValueError, match="validation must be from 1 to 0 examples"):
        grouped(n_groups=1).hold_out(1)


def test_part_of_the_examples_keeps_their_groups():
    part = grouped().first(9)
    numbers = torch.cat([part.train_images, part.test_images]).flatten().long()
    assert len(numbers) == 29 and torch.equal(part.groups, numbers % 6)


@pytest.mark.parametrize("groups", [torch.zeros(59, dtype=torch.int64), torch.zeros(60), [0] * 60])
def test_groups_that_do_not_fit_are_named(groups):
    with pytest.raises(ValueError, match=r"^grouped: groups must be a tensor of torch.int64, one for each of 60, got"):
        replace(grouped(), groups=groups)


# --- controls ---------------------------------------------------------------------------------------------------------


def test_shuffled_time_keeps_the_counts_and_each_example_has_its_own_order(small_randman):
    shuffled = small_randman.shuffle_time()
    for one, other in zip(
        (small_randman.train_images, small_randman.test_images),
        (shuffled.train_images, shuffled.test_images),
        strict=True,
    ):
        assert torch.equal(one.sum(1), other.sum(1)) and not torch.equal(one, other)
    assert torch.equal(shuffled.train_images, small_randman.shuffle_time().train_images)
    assert shuffled.note == "frames of each example in random order"
    steps = torch.arange(10, dtype=torch.uint8).view(1, 10, 1, 1, 1).expand(5, 10, 2, 3, 1)
    labels = torch.zeros(5, dtype=torch.int64)
    orders = data.DataSet("counted", steps, labels, steps, labels, 1).shuffle_time().train_images
    assert (orders == orders[:, :, :1, :1]).all(), "the inputs of a step stay together"
    assert len({tuple(order.tolist()) for order in orders[:, :, 0, 0, 0]}) == 5
    assert all(sorted(order.tolist()) == list(range(10)) for order in orders[:, :, 0, 0, 0])


def test_shuffled_time_of_images_is_the_order_of_their_rows(digits):
    shuffled = digits.shuffle_time()
    assert torch.equal(shuffled.train_images.sum(2), digits.train_images.sum(2))
    assert not torch.equal(shuffled.train_images, digits.train_images)
    config = TrainingConfig.for_dataset(
        "digits", network="20", time_steps=8, encoding="rows", shuffle_time=True, shift=0
    )
    assert prepare(config, digits).fingerprint() == shuffled.fingerprint()
    with pytest.raises(ValueError, match=r"^shuffle_time needs frames of events, or images by rows; got encoding dir"):
        prepare(config.but(encoding="direct"), digits)


def test_a_run_on_shuffled_data_is_another_run():
    config = TrainingConfig.for_dataset("recall", device="cpu", epochs=1, examples=100, network="10", evaluate_every=1)
    plain, shuffled = (train(config.but(shuffle_time=shuffle), quiet=True) for shuffle in (False, True))
    assert plain["data_fingerprint"] != shuffled["data_fingerprint"] and plain["identity"] != shuffled["identity"]
    assert "random order" in shuffled["data_note"] and shuffled["shuffle_time"] is True


def test_first_spikes_by_hand():
    frames = torch.zeros(1, 4, 1, 1, 3, dtype=torch.uint8)
    frames[0, 2, 0, 0, 0] = frames[0, 3, 0, 0, 0] = frames[0, 0, 0, 0, 1] = 1
    assert first_spikes(frames).tolist() == [[2, 0, 4]]


def test_a_linear_classifier_reads_times_unless_each_is_spread_evenly(small_randman):
    assert first_spike_accuracy(small_randman) > 50
    even = randman.source(classes=3, inputs=10, n_train=300, n_test=150, marginal="uniform").load(HERE, 50)
    assert first_spike_accuracy(even) < 50


def test_counts_say_nothing_about_randman_and_all_about_the_cue(small_randman, digits):
    assert count_accuracy(small_randman) == pytest.approx(100 / 3)
    assert count_accuracy(recall.SOURCE.load(HERE, 20)) > 99
    by_rows = count_accuracy(digits)
    assert 50 < by_rows < 90, "of an image by rows, the sum of every column"
    assert count_accuracy(digits.shuffle_time()) == by_rows
