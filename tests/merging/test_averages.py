"""Merging: soups against hand-made ones, Fisher averaging against the joint optimum of quadratics."""

import pytest
import torch

from workbench.errors import InputError
from workbench.merging import fisher_average, greedy_soup, uniform_soup


def draw(seed, *shape):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_uniform_soup_is_the_weighted_mean():
    thetas = draw(0, 3, 5)
    torch.testing.assert_close(uniform_soup(list(thetas)), thetas.mean(0))
    wanted = (thetas[0] + 3 * thetas[2]) / 4
    torch.testing.assert_close(uniform_soup(thetas, [1, 0, 3]), wanted)


def test_greedy_soup_takes_who_helps_in_the_order_of_their_scores():
    thetas, asked = torch.tensor([[9.0], [4.0], [0.0], [1.0]]), []

    def score(theta):
        asked.append(float(theta))
        return -abs(float(theta) - 2.4)

    soup = greedy_soup(thetas, score)  # 1 is best, 4 helps, 0 and 9 do not
    assert asked[:4] == [9.0, 4.0, 0.0, 1.0]
    assert soup.members == (3, 1)
    assert soup.theta.tolist() == [2.5]
    assert soup.score == pytest.approx(-0.1)
    assert asked[4:] == [2.5, pytest.approx(5 / 3), pytest.approx(14 / 3)]


def test_greedy_soup_is_never_worse_than_its_best_member():
    for seed in range(20):
        thetas, goal = draw(seed, 6, 4), draw(100 + seed, 4)
        soup = greedy_soup(thetas, lambda theta, goal=goal: -float((theta - goal).norm()))
        assert soup.score >= -float((thetas - goal).norm(dim=1).min())
        torch.testing.assert_close(soup.theta, thetas[list(soup.members)].mean(0))


def test_fisher_average_is_the_joint_optimum_of_quadratics_and_the_plain_average_is_not():
    thetas, curvatures, shares = draw(1, 3, 7), draw(2, 3, 7).square() + 0.01, torch.tensor([1.0, 2.0, 5.0]).double()

    def slope(theta):  # of sum_i l_i F_i (theta - theta_i)^2 / 2
        return (shares[:, None] * curvatures * (theta - thetas)).sum(0)

    merged = fisher_average(thetas, curvatures, shares.tolist())
    assert slope(merged).abs().max() < 1e-12
    assert slope(uniform_soup(thetas, shares.tolist())).abs().max() > 0.1


def test_entries_that_matter_to_nobody_get_the_plain_average():
    thetas, fishers = torch.tensor([[1.0, 1.0], [3.0, 3.0]]), torch.tensor([[0.0, 0.0], [0.0, 1.0]])
    assert fisher_average(thetas, fishers).tolist() == [2.0, pytest.approx(3.0, abs=1e-5)]
    assert fisher_average(thetas, fishers, floor=1.0).tolist() == [2.0, 2.0]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda t: uniform_soup([]), r"thetas must be one or more vectors of one length, got \[\]"),
        (lambda t: uniform_soup([t[0], t[0, :2]]), r"thetas must be one or more vectors of one length, got \[\(3,\)"),
        (lambda t: uniform_soup(t, [1.0]), r"weights must be 2 numbers, none negative, not all zero, got \[1.0\]"),
        (lambda t: uniform_soup(t, [1.0, -1.0]), "weights must be 2 numbers"),
        (lambda t: greedy_soup(t, lambda _: float("nan")), "score must return a finite number, got nan; leave"),
        (lambda t: fisher_average(t, -t.abs()), r"fishers must be finite and not negative, got -"),
        (lambda t: fisher_average(t, t[:1]), r"fishers must have the shapes of thetas, \(2, 3\)"),
        (lambda t: fisher_average(t, t.square(), floor=0), "floor must be positive, got 0"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(InputError, match=message):
        call(draw(3, 2, 3))
