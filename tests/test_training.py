"""The training loop: recipe, streaming, early ends, callbacks, memory."""

import itertools
import math
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.exceptions import ConvergenceWarning
from torch import nn

from skanomaly import EarlyStopping, NSADetector, SelfSupervisedEncoder
from skanomaly._training import Recipe, SampleStore, Task, Training, _loop, _sample_store
from skanomaly.encoders._pretext import PretextTask, concentration

CPU = torch.device("cpu")


class Regression(Task):
    """Least squares: rows are x1, x2, y."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 1)
        nn.init.zeros_(self.layer.weight)
        nn.init.zeros_(self.layer.bias)
        self.batch_sizes, self.progress, self.limit = [], [], math.inf

    def forward(self, batch):
        if len(batch) > self.limit:
            raise torch.OutOfMemoryError("CUDA out of memory")
        self.batch_sizes.append(len(batch))
        return {"loss": (self.layer(batch[:, :2])[:, 0] - batch[:, 2]).square().mean()}

    def after_step(self, progress):
        self.progress.append(progress)


@pytest.fixture
def rows(rng):
    X = rng.normal(size=(30, 2)).astype(np.float32)
    return np.c_[X, X @ [2, -1] + 3].astype(np.float32)


def train(task, rows, **options):
    training = Training(
        task, SampleStore(rows, CPU), Recipe(precision="float32", **options), seed=0
    )
    return training, training.run()


@pytest.mark.parametrize("optimizer", ["adamw", "adam", "sgd"])
def test_loop_minimises(rows, optimizer):
    task = Regression()
    _, history = train(
        task, rows, optimizer=optimizer, max_epochs=80, batch_size=10, learning_rate=0.1
    )
    assert_allclose(task.layer.weight.detach(), [[2, -1]], atol=0.05)
    assert history[-1]["loss"] < 0.01 < history[0]["loss"]
    assert_allclose(task.progress, np.arange(240) / 240)
    assert not task.training


def test_learning_rate_rises_and_decays_along_a_cosine(rows):
    rates = []

    class Probe(Regression):
        def after_step(self, progress):
            rates.append(training.optimizer.param_groups[0]["lr"])

    for warmup, n_rising in ((0.0, 0), (0.25, 10)):
        rates.clear()
        store, recipe = SampleStore(rows, CPU), Recipe(40, batch_size=30, warmup=warmup)
        training = Training(Probe(), store, recipe, seed=0)
        training.run()
        rising = [3e-3 * (k + 1) / n_rising for k in range(n_rising)]
        n = 40 - n_rising
        falling = [3e-3 * (1 + math.cos(math.pi * k / n)) / 2 for k in range(n)]
        assert_allclose(rates, rising + falling, rtol=1e-6)


def test_accumulated_gradients_are_those_of_the_whole_batch(rows):
    whole, parts = Regression(), Regression()
    options = {"max_epochs": 3, "batch_size": 11, "optimizer": "sgd"}
    train(whole, rows, **options)
    train(parts, rows, accumulation_steps=3, **options)
    assert_allclose(parts.layer.weight.detach(), whole.layer.weight.detach(), rtol=1e-5)
    assert set(whole.batch_sizes) == {10} and set(parts.batch_sizes) == {3, 4}
    huge = Regression()
    train(huge, rows, accumulation_steps=100, **options)
    assert min(huge.batch_sizes) == 2  # which batch normalisation needs


def test_out_of_memory_halves_the_micro_batch_once(rows):
    task, whole = Regression(), Regression()
    task.limit = 10
    options = {"max_epochs": 2, "batch_size": 30, "optimizer": "sgd"}
    with pytest.warns(UserWarning, match=r"with 30 samples at once.*accumulation_steps=2") as seen:
        train(task, rows, **options)
    assert len(seen) == 1 and set(task.batch_sizes) == {7, 8}
    train(whole, rows, **options)
    assert_allclose(task.layer.weight.detach(), whole.layer.weight.detach(), rtol=1e-5)
    task.limit = 2
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        train(task, rows, max_epochs=1, batch_size=30)
    assert task.batch_sizes[-1] == 2
    task.limit = 1
    with warnings.catch_warnings(), pytest.raises(MemoryError, match="too little memory for 2"):
        warnings.simplefilter("ignore")
        train(task, rows, **options)


def test_other_errors_pass(rows):
    class Broken(Regression):
        def forward(self, batch):
            raise RuntimeError("shapes do not match")

    with pytest.raises(RuntimeError, match="shapes do not match"):
        train(Broken(), rows)


def test_every_sample_once_per_epoch(rows):
    seen = []

    class Probe(Regression):
        def prepare(self, samples, n, generator):
            seen.extend(samples[:, 0].tolist())
            return samples

    train(Probe(), rows, max_epochs=2, batch_size=7)
    expected = sorted(rows[:, 0].tolist())
    assert sorted(seen[:30]) == sorted(seen[30:]) == expected and seen[:30] != seen[30:]


def test_order_and_draws_depend_on_the_seed(rows):
    class Probe(Regression):
        def prepare(self, samples, n, generator):
            seen.append((samples[:, 0].tolist(), float(torch.rand((), generator=generator))))
            return samples

    orders, draws = [], []
    for seed in (0, 0, 1):
        seen = []
        Training(Probe(), SampleStore(rows, CPU), Recipe(1, batch_size=10), seed=seed).run()
        orders.append([order for order, _ in seen])
        draws.append([draw for _, draw in seen])
    assert orders[0] == orders[1] != orders[2] and draws[0] == draws[1]
    assert not set(draws[0]) & set(draws[2])


def test_streaming_reads_what_is_asked_and_nothing_else(tmp_path, rng):
    X = rng.integers(0, 256, (20, 3, 8, 8), dtype=np.uint8)
    np.save(tmp_path / "X.npy", X)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    index = [torch.tensor([3, 1]), torch.tensor([19]), torch.tensor([], dtype=torch.long)]
    batches = list(SampleStore(mapped, CPU).stream(index))
    for batch, chosen in zip(batches, index, strict=True):
        assert_array_equal(batch, X[chosen.numpy()])
    assert batches[0].is_contiguous(memory_format=torch.channels_last)
    assert list(SampleStore(mapped, CPU).stream([])) == []


def test_errors_of_the_reader_reach_the_caller():
    stream = SampleStore(np.zeros((3, 2)), CPU).stream([torch.tensor([0]), torch.tensor([9])])
    next(stream)
    with pytest.raises(IndexError):
        next(stream)


def test_resident_samples_are_the_same_samples(rng, monkeypatch):
    X = rng.normal(size=(9, 2))
    store = SampleStore(X, CPU)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (1000, 1000))
    assert store._keep() is not None
    monkeypatch.setattr(_sample_store, "DEVICE_SHARE", 0.1)
    assert store._keep() is None
    store.resident = torch.from_numpy(X)
    assert_array_equal(next(store.stream([torch.tensor([2, 0])])), X[[2, 0]])


@pytest.mark.parametrize("layout", ["memmap", "channels_last", "reversed", "read_only"])
def test_training_does_not_depend_on_the_layout(tmp_path, rng, layout):
    X = rng.integers(0, 256, (12, 3, 10, 10), dtype=np.uint8)
    encoder = SelfSupervisedEncoder(max_epochs=1, random_state=0)
    expected = encoder.fit(X).transform(X)
    if layout == "memmap":
        np.save(tmp_path / "X.npy", X)
        other = np.load(tmp_path / "X.npy", mmap_mode="r")
    elif layout == "channels_last":
        other = np.ascontiguousarray(X.transpose(0, 2, 3, 1))
    elif layout == "reversed":
        other = np.ascontiguousarray(X[::-1])[::-1]
    else:
        other = X.copy()
        other.flags.writeable = False
    assert_array_equal(encoder.fit(other).transform(other), expected)


def test_max_time_ends_training(images, monkeypatch):
    ticks = itertools.count()
    clock = SimpleNamespace(perf_counter=lambda: 0.05 * next(ticks))  # each look takes 50 ms
    monkeypatch.setattr(_loop, "time", clock)
    encoder = SelfSupervisedEncoder(max_epochs=None, max_time=0.5, random_state=0).fit(images)
    assert 2 <= len(encoder.history_) <= 10
    assert sum(epoch["seconds"] for epoch in encoder.history_) <= 0.7
    assert encoder.history_[-1]["learning_rate"] < encoder.history_[0]["learning_rate"]
    once = SelfSupervisedEncoder(max_epochs=50, max_time=1e-9).fit(images)
    assert len(once.history_) == 1  # one step at least
    with pytest.raises(ValueError, match="max_epochs and max_time are both None"):
        SelfSupervisedEncoder(max_epochs=None).fit(images)


def test_history(images):
    encoder = SelfSupervisedEncoder(max_epochs=2, random_state=0).fit(images)
    assert set(encoder.history_[0]) == {
        "loss",
        "embedding_std",
        "kappa",
        "learning_rate",
        "seconds",
        "samples_per_second",
    }
    record = encoder.history_[1]
    assert_allclose(record["samples_per_second"] * record["seconds"], len(images))
    assert record["kappa"] > 0 and 0 < record["embedding_std"] < 1.5


@pytest.mark.parametrize("kappa", [1.0, 50.0])
def test_concentration_recovers_that_of_a_von_mises_fisher_distribution(rng, kappa):
    from scipy.stats import vonmises_fisher

    X = vonmises_fisher(np.eye(8)[0], kappa, seed=rng).rvs(20_000)
    assert_allclose(concentration(np.linalg.norm(X.mean(axis=0)), 8), kappa, rtol=0.1)
    assert concentration(1.0, 8) == math.inf


@pytest.mark.parametrize(
    "monitor, values, stops_after",
    [
        ("loss", [3, 2, 1, 1, 1, 1], 5),
        ("loss", [3, 2, 1.0005, 1, 1], 5),
        ("loss", [-1, -2, -3, -3.001, -3.002], 5),
        ("loss", [5, 4, 3, 2, 1], None),
        ("kappa", [5, 9, 8, 7, 6], 4),
        ("embedding_std", [0.2, 0.1, 0.1], 3),
    ],
)
def test_early_stopping(monitor, values, stops_after):
    stop = EarlyStopping(monitor, patience=2)
    history = [{monitor: value} for value in values]
    answers = [stop(history[: n + 1]) for n in range(len(history))]
    assert answers == [stops_after is not None and n + 1 >= stops_after for n in range(len(values))]
    assert repr(stop) == f"EarlyStopping({monitor!r}, patience=2, tolerance=0.001)"


@pytest.mark.parametrize(
    "options, message",
    [
        ({"monitor": "auc"}, r"monitor='auc' is not known; pass one of \['loss'"),
        ({"patience": 0}, "patience=0; pass at least 1"),
        ({"tolerance": -1}, "tolerance=-1; pass 0 or more"),
    ],
)
def test_early_stopping_refuses(options, message):
    with pytest.raises(ValueError, match=message):
        EarlyStopping(**options)


def test_callbacks_see_the_history_and_end_training(images):
    seen = []

    def watch(history):
        seen.append(len(history))
        return len(history) == 3

    def never(history):
        return None

    encoder = SelfSupervisedEncoder(max_epochs=9, callbacks=[watch, never]).fit(images)
    assert seen == [1, 2, 3] and len(encoder.history_) == 3


class Interrupt:
    """Ctrl-C in the middle of an epoch."""

    def __init__(self, at):
        self.at, self.calls = at, 0

    def __call__(self, batch, generator):
        self.calls += 1
        if self.calls == self.at:
            raise KeyboardInterrupt
        return batch


def test_interrupt_after_an_epoch_leaves_a_usable_detector(images):
    encoder = SelfSupervisedEncoder(augment=Interrupt(at=4), batch_size=12, max_epochs=9)
    with pytest.warns(ConvergenceWarning, match="training was interrupted in epoch 2"):
        detector = NSADetector(encoder).fit(images)
    assert len(detector.encoder_.history_) == 1
    assert np.isfinite(detector.score_samples(255 - images)).all()


def test_interrupt_before_an_epoch_ended_raises(images):
    encoder = SelfSupervisedEncoder(augment=Interrupt(at=2), batch_size=12)
    with pytest.raises(KeyboardInterrupt):
        encoder.fit(images)
    assert not hasattr(encoder, "network_")


def test_byol_target_follows_the_network(images):
    tasks = []

    class Probe(PretextTask):
        def after_step(self, progress):
            before = [p.clone() for p in self.target.parameters()]
            super().after_step(progress)
            momentum = 1 - 0.01 * (math.cos(math.pi * progress) + 1) / 2
            for old, slow, fast in zip(
                before, self.target.parameters(), self.network.parameters(), strict=True
            ):
                assert_allclose(
                    slow.detach(), (momentum * old + (1 - momentum) * fast).detach(), atol=1e-6
                )
            tasks.append(progress)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("skanomaly.encoders._self_supervised.PretextTask", Probe)
        encoder = SelfSupervisedEncoder("byol", max_epochs=3).fit(images)
    assert_allclose(tasks, [0, 1 / 3, 2 / 3])
    assert not hasattr(encoder.network_, "target")


def test_each_sample_gets_two_views(images, table, monkeypatch):
    seen = []

    class Probe(PretextTask):
        def prepare(self, samples, n, generator):
            seen.append(super().prepare(samples, n, generator).flatten(1))
            return seen[-1].unflatten(1, samples.shape[1:])

    monkeypatch.setattr("skanomaly.encoders._self_supervised.PretextTask", Probe)
    for X, n_equal in ((images, 0), (table, 10)):  # of few columns none may be replaced
        SelfSupervisedEncoder(max_epochs=1, batch_size=60, random_state=0).fit(X)
        first, second = seen[-1].chunk(2)
        assert len(first) == len(X) and (first == second).all(dim=1).sum() <= n_equal
        correlation = torch.corrcoef(torch.cat([first, second])).nan_to_num()
        own = correlation[: len(X), len(X) :].diagonal().mean()
        assert own > correlation[: len(X), len(X) :].mean() + 0.1


def test_shifted_instances_are_the_four_rotations(images):
    seen = []

    def augment(batch, generator):
        seen.append(batch)
        return batch

    encoder = SelfSupervisedEncoder("simclr-shifted", max_epochs=1, augment=augment)
    encoder.fit(images)
    views = seen[0].reshape(2, 4, 24, 1, 12, 12)
    assert_array_equal(views[0], views[1])
    for k in range(4):
        assert_array_equal(views[0, k], np.rot90(views[0, 0], k, (2, 3)))


@pytest.mark.parametrize("way", ["warm_start", "partial_fit"])
def test_training_goes_on(images, way):
    encoder = SelfSupervisedEncoder(max_epochs=1, random_state=0, warm_start=way == "warm_start")
    first = encoder.fit(images).transform(images)
    layers = encoder.layer_slices_
    more = encoder.fit if way == "warm_start" else encoder.partial_fit
    more(images[:20])
    assert encoder.layer_slices_ == layers
    second = encoder.transform(images)
    # near the first network, as nothing that was initialised anew is
    fresh = SelfSupervisedEncoder(max_epochs=1, random_state=1).fit(images).transform(images)
    assert 0 < np.linalg.norm(second - first) < 0.7 * np.linalg.norm(fresh - first)
    with pytest.raises(ValueError, match="was fitted on images of 12 x 12"):
        more(images[:, :10, :10])


def test_going_on_keeps_the_scale_of_a_table(table):
    encoder = SelfSupervisedEncoder(max_epochs=1).partial_fit(table)
    mean = encoder.scaler_.mean_.copy()
    encoder.partial_fit(table + 100)
    assert_array_equal(encoder.scaler_.mean_, mean)
    with pytest.raises(ValueError, match=r"Found 1 sample\(s\), a minimum of 2"):
        encoder.partial_fit(table[:1])


def test_training_with_dropout_obeys_the_seed(images):
    network = nn.Sequential(nn.Flatten(), nn.Linear(144, 32), nn.Dropout(), nn.Linear(32, 16))
    encoder = SelfSupervisedEncoder(backbone=network, max_epochs=2, random_state=0)
    before = torch.get_rng_state()
    assert_array_equal(encoder.fit(images).transform(images), encoder.fit(images).transform(images))
    assert torch.equal(before, torch.get_rng_state())


def test_half_precision_starts_from_about_the_same_loss(images):
    losses = {
        precision: SelfSupervisedEncoder(max_epochs=1, precision=precision, random_state=0)
        .fit(images)  # in one step
        .history_[0]["loss"]
        for precision in ("float32", "bfloat16")
    }
    assert losses["float32"] != losses["bfloat16"]
    assert_allclose(losses["bfloat16"], losses["float32"], atol=0.1)


def test_compiled_training_is_the_same_training(images, monkeypatch):
    """Traced forward and backward; that C++ computes the same is for torch to test."""
    compiled_modules = []

    def compile(module):
        compiled_modules.append(module)
        return torch_compile(module, backend="aot_eager")

    torch_compile = torch.compile
    monkeypatch.setattr(torch, "compile", compile)
    options = {"precision": "float32", "optimizer": "sgd", "learning_rate": 1e-3, "random_state": 0}
    plain = SelfSupervisedEncoder(max_epochs=2, **options).fit(images)
    assert not compiled_modules
    compiled = SelfSupervisedEncoder(max_epochs=2, compile=True, **options)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the compiler about this machine
        compiled.fit(images)
    assert [type(module) for module in compiled_modules] == [PretextTask]
    losses = [[epoch["loss"] for epoch in encoder.history_] for encoder in (compiled, plain)]
    assert_allclose(*losses, rtol=1e-3)
