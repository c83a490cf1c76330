"""Variations: drawn from the generator only, in range, and labels and lengths follow."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits, load_sample_image
from torch import Tensor

from duomo.core.contract import Field
from duomo.core.recipe import AugmentConfig
from duomo.core.tensors import Batch
from duomo.data.augment import HIDDEN, active, augment
from duomo.data.picture_variations import CHANGES, blurred, by_policy, shifted, turned

GREY = {"p": Field("pixels", (1, 8, 8), facts={"mean": [0.3], "std": [0.4]})}
COLOUR = {"p": Field("pixels", (3, 40, 64), facts={"mean": [0.3] * 3, "std": [0.4] * 3})}
SOUND = {"c": Field("waveform", (400,), facts={"rate": 16000})}
TEXT = {"t": Field("tokens", (30,), (100,))}
TABLE = {"numbers": Field("numbers", (4,)), "categories": Field("categories", (2,), (5, 5))}


def digits(rows: int = 64) -> Tensor:
    return torch.from_numpy((load_digits().images[:rows] * 15).astype(np.uint8)).unsqueeze(1)


def photo() -> Tensor:
    """The same real photograph 16 times, (16, 3, 40, 64) uint8."""
    china = torch.from_numpy(np.array(load_sample_image("china.jpg"))).permute(2, 0, 1)[None].float()
    return torch.nn.functional.interpolate(china, (40, 64), mode="area").to(torch.uint8).repeat(16, 1, 1, 1)


def sound() -> Batch:
    length = torch.tensor([400, 100, 1, 250])
    wave = (torch.sin(torch.arange(400) / 9) * 9000).to(torch.int16).repeat(4, 1)
    return {"c": wave * (torch.arange(400) < length[:, None]), "c.length": length}


def text() -> Batch:
    length = torch.tensor([30, 7, 1, 20] * 8)
    return {"t": (torch.arange(30) + 10).repeat(32, 1) * (torch.arange(30) < length[:, None]), "t.length": length}


def table() -> Batch:
    rows = torch.arange(48)
    return {"numbers": rows[:, None].float().repeat(1, 4), "categories": (rows % 5)[:, None].repeat(1, 2)}


def seeded(seed: int = 3) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


EVERY = [
    (lambda: {"p": digits()}, GREY, AugmentConfig(crop=0.2, flip=True)),
    (lambda: {"p": digits()}, GREY, AugmentConfig(rotate=20, scale=0.2, crop=0.1, flip=True, erase=0.5, mixup=0.3, cutmix=1.0)),
    (lambda: {"p": photo()}, COLOUR, AugmentConfig(colour=0.5, erase=1.0, cutmix=1.0)),
    (lambda: {"p": photo()}, COLOUR, AugmentConfig(crop=0.1, flip=True, blur=0.5, policy=2)),
    (sound, SOUND, AugmentConfig(noise=0.1, speed=0.2)),
    (text, TEXT, AugmentConfig(drop_tokens=0.3, swap_tokens=0.3)),
    (table, TABLE, AugmentConfig(mixup=0.4, noise=0.1)),
]


@pytest.mark.parametrize(("make", "fields", "config"), EVERY)
def test_bitwise_from_the_generator_and_in_range(make: object, fields: dict[str, Field], config: AugmentConfig) -> None:
    batch = make()  # type: ignore[operator]
    state = torch.get_rng_state()
    one, two, other = (augment(dict(batch), fields, config, seeded(seed)) for seed in (3, 3, 4))
    assert torch.equal(torch.get_rng_state(), state) and active(config, fields)
    assert one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)
    name = next(iter(fields))
    assert not (one[name].shape == other[name].shape and torch.equal(one[name], other[name]))
    assert all(torch.isfinite(values.float()).all() for values in one.values())
    if fields[name].form == "pixels":
        assert one[name].shape == batch[name].shape and one[name].min() >= 0 and one[name].max() <= 255
    again = make()  # type: ignore[operator]
    assert all(torch.equal(again[key], batch[key]) for key in batch)


def test_nothing_set_changes_nothing() -> None:
    for make, fields, _ in EVERY:
        batch = make()
        assert not active(AugmentConfig(), fields) and not active(AugmentConfig(specaugment=True), fields)
        assert all(
            torch.equal(values.float(), batch[key].float())
            for key, values in augment(dict(batch), fields, AugmentConfig(), seeded()).items()
        )


def test_crops_shift_by_whole_pixels() -> None:
    marked = torch.zeros(200, 1, 8, 8, dtype=torch.uint8)
    marked[:, :, 4, 4] = 200
    moved = shifted(marked, 0.25, False, seeded())
    assert moved.dtype == torch.uint8 and (moved.flatten(1).sum(1) == 200).all()
    _, _, y, x = torch.nonzero(moved, as_tuple=True)
    assert sorted(set((y - 4).tolist())) == sorted(set((x - 4).tolist())) == [-2, -1, 0, 1, 2]


@pytest.mark.parametrize("crop, flip", [(0.25, False), (0.25, True), (0.0, True), (1.0, True)])
def test_large_and_small_pictures_are_shifted_alike(crop, flip, monkeypatch) -> None:
    pixels = photo()
    row_by_row = shifted(pixels, crop, flip, seeded())
    monkeypatch.setattr("duomo.data.picture_variations.ONE_BY_ONE", 1 << 40)
    assert torch.equal(row_by_row, shifted(pixels, crop, flip, seeded()))


def test_blur_takes_detail_away() -> None:
    pixels = photo().float()
    found = blurred(pixels, 0.5, seeded())
    changed = (found != pixels).flatten(1).any(1)
    assert 0 < changed.sum() < 16 and torch.equal(found[~changed], pixels[~changed])
    rough = [(x[..., 1:] - x[..., :-1]).abs().mean((1, 2, 3)) for x in (found, pixels)]
    assert (rough[0][changed] < rough[1][changed]).all() and (found.mean((1, 2, 3)) - pixels.mean((1, 2, 3))).abs().max() < 3


def test_policy_changes_each_picture_its_own_way() -> None:
    pixels = photo().repeat(8, 1, 1, 1).float()
    found = by_policy(pixels, 2, 0.6, seeded())
    assert found.min() >= 0 and found.max() <= 255 and len(torch.unique(found.flatten(1), dim=0)) > 100
    assert torch.equal(found, by_policy(pixels, 2, 0.6, seeded())) and torch.equal(pixels, photo().repeat(8, 1, 1, 1).float())
    for number, change in enumerate(CHANGES):
        one, none = (change(photo().float(), torch.full((16,), amount), seeded()) for amount in (0.9, 0.0))
        assert one.shape == (16, 3, 40, 64) and bool((one != photo()).any()) == (number > 0), number
        # at strength 0 nothing but the stretch of the range is left
        assert number == 1 or (none - photo()).abs().max() < 0.01, number


def test_turning_matches_the_reference_grid() -> None:
    pixels = digits()
    config = AugmentConfig(rotate=30, scale=0.2, crop=0.1)
    found = turned(pixels, config, seeded())
    draw = seeded()
    angle, size, across, down = (torch.rand(64, generator=draw) for _ in range(4))
    angle, size = (angle * 60 - 30) * np.pi / 180, 1 / (size * 0.4 + 0.8)
    across, down = across * 0.4 - 0.2, down * 0.4 - 0.2
    theta = torch.stack([size * angle.cos(), -size * angle.sin(), across, size * angle.sin(), size * angle.cos(), down], 1).view(-1, 2, 3)
    grid = torch.nn.functional.affine_grid(theta, [64, 1, 8, 8], align_corners=False)
    expected = torch.nn.functional.grid_sample(pixels.float(), grid, align_corners=False)
    torch.testing.assert_close(found, expected, atol=1e-2, rtol=1e-4)


def test_mixup_mixes_rows_as_it_says() -> None:
    pixels = digits()
    batch = augment({"p": pixels}, GREY, AugmentConfig(mixup=0.5), seeded(), steps=4)
    rows, share = batch["mix.rows"], batch["mix.share"]
    assert rows.max() < 16 and all(sorted(part.tolist()) == list(range(16)) for part in rows.view(4, 16))
    assert share.dtype == torch.float32 and share.min() >= 0 and share.max() <= 1 and share.std() > 0.1
    partner = pixels.view(4, 16, 1, 8, 8)[torch.arange(4)[:, None], rows.view(4, 16)].reshape(64, 1, 8, 8)
    weight = share.view(-1, 1, 1, 1)
    torch.testing.assert_close(batch["p"], weight * pixels + (1 - weight) * partner, atol=1e-3, rtol=1e-4)


def test_cutmix_share_is_the_area_kept() -> None:
    flat = torch.arange(64, dtype=torch.uint8).view(-1, 1, 1, 1).expand(64, 1, 8, 8).contiguous()
    batch = augment({"p": flat}, GREY, AugmentConfig(cutmix=1.0), seeded())
    rows, share = batch["mix.rows"], batch["mix.share"]
    own = (batch["p"] == flat).float().mean(dim=(1, 2, 3))
    other = rows != torch.arange(64)
    torch.testing.assert_close(own[other], share[other])
    assert ((batch["p"] == flat) | (batch["p"] == rows.to(torch.uint8).view(-1, 1, 1, 1))).all()


def test_tables_mix_numbers_and_choose_categories() -> None:
    batch = augment(table(), TABLE, AugmentConfig(mixup=1.0), seeded())
    rows, share = batch["mix.rows"], batch["mix.share"]
    expected = share * torch.arange(48) + (1 - share) * rows
    torch.testing.assert_close(batch["numbers"][:, 0], expected, atol=1e-4, rtol=1e-4)
    own, other = (torch.arange(48) % 5)[:, None], (rows % 5)[:, None]
    assert ((batch["categories"] == own) | (batch["categories"] == other)).all()
    assert "mix.rows" not in augment(text() | table(), TABLE | TEXT, AugmentConfig(mixup=1.0), seeded())


def test_noise_has_the_size_asked_for() -> None:
    batch = {"numbers": torch.zeros(5000, 4)}
    assert abs(augment(batch, {"numbers": TABLE["numbers"]}, AugmentConfig(noise=0.3), seeded())["numbers"].std() - 0.3) < 0.01
    plain = sound()
    noisy = augment(dict(plain), SOUND, AugmentConfig(noise=0.1), seeded())
    added = noisy["c"][0] - plain["c"][0]
    assert abs(added.std() / plain["c"][0].float().square().mean().sqrt() - 0.1) < 0.02
    assert (noisy["c"][1, 100:] == 0).all()


def test_speed_changes_lengths_and_pitch() -> None:
    plain = sound()
    played = augment(dict(plain), SOUND, AugmentConfig(speed=0.5), seeded())
    length = played["c.length"]
    assert length.min() >= 1 and played["c"].shape == (4, int(length.max()))
    assert (length.float() >= (plain["c.length"] / 1.5).floor()).all() and (length <= plain["c.length"] * 2).all()
    assert all((row[int(n) :] == 0).all() for row, n in zip(played["c"], length, strict=True))
    crossings = [int((torch.diff(torch.sign(row[: int(n)])) != 0).sum()) for row, n in zip(plain["c"], plain["c.length"], strict=True)]
    after = [int((torch.diff(torch.sign(row[: int(n)])) != 0).sum()) for row, n in zip(played["c"], length, strict=True)]
    assert abs(crossings[0] - after[0]) <= 2


def test_tokens_are_hidden_and_swapped_within_their_length() -> None:
    plain = text()
    swapped = augment(dict(plain), TEXT, AugmentConfig(swap_tokens=0.5), seeded())["t"]
    assert torch.equal(swapped.sort(dim=1).values, plain["t"].sort(dim=1).values) and not torch.equal(swapped, plain["t"])
    assert ((swapped == 0) == (plain["t"] == 0)).all() and (swapped - plain["t"]).abs().max() == 1
    hidden = augment(dict(plain), TEXT, AugmentConfig(drop_tokens=0.25), seeded())["t"]
    changed = hidden != plain["t"]
    assert (hidden[changed] == HIDDEN).all() and ((hidden == 0) == (plain["t"] == 0)).all()
    assert abs(changed.sum() / (plain["t"] > 0).sum() - 0.25) < 0.06


def test_erasing_and_colour() -> None:
    pixels = photo()
    erased = augment({"p": pixels}, COLOUR, AugmentConfig(erase=1.0), seeded())["p"]
    share = (erased != pixels).any(dim=1).float().mean(dim=(1, 2))
    assert (share > 0).all() and share.max() < 0.4
    recoloured = augment({"p": pixels}, COLOUR, AugmentConfig(colour=0.4), seeded())["p"]
    assert recoloured.mean(dim=(1, 2, 3)).std() > 5
