"""How files are damaged before they are read: bytes flipped, cut, doubled, and trees bent."""

from hypothesis import strategies as st

# What stands in a file in the place of something else.
ODD = st.sampled_from(
    [None, True, False, 0, -1, 1e308, float("nan"), float("inf"), 10**30, "", "x", "\0", [], {}]
)


@st.composite
def damaged(draw, whole: bytes):
    """Some bytes of `whole`: flipped, cut, repeated, put in, or others instead."""
    data = bytearray(whole)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(0, len(data) - 1)))
        match draw(st.integers(0, 4)):
            case 0 if data:
                data[at] ^= 1 << draw(st.integers(0, 7))
            case 1:
                del data[at : at + draw(st.integers(1, 64))]
            case 2:
                data[at:at] = data[at : at + draw(st.integers(1, 64))]
            case 3:
                data[at:at] = draw(st.binary(max_size=16))
            case _:
                del data[at:]
    return bytes(data)


@st.composite
def bent(draw, tree):
    """A copy of a JSON tree in which one thing is gone, odd, or somewhere else."""
    match tree:
        case dict() if tree and draw(st.integers(0, 3)):
            key = draw(st.sampled_from(sorted(tree)))
            copy = dict(tree)
            match draw(st.integers(0, 3)):
                case 0:
                    del copy[key]
                case 1:
                    copy[draw(st.sampled_from(["x", "", *tree]))] = tree[key]
                case _:
                    copy[key] = draw(bent(tree[key]))
            return copy
        case list() if tree and draw(st.integers(0, 3)):
            at = draw(st.integers(0, len(tree) - 1))
            copy = list(tree)
            match draw(st.integers(0, 3)):
                case 0:
                    del copy[at]
                case 1:
                    copy.append(tree[at])
                case _:
                    copy[at] = draw(bent(tree[at]))
            return copy
    return draw(ODD)
