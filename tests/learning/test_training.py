"""Training: torch's arithmetic bit for bit, the same each time, and what is refused."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tests.support.lessons import QUICK, some_data, start
from zkmarket.errors import InputError
from zkmarket.learning import (
    Dataset,
    Training,
    calibrate,
    digits,
    digits_cnn,
    digits_held,
    digits_mlp,
    evaluate,
    train,
    trained_parameters,
)

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"epochs": 0}, "epochs is an integer from 1: got 0"),
        ({"epochs": 1.0}, "epochs is an integer from 1: got 1.0"),
        ({"epochs": True}, "epochs is an integer from 1: got True"),
        ({"batch": 0}, "batch is an integer from 1: got 0"),
        ({"optimiser": "lbfgs"}, "optimiser is one of sgd, adam: got 'lbfgs'"),
        ({"rate": 0}, "rate is a number over 0: got 0"),
        ({"rate": float("nan")}, "rate is a number over 0: got nan"),
        ({"rate": float("inf")}, "rate is a number over 0: got inf"),
        ({"rate": "0.1"}, "rate is a number over 0: got '0.1'"),
        ({"rate": True}, "rate is a number over 0: got True"),
        ({"momentum": 1}, "momentum is a number from 0 to under 1: got 1"),
        ({"momentum": -0.1}, "momentum is a number from 0 to under 1: got -0.1"),
        ({"momentum": float("nan")}, "momentum is a number from 0 to under 1: got nan"),
        ({"loss": "hinge"}, "loss is one of auto, cross-entropy, mse: got 'hinge'"),
        ({"seed": -1}, "seed is an integer from 0: got -1"),
        ({"seed": 1.5}, "seed is an integer from 0: got 1.5"),
        ({"threads": 0}, "threads is an integer from 1: got 0"),
    ],
)
def test_wrong_settings_are_refused(change: dict[str, Any], reason: str):
    with pytest.raises(InputError, match=reason):
        Training(**change)


def test_one_epoch_of_plain_descent_is_the_formula():
    """Full batch, no momentum: −rate · gradient of the mean loss, here of a linear model's squared error."""
    model = nn.Linear(2, 1, dtype=torch.float64)
    layout, theta = start(model)
    data = Dataset.of([[1.0, 0.5], [2.0, -1.0], [0.25, 3.0]], [1.0, 2.0, -1.0])
    x, y = data.inputs.astype(float), data.targets.astype(float)
    error = x @ theta[:2] + theta[2] - y
    gradient = 2 / 3 * np.append(error @ x, error.sum())
    update = train(model, layout, theta, data, Training(epochs=1, batch=3, rate=0.1, momentum=0), 1)
    np.testing.assert_allclose(update, -0.1 * gradient, rtol=1e-12)
    assert evaluate(model, layout, theta, data).loss == pytest.approx(np.mean(error**2), rel=1e-12)
    assert evaluate(model, layout, theta, data).accuracy is None


@pytest.mark.parametrize("momentum", [0, 0.5, 0.9])
def test_sgd_is_torchs_bit_for_bit(momentum: float):
    """On one row: the order of rows is all that torch's own optimiser would not know."""
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3))
    layout, theta = start(model)
    training = Training(epochs=6, momentum=momentum)
    one_row = some_data(1)
    update = train(model, layout, theta, one_row, training, 1)
    model.load_state_dict({name: torch.from_numpy(value) for name, value in layout.unflatten(theta).items()})
    optimiser = torch.optim.SGD(model.parameters(), lr=training.rate, momentum=momentum)
    x, y = torch.from_numpy(one_row.inputs), torch.from_numpy(one_row.targets)
    for _ in range(training.epochs):
        optimiser.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimiser.step()
    assert (layout.flatten(model.state_dict()) - theta).tobytes() == update.tobytes()


def accuracies(model: nn.Module, rounds: int, training: Training) -> tuple[float, float]:
    """Accuracy on held-out digits before and after some rounds of one trainer with all the data."""
    layout, theta = start(model)
    before = evaluate(model, layout, theta, digits_held())
    for number in range(1, rounds + 1):
        theta = theta + train(model, layout, theta, digits(), training, number)
    after = evaluate(model, layout, theta, digits_held())
    assert after.loss < before.loss
    assert before.accuracy is not None and after.accuracy is not None
    return before.accuracy, after.accuracy


@pytest.mark.parametrize("factory", [digits_mlp, digits_cnn])
@pytest.mark.parametrize("training", [Training(epochs=2), Training(epochs=2, optimiser="adam", rate=0.01)])
def test_digits_are_learned(factory, training: Training):
    before, after = accuracies(factory(), 2, training)
    assert before < 0.3 and after > 0.85


def test_eight_trainers_with_one_sided_shares_learn_together():
    model = digits_mlp()
    layout, theta = start(model)
    shares = [digits(part, 8, "dirichlet", 0.3) for part in range(8)]
    for number in range(1, 4):
        theta = theta + np.mean([train(model, layout, theta, data, Training(), number) for data in shares], axis=0)
    together = evaluate(model, layout, theta, digits_held()).accuracy
    alone = theta * 0 + start(digits_mlp())[1]
    for number in range(1, 4):
        alone = alone + train(model, layout, alone, shares[1], Training(), number)
    assert together > 0.75 > evaluate(model, layout, alone, digits_held()).accuracy


def test_real_targets_are_learned():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(200, 3))
    model = nn.Linear(3, 2)
    layout, theta = start(model)
    data = Dataset.of(x, x @ rng.normal(size=(3, 2)) + 0.5)
    before = evaluate(model, layout, theta, data)
    theta = theta + train(model, layout, theta, data, Training(rate=0.05), 1)
    assert evaluate(model, layout, theta, data).loss < 0.01 * before.loss


def test_probabilities_can_be_targets_of_cross_entropy():
    labels = some_data(60)
    soft = Dataset.of(labels.inputs, np.eye(3)[labels.targets])
    model = nn.Linear(4, 3)
    layout, theta = start(model)
    training = Training(epochs=1, loss="cross-entropy")
    np.testing.assert_allclose(
        train(model, layout, theta, soft, training, 1), train(model, layout, theta, labels, training, 1), atol=1e-6
    )
    hard = evaluate(model, layout, theta, labels)
    found = evaluate(model, layout, theta, soft, "cross-entropy")
    assert found.loss == pytest.approx(hard.loss, rel=1e-6) and found.accuracy is None and hard.accuracy is not None


def test_labels_can_be_numbers_of_mse():
    data = some_data()
    model = nn.Linear(4, 1)
    layout, theta = start(model)
    moved = theta + train(model, layout, theta, data, Training(loss="mse", rate=0.05), 1)
    before, after = (evaluate(model, layout, at, data, "mse") for at in (theta, moved))
    assert after.loss < before.loss and after.accuracy is None


class Noisy(nn.Module):
    """Dropout, batch normalisation and noise of its own."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x + 0.01 * torch.randn_like(x))


def test_training_is_the_same_bit_for_bit():
    data, model = some_data(), Noisy()
    layout, theta = start(model)
    torch.manual_seed(1)
    first = train(model, layout, theta, data, Training(seed=3), 2)
    torch.manual_seed(99)
    torch.rand(7)
    assert first.tobytes() == train(model, layout, theta, data, Training(seed=3), 2).tobytes()
    assert first.tobytes() == train(Noisy(), layout, theta, data, Training(seed=3), 2).tobytes()
    for seed, number in ((2, 3), (3, 3), (4, 2)):
        assert not np.array_equal(first, train(model, layout, theta, data, Training(seed=seed), number))
    assert evaluate(model, layout, theta, data) == evaluate(model, layout, theta, data)


def test_training_is_the_same_in_another_process(tmp_path: Path):
    """The other one has as many threads as it likes, and never loads torch's compiler, which takes seconds."""
    code = (
        "import sys\nfrom zkmarket.learning import *\n"
        "layout, theta = initial_parameters('zkmarket.learning:digits_cnn')\n"
        "data = load_dataset('data.npz')\n"
        "print(train(digits_cnn(), layout, theta, data, Training(epochs=1), 4).tobytes().hex())\n"
        "print('torch._dynamo' in sys.modules)"
    )
    data = digits(1, 8, "dirichlet")
    np.savez(tmp_path / "data.npz", x=data.inputs, y=data.targets)
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, cwd=tmp_path)
    layout, theta = start(digits_cnn())
    here = train(digits_cnn(), layout, theta, data, QUICK, 4)
    assert (done.stdout.split(), done.stderr) == ([here.tobytes().hex(), "False"], "")


def test_torch_has_the_threads_that_the_settings_say():
    seen = []
    model = nn.Sequential(nn.Linear(4, 3))
    model.register_forward_hook(lambda *_: seen.append(torch.get_num_threads()))
    layout, theta = start(model)
    train(model, layout, theta, some_data(3), Training(epochs=1, threads=3), 1)
    evaluate(model, layout, theta, some_data(3), threads=2)
    evaluate(model, layout, theta, some_data(3))
    assert seen == [3, 2, 1]


def test_torch_goes_on_as_if_nothing_had_happened():
    model, threads = Noisy(), torch.get_num_threads()
    layout, theta = start(model)
    torch.manual_seed(5)
    wanted = torch.rand(3)
    for act in (
        lambda: train(model, layout, theta, some_data(), Training(threads=threads + 1), 1),
        lambda: evaluate(model, layout, theta, some_data()),
        digits_mlp,
        digits_cnn,
    ):
        torch.manual_seed(5)
        act()
        assert torch.equal(torch.rand(3), wanted) and torch.get_num_threads() == threads
    torch.manual_seed(5)
    with pytest.raises(InputError):
        train(model, layout, theta, some_data(features=5), Training(threads=threads + 1), 1)
    assert torch.equal(torch.rand(3), wanted) and torch.get_num_threads() == threads


def test_buffers_are_in_no_update_and_stay_with_the_model():
    """Running means move in the model that trains, 2 batches of 33 rows, for the last row joins."""
    model = Noisy()
    layout, theta = start(model)
    assert layout.names == tuple(f"layers.{i}.{kind}" for i in (0, 1, 4) for kind in ("weight", "bias"))
    update = train(model, layout, theta, some_data(), QUICK, 1)
    buffers = {name: value.clone() for name, value in model.named_buffers()}
    assert buffers["layers.1.running_mean"].any() and buffers["layers.1.num_batches_tracked"] == 1
    evaluate(model, layout, theta + update, some_data())
    assert all(torch.equal(value, buffers[name]) for name, value in model.named_buffers())
    assert (
        layout.flatten(trained_parameters(model)).tobytes()
        == layout.flatten(layout.unflatten(theta + update)).tobytes()
    )
    fresh = Noisy()  # with other buffers a model does otherwise: they are its own
    assert evaluate(fresh, layout, theta + update, some_data()) != evaluate(model, layout, theta + update, some_data())
    assert not dict(fresh.named_buffers())["layers.1.running_mean"].any()


def test_a_convolutional_network_with_batch_norm_learns_together():
    """Four trainers' updates, averaged; each keeps its own running statistics, and the model does well with any."""
    models = [normed_cnn() for _ in range(4)]
    layout, theta = start(models[0])
    assert not any("running" in name or "tracked" in name for name in layout.names)
    shares = [digits(part, 4) for part in range(4)]
    for number in range(1, 4):
        updates = [
            train(model, layout, theta, data, Training(rate=0.1), number)
            for model, data in zip(models, shares, strict=True)
        ]
        theta = theta + np.mean(updates, axis=0)
    assert all(evaluate(model, layout, theta, digits_held()).accuracy > 0.9 for model in models)


def normed_cnn() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Unflatten(1, (1, 8, 8)), nn.Conv2d(1, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(96, 10),
    )  # fmt: skip


def test_a_received_model_is_calibrated_with_data_of_ones_own():
    """What was trained elsewhere comes without running statistics: with fresh ones it is worth little."""
    trained, received = normed_cnn(), normed_cnn()
    layout, theta = start(trained)
    theta = theta + train(trained, layout, theta, digits(0, 2), Training(rate=0.1), 1)
    whole = evaluate(trained, layout, theta, digits_held()).accuracy
    fresh = evaluate(received, layout, theta, digits_held()).accuracy
    state = torch.random.get_rng_state()
    assert calibrate(received, layout, theta, digits(1, 2))
    assert torch.equal(torch.random.get_rng_state(), state)
    calibrated = evaluate(received, layout, theta, digits_held()).accuracy
    assert fresh < whole - 0.1 and abs(calibrated - whole) < 0.02
    assert layout.flatten(trained_parameters(received)).tolist() == theta.astype(np.float32).astype(float).tolist()


def test_a_model_without_buffers_has_nothing_to_calibrate():
    model = nn.Linear(4, 3)
    layout, theta = start(model)
    assert not calibrate(model, layout, theta + 1, some_data())
    assert start(model)[1].tolist() == theta.tolist()


def test_testing_changes_no_buffer_and_drops_nothing():
    model = Noisy().double()
    layout, theta = start(model)
    data = some_data(1)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    evaluate(model, layout, theta, data)  # training with batch normalisation would refuse one row
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    with pytest.raises(InputError, match="training fails.*Expected more than 1 value per channel"):
        train(model, layout, theta, data, QUICK, 1)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_models_of_other_dtypes_are_trained(dtype: torch.dtype):
    model = nn.Linear(4, 3, dtype=dtype)
    layout, theta = start(model)
    update = train(model, layout, theta, some_data(), QUICK, 1)
    assert update.dtype == np.float64 and update.any()
    assert evaluate(model, layout, theta + update, some_data()).loss < evaluate(model, layout, theta, some_data()).loss


def test_frozen_parameters_are_in_no_update_and_stay():
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 3))
    whole, _ = start(model)
    model[0].requires_grad_(False)
    layout, theta = start(model)
    assert layout.names == ("1.weight", "1.bias")
    frozen = model[0].weight.clone()
    assert train(model, layout, theta, some_data(), QUICK, 1).any() and torch.equal(model[0].weight, frozen)
    with pytest.raises(InputError, match=r"does not train 0.weight, 0.bias: frozen, or a buffer"):
        train(model, whole, np.zeros(whole.size), some_data(), QUICK, 1)
    model.requires_grad_(False)
    with pytest.raises(InputError, match="no parameter that can be trained"):
        train(model, layout, theta, some_data(), QUICK, 1)


def test_weights_that_are_shared_are_one_parameter():
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4))
    model[2].weight = model[0].weight
    layout, theta = start(model)
    assert layout.names == ("0.weight", "0.bias", "2.bias") and layout.size == 24
    assert train(model, layout, theta, some_data(), QUICK, 1).any()


def test_data_that_cannot_be_written_are_trained_on():
    data = some_data()
    data.inputs.flags.writeable = False
    flipped = Dataset(data.inputs[:, ::-1], data.targets[::-1])
    model = nn.Linear(4, 3)
    layout, theta = start(model)
    for rows in (data, flipped):
        assert train(model, layout, theta, rows, QUICK, 1).any()  # and torch warns of nothing


def test_the_size_of_a_test_set_does_not_matter():
    """More rows than are evaluated at once, and a last piece of another size."""
    model = nn.Linear(4, 3)
    layout, theta = start(model)
    data = some_data(2500)
    with torch.no_grad():
        outputs = model(torch.from_numpy(data.inputs))
        loss = nn.functional.cross_entropy(outputs, torch.from_numpy(data.targets))
    found = evaluate(model, layout, theta, data)
    assert found.loss == pytest.approx(float(loss), rel=1e-6)
    assert found.accuracy == (outputs.argmax(1).numpy() == data.targets).mean()


@pytest.mark.parametrize(
    ("training", "reason"),
    [
        (Training(rate=1e20), r"diverged in epoch [1-4] of 5, .*lower rate \(1e\+20\), momentum \(0.5\) or epochs"),
        (Training(rate=1e38, epochs=1, batch=99), r"diverged in epoch 1 of 1, .*lower rate \(1e\+38\)"),
        (Training(rate=1e30, optimiser="adam"), r"lower rate \(1e\+30\) or epochs"),
    ],
)
def test_a_training_that_diverges_says_what_to_lower(training: Training, reason: str):
    data = some_data()
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 1))
    layout, theta = start(model)
    big = Dataset.of(data.inputs, 1e9 * data.inputs[:, :1])
    with pytest.raises(InputError, match=reason):
        train(model, layout, theta, big, training, 1)


def test_a_diverged_model_can_be_tested():
    model = nn.Linear(4, 1)
    layout, theta = start(model)
    assert evaluate(model, layout, theta + 1e38, Dataset.of(np.full((3, 4), 1e9), [0.0] * 3)).loss == float("inf")


class Returns(nn.Module):
    """A linear model whose output is changed."""

    def __init__(self, change):
        super().__init__()
        self.linear, self.change = nn.Linear(4, 3), change

    def forward(self, x: torch.Tensor) -> Any:
        return self.change(self.linear(x))


@pytest.mark.parametrize(
    ("model", "data", "reason"),
    [
        (nn.Linear(5, 3), some_data(), r"fails on inputs of shape \(n, 4\): RuntimeError: mat1 and mat2"),
        (nn.Linear(4, 2), some_data(), r"labels want outputs .* got \(33, 2\) and a label 2, classes count from 0"),
        (Returns(lambda y: y.reshape(-1)), some_data(), r"a row for each input: got shape \(99,\), 33 inputs"),
        (Returns(lambda y: y[:, 0]), some_data(), r"labels want outputs of shape \(rows, classes\): got \(33,\)"),
        (Returns(lambda y: (y, y)), some_data(), "one tensor with a row for each input: got a tuple"),
        (Returns(lambda y: None), some_data(), "got a NoneType"),
        (
            nn.Linear(4, 1),
            Dataset.of(some_data().inputs, np.ones((33, 2))),
            r"not like the targets: got shape \(33, 1\), wanted \(33, 2\)",
        ),
        (
            Returns(lambda y: y[:, 0]),
            Dataset.of(some_data().inputs, np.ones((33, 1))),
            r"not like the targets: got shape \(33,\), wanted \(33, 1\)",
        ),
    ],
)
def test_data_that_do_not_fit_the_model_are_refused(model: nn.Module, data: Dataset, reason: str):
    layout, theta = start(model)
    with pytest.raises(InputError, match=reason):
        train(model, layout, theta, data, Training(batch=33), 1)
    with pytest.raises(InputError, match=reason):
        evaluate(model, layout, theta, data)


def test_a_model_that_cuts_its_gradient_is_refused():
    model = Returns(lambda y: y.detach())
    layout, theta = start(model)
    with pytest.raises(InputError, match="training fails .*does not require grad"):
        train(model, layout, theta, some_data(), QUICK, 1)


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (nn.Linear(4, 2), r"it has weight float32\[2, 4\] where the layout has weight float32\[3, 4\]"),
        (nn.Linear(4, 3, bias=False), r"it has nothing where the layout has bias float32\[3\]"),
        (nn.Linear(4, 3, dtype=torch.float64), r"it has weight float64\[3, 4\] where"),
        (nn.Sequential(nn.Linear(4, 3)), r"it has 0.weight float32\[3, 4\] where"),
    ],
)
def test_another_model_than_the_projects_is_refused(model: nn.Module, reason: str):
    layout, theta = start(nn.Linear(4, 3))
    with pytest.raises(InputError, match=f"the model is not the project's: {reason}"):
        train(model, layout, theta, some_data(), QUICK, 1)
    with pytest.raises(InputError, match=reason):
        evaluate(model, layout, theta, some_data())


def test_a_wrong_theta_is_refused():
    model = nn.Linear(4, 3)
    layout, theta = start(model)
    for wrong, reason in (
        (theta[:-1], r"the vector has shape \(14,\): wanted \(15,\)"),
        (theta.reshape(1, -1), r"the vector has shape \(1, 15\)"),
        (np.append(theta[:-1], np.nan), "theta holds NaN or infinite values"),
        (np.append(theta[:-1], 1e39), "theta does not fit bias: a value is beyond float32"),
    ):
        with pytest.raises(InputError, match=reason):
            train(model, layout, wrong, some_data(), QUICK, 1)
        with pytest.raises(InputError, match=reason):
            evaluate(model, layout, wrong, some_data())


def test_other_wrong_arguments_are_refused():
    model = nn.Linear(4, 3)
    layout, theta = start(model)
    with pytest.raises(InputError, match="the number of a round is an integer from 0: got -1"):
        train(model, layout, theta, some_data(), QUICK, -1)
    with pytest.raises(InputError, match="loss is one of"):
        evaluate(model, layout, theta, some_data(), "hinge")
    with pytest.raises(InputError, match="threads is an integer from 1"):
        evaluate(model, layout, theta, some_data(), threads=0)


def test_theta_is_not_changed():
    model = nn.Linear(4, 3, dtype=torch.float64)  # a view of theta would be trained
    layout, theta = start(model)
    kept = theta.copy()
    train(model, layout, theta, some_data(), QUICK, 1)
    evaluate(model, layout, theta, some_data())
    assert np.array_equal(theta, kept)
