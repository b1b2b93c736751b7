import pytest

from keras_edsr.data.sources import match_images


def make(root, *names):
    paths = [root / name for name in names]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return paths


@pytest.mark.parametrize(
    ("hr", "lr"),
    [
        ("0801.png", "0801.png"),
        ("0801.png", "0801x2.png"),
        ("0801.png", "X2/0801x2.png"),
        ("0801.png", "x2/0801.jpg"),
        ("0801.png", "DIV2K_valid_LR_bicubic/X2/0801x2.png"),
        ("bird.png", "bird_x2.png"),
        ("bird.png", "bird_LR.png"),
        ("bird.png", "bird_x2_LR.png"),
        ("bird.png", "bird_LR_x2.png"),
        ("bird.png", "bird_LRBI_x2.png"),
        ("bird.png", "LRx2/bird.png"),
        ("bird_HR.png", "bird_LR.png"),
        ("bird_x2_HR.png", "bird_x2_LR.png"),
        ("bird_x2_HR.png", "bird.png"),
        ("bird.png", "bird_x2_SR.png"),
        ("bird.jpg", "bird_SR.webp"),
        ("img_001_SRF_2_HR.png", "img_001_SRF_2_LR.png"),
    ],
)
def test_names_in_use_are_matched(tmp_path, hr, lr):
    (hr_path,) = make(tmp_path / "hr", hr)
    (lr_path,) = make(tmp_path / "lr", lr)
    assert match_images([hr_path], tmp_path / "lr", 2) == [lr_path]


def test_the_order_is_that_of_the_hr_images(tmp_path):
    hr = make(tmp_path / "hr", "b.png", "a.png")
    lr = make(tmp_path / "lr", "bx3.png", "ax3.png")
    assert match_images(hr, tmp_path / "lr", 3) == lr


def test_each_scale_has_its_own_files(tmp_path):
    hr = make(tmp_path / "hr", "0801.png")
    for scale in (2, 3, 4):
        make(tmp_path / "lr", f"X{scale}/0801x{scale}.png", f"0801_LR_{scale}.png")
    for scale in (2, 3, 4):
        found = match_images(hr, tmp_path / "lr", scale)
        assert found == [tmp_path / "lr" / f"X{scale}" / f"0801x{scale}.png"]


def test_scales_may_lie_in_one_folder_with_hr(tmp_path):
    names = [f"bird_x{scale}_{kind}.png" for scale in (2, 3) for kind in ("HR", "LR")]
    x2_hr, x2_lr, x3_hr, x3_lr = make(tmp_path, *names)
    assert match_images([x2_hr], tmp_path, 2) == [x2_lr]
    assert match_images([x3_hr], tmp_path, 3) == [x3_lr]


def test_the_same_stem_goes_before_other_names(tmp_path):
    hr = make(tmp_path / "hr", "bird.png")
    exact, _ = make(tmp_path / "lr", "bird.png", "bird_LR.png")
    assert match_images(hr, tmp_path / "lr", 2) == [exact]


def test_a_copy_of_the_hr_image_is_not_its_lr(tmp_path):
    hr = make(tmp_path / "hr", "bird_x2_HR.png")
    _, lr = make(tmp_path / "benchmark", "bird_x2_HR.png", "bird_x2_LR.png")
    assert match_images(hr, tmp_path / "benchmark", 2) == [lr]


def test_sr_may_be_called_as_the_hr_is(tmp_path):
    hr = make(tmp_path / "hr", "bird_x2_HR.png")
    sr = make(tmp_path / "sr", "bird_x2_HR.png")
    assert match_images(hr, tmp_path / "sr", 2) == sr


def test_nested_trees_are_matched_folder_by_folder(tmp_path):
    names = ["1.png", "a/1.png", "b/1.png", "b/deep/1.png"]
    hr, lr = make(tmp_path / "hr", *names), make(tmp_path / "lr", *names)
    assert match_images(hr, tmp_path / "lr", 2) == lr
    assert match_images(hr[1:2], tmp_path / "lr", 2) == lr[1:2]


def test_a_folder_of_the_scale_does_not_count_in_the_tree(tmp_path):
    hr = make(tmp_path / "hr", "a/1.png", "b/1.png")
    lr = make(tmp_path / "lr", "X2/a/1.png", "X2/b/1.png")
    assert match_images(hr, tmp_path / "lr", 2) == lr


def test_a_missing_image_is_named(tmp_path):
    hr = make(tmp_path / "hr", "a.png", "b.png")
    make(tmp_path / "lr", "ax2.png")
    with pytest.raises(ValueError, match=r"No image in .*lr belongs to .*b\.png at scale 2"):
        match_images(hr, tmp_path / "lr", 2)


def test_another_scale_is_not_taken(tmp_path):
    hr = make(tmp_path / "hr", "a.png")
    make(tmp_path / "lr", "ax4.png", "X3/a.png")
    with pytest.raises(ValueError, match="No image in"):
        match_images(hr, tmp_path / "lr", 2)


def test_two_images_that_fit_are_named(tmp_path):
    hr = make(tmp_path / "hr", "a.png")
    make(tmp_path / "lr", "a_LR.png", "ax2.png")
    with pytest.raises(ValueError, match=r"Several images could belong to .*a\.png .*a_LR\.png or .*ax2\.png"):
        match_images(hr, tmp_path / "lr", 2)


def test_an_image_belongs_to_one_hr_image(tmp_path):
    hr = make(tmp_path / "hr", "a/1.png", "b/1.png")
    make(tmp_path / "lr", "1.png")
    with pytest.raises(ValueError, match=r"1\.png belongs to both .*a/1\.png and .*b/1\.png"):
        match_images(hr, tmp_path / "lr", 2)


def test_an_empty_folder_is_named(tmp_path):
    hr = make(tmp_path / "hr", "a.png")
    (tmp_path / "lr").mkdir()
    with pytest.raises(ValueError, match=f"{tmp_path / 'lr'} has no file"):
        match_images(hr, tmp_path / "lr", 2)


def test_golden_pairs_are_matched(shared_data):
    folder = shared_data / "golden"
    for scale in (2, 3, 4):
        hr = sorted(folder.rglob(f"*_x{scale}_HR.png"))
        lr = sorted(folder.rglob(f"*_x{scale}_LR.png"))
        assert match_images(hr, folder, scale) == lr
