import numpy as np
import pytest

from keras_edsr.data.cache import open_pack, write_pack

ARRAYS = {
    (index, scale): np.random.default_rng(index).integers(0, 256, (5 + index, 7, 3), np.uint8)
    for index in range(3)
    for scale in (1, 2)
}


def test_a_pack_gives_back_what_was_written(tmp_path):
    write_pack(tmp_path / "new" / "a.pack", ARRAYS.items())
    arrays = open_pack(tmp_path / "new" / "a.pack")
    assert list(arrays) == list(ARRAYS)
    assert all(np.array_equal(arrays[key], ARRAYS[key]) for key in ARRAYS)


def test_a_pack_is_read_only(tmp_path):
    write_pack(tmp_path / "a.pack", ARRAYS.items())
    with pytest.raises(ValueError, match="read-only"):
        open_pack(tmp_path / "a.pack")[0, 1][0] = 0


def test_a_view_is_packed_as_it_looks(tmp_path):
    image = ARRAYS[0, 1]
    write_pack(tmp_path / "a.pack", [((0,), image[::-1, ::2])])
    np.testing.assert_array_equal(open_pack(tmp_path / "a.pack")[(0,)], image[::-1, ::2])


def test_a_missing_pack_is_none(tmp_path):
    assert open_pack(tmp_path / "a.pack") is None


def test_damage_anywhere_is_noticed(tmp_path):
    path = tmp_path / "a.pack"
    write_pack(path, [((0,), np.arange(12, dtype=np.uint8).reshape(2, 2, 3))])
    whole = path.read_bytes()
    for at in range(len(whole)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        assert open_pack(path) is None, at


def test_a_pack_cut_short_is_noticed(tmp_path):
    path = tmp_path / "a.pack"
    write_pack(path, ARRAYS.items())
    whole = path.read_bytes()
    for size in (0, 1, 23, 24, 25, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        assert open_pack(path) is None, size


def test_a_write_that_fails_leaves_nothing(tmp_path):
    def arrays():
        yield (0,), ARRAYS[0, 1]
        raise RuntimeError("stopped")

    with pytest.raises(RuntimeError):
        write_pack(tmp_path / "a.pack", arrays())
    assert not list(tmp_path.iterdir())
