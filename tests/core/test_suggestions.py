"""Names that resemble a mistyped one."""

from hbcoop_dist.core.failures import suggestion


def test_similar_names_end_the_message() -> None:
    names = ["gfn2-xtb", "gfn1-xtb", "so3lr", "ani-2x"]
    assert suggestion("gfn2-xbt", names) == "; near: gfn2-xtb, gfn1-xtb"
    assert suggestion("amber", iter(names)) == ""
