import torch

from cosmos_lidar.diffusion.solvers._multistep import hold, multistep


def test_each_step_is_given_the_prediction_of_the_one_before():
    seen = []

    def advance(x, x0, sigma, target, previous):
        seen.append((float(sigma), float(target), previous and tuple(map(float, previous))))
        return x + 1

    made = multistep(advance)(lambda x, sigma: 10 * x, torch.ones(()), torch.tensor([8.0, 4.0, 2.0, 1.0]))
    assert seen == [(8.0, 4.0, None), (4.0, 2.0, (10.0, 8.0)), (2.0, 1.0, (20.0, 4.0))]
    assert made.item() == 4.0


def test_a_held_prediction_is_approached_in_proportion_to_the_noise():
    made = hold(torch.tensor(10.0), torch.tensor(2.0), torch.tensor(4.0), torch.tensor(1.0))
    assert made.item() == 4.0
    assert hold(torch.tensor(10.0), torch.tensor(2.0), torch.tensor(4.0), torch.tensor(0.0)).item() == 2.0
