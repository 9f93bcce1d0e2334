"""Training in two processes, as torchrun starts them, against one process."""

import socket

import joblib
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal

from tests import distributed_program
from tests.distributed_program import DETECTORS, TASKS, UNCERTAINTY, run_as_one_of_two

pytestmark = pytest.mark.skipif(
    not torch.distributed.is_gloo_available(), reason="torch without gloo"
)


@pytest.fixture(scope="module")
def job(processes, tmp_path_factory):
    """Results of the program in one process and in two, and how the two ended."""
    folder = tmp_path_factory.mktemp("distributed")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    pair = [processes.Process(target=run_as_one_of_two, args=(r, port, folder)) for r in (0, 1)]
    for process in pair:
        process.start()
    for process in pair:
        process.join(200)
        process.kill()  # no process is left where a test fails
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        distributed_program.main()
    results = {who: joblib.load(folder / f"results-{who}") for who in ("alone", "0", "1")}
    return results, [process.exitcode for process in pair]


@pytest.fixture
def results(job):
    return job[0]


@pytest.mark.parametrize("name", DETECTORS)
def test_processes_end_with_the_same_detector(results, name):
    first, second = (results[who]["detectors"][name] for who in ("0", "1"))
    assert_array_equal(first["features"], second["features"])
    assert_array_equal(first["scores"], second["scores"])
    assert [h["loss"] for h in first["history"]] == [h["loss"] for h in second["history"]]


@pytest.mark.parametrize("name", [name for name in DETECTORS if name != "unseeded"])
def test_processes_start_with_the_weights_and_views_of_one(results, name):
    alone, together = (results[who]["detectors"][name] for who in ("alone", "0"))
    for key in ("loss", "embedding_std"):
        assert_allclose(together["history"][0][key], alone["history"][0][key], atol=1e-4)
    assert together["layers"] == alone["layers"]


@pytest.mark.parametrize("name", TASKS)
def test_two_processes_train_what_one_trains(results, name):
    """In float64, whose rounding the steps of training do not enlarge to what is seen here."""
    history, weights = results["alone"]["double"][name]
    (first_history, first), (second_history, second) = (
        results[who]["double"][name] for who in ("0", "1")
    )
    for key in ("loss", "kappa", "embedding_std"):
        assert_allclose(first_history[key], history[key], rtol=1e-5, atol=1e-5)
        assert second_history[key] == first_history[key]
    for key, values in weights.items():
        assert_allclose(first[key], values, atol=1e-5, err_msg=key)
        assert_array_equal(second[key], first[key], err_msg=key)


def test_checkpoint_of_two_processes_is_loaded_by_both(results):
    first = results["0"]["detectors"]["checkpoint"]
    for who in ("0", "1"):
        assert results[who]["detectors"]["checkpoint"]["again"] == first["history"]
        trained_anew = results[who]["detectors"]["simclr"]
        assert trained_anew["again"][0]["seconds"] != trained_anew["history"][0]["seconds"]


def test_errors_are_those_of_all_processes(results):
    first, second = (results[who]["errors"] for who in ("0", "1"))
    assert first == second and len(first) == 4
    assert "is damaged or no checkpoint" in first[0] and "cannot be written" in first[1]
    assert first[2].startswith("TypeError: OwnBatchNorm of the backbone cannot be synchronised")
    assert (
        first[3]
        == "ValueError: Found 3 samples, a minimum of 4 is required to train in 2 processes"
    )


def test_a_process_that_dies_ends_the_other(job):
    assert job[1] == [1, 3]


def test_dum_ends_with_the_same_scores_in_both_processes(results):
    assert_array_equal(results["0"]["dum"], results["1"]["dum"])


@pytest.mark.parametrize("objective", UNCERTAINTY)
def test_dum_trains_in_two_processes_what_it_trains_in_one(results, objective):
    """Trimming, and bags of samples, are of the whole batch."""
    expected_losses, expected = results["alone"]["uncertainty"][objective]
    losses, weights = results["0"]["uncertainty"][objective]
    assert_allclose(losses, expected_losses, rtol=1e-6, atol=1e-6)
    for name, values in expected.items():
        assert_allclose(weights[name], values, atol=1e-9, err_msg=name)
