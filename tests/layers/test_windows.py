"""Attention in windows: who sees whom."""

import torch

from course_lib.layers.windows import WindowAttention, WindowPositionBias, neighbours, unwindows, windows


def test_windows_are_cut_row_by_row_and_put_back():
    feature_map = torch.arange(2 * 4 * 6).view(2, 4, 6, 1)
    parts = windows(feature_map, 2)
    assert parts.shape == (2, 6, 4, 1)
    assert parts[0, 1, :, 0].tolist() == [2, 3, 8, 9]
    assert torch.equal(unwindows(parts, 2, 4, 6), feature_map)


def test_a_place_sees_its_window_and_nothing_else():
    layer = WindowAttention(8, 2, size=2).eval()
    feature_map = torch.randn(1, 4, 4, 8)
    changed = feature_map.clone()
    changed[0, 0, 0] += 1
    moved = (layer(changed) - layer(feature_map)).abs().amax(-1)[0] > 1e-6
    assert moved.nonzero().tolist() == [[0, 0], [0, 1], [1, 0], [1, 1]]


def test_a_shifted_window_straddles_four_and_does_not_reach_round_the_edge():
    layer = WindowAttention(8, 2, size=2, shift=1).eval()
    feature_map = torch.randn(1, 4, 4, 8)
    for place, seen in (((1, 1), [[1, 1], [1, 2], [2, 1], [2, 2]]), ((0, 0), [[0, 0]]), ((0, 3), [[0, 3]])):
        changed = feature_map.clone()
        changed[0, place[0], place[1]] += 1
        moved = (layer(changed) - layer(feature_map)).abs().amax(-1)[0] > 1e-6
        assert moved.nonzero().tolist() == seen


def test_neighbours_without_a_shift_are_all():
    assert neighbours(4, 4, 2, (0, 0)).all()
    assert neighbours(4, 4, 2, (1, 1)).sum(dim=(1, 2)).tolist() == [16, 8, 8, 4]


def test_a_map_of_one_window_is_not_shifted():
    torch.manual_seed(0)
    shifted, still = WindowAttention(8, 2, size=4, shift=2).eval(), WindowAttention(8, 2, size=4).eval()
    shifted.load_state_dict(still.state_dict())
    feature_map = torch.randn(2, 4, 4, 8)
    assert torch.equal(shifted(feature_map), still(feature_map))


def test_the_position_bias_depends_on_the_way_alone():
    bias = WindowPositionBias(3, 2)()
    assert bias.shape == (2, 9, 9)
    # From (0, 0) to (1, 1) is the same way as from (1, 1) to (2, 2); there and back differ.
    assert torch.equal(bias[:, 0, 4], bias[:, 4, 8]) and not torch.equal(bias[:, 0, 4], bias[:, 4, 0])
