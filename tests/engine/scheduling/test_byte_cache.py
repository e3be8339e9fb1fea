"""What is kept for further questions, and what tells pictures apart."""

from __future__ import annotations

import numpy as np
import pytest

from chatspot_ros.engine.scheduling.byte_cache import ByteCache, content_key


@pytest.fixture
def cache() -> ByteCache[str, str]:
    return ByteCache(10)


def test_the_least_recently_used_goes_first(cache: ByteCache[str, str]) -> None:
    for name in "abc":
        cache.put(name, name.upper(), 3)
    assert cache.get("a") == "A"
    cache.put("d", "D", 4)
    assert cache.nbytes == 10
    assert ["b" in cache, cache.get("a"), cache.get("c"), cache.get("d")] == [False, "A", "C", "D"]


def test_what_is_in_use_stays_whatever_it_takes(cache: ByteCache[str, str]) -> None:
    cache.put("a", "A", 8)
    with cache.using("a") as value:
        cache.put("b", "B", 9)
        cache.make_room(10)
        assert value == cache.get("a") == "A"
        assert cache.get("b") is None
    assert cache.get("a") == "A"
    cache.make_room(3)
    assert cache.get("a") is None


def test_two_users_of_one(cache: ByteCache[str, str]) -> None:
    cache.put("a", "A", 8)
    with cache.using("a"):
        with cache.using("a"):
            pass
        cache.make_room(10)
        assert cache.get("a") == "A"


def test_one_that_is_too_large_lasts_as_long_as_its_use(cache: ByteCache[str, str]) -> None:
    cache.put("a", "A", 3)
    cache.put("huge", "H", 11)
    assert cache.get("a") is None
    with cache.using("huge"):
        assert cache.get("huge") == "H"
    assert (len(cache), cache.nbytes) == (0, 0)


def test_a_value_is_replaced(cache: ByteCache[str, str]) -> None:
    cache.put("a", "A", 6)
    cache.put("a", "B", 7)
    assert (cache.get("a"), cache.nbytes) == ("B", 7)
    with pytest.raises(KeyError), cache.using("b"):
        pass


def test_equal_pictures_have_equal_keys_and_others_do_not() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    key = content_key(picture, "model", "stretch")
    assert content_key(picture.copy(), "model", "stretch") == key
    assert content_key(np.asfortranarray(picture), "model", "stretch") == key
    changed = picture.copy()
    changed[5, 7, 2] ^= 1
    others = [content_key(changed, "model", "stretch"), content_key(picture, "other", "stretch"),
              content_key(picture, "model", "pad"), content_key(picture, "modelstretch"),
              content_key(picture.reshape(8, 6, 3), "model", "stretch")]  # fmt: skip
    assert len({key, *others}) == 6
