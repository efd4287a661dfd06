"""Table of the study of a mixed ensemble."""

from __future__ import annotations

from table_format import code, last, markdown, signed


def mixed() -> str:
    """The last record: the ensemble and the two models alone, and what the ensemble gains over each."""
    record = last("mixed_ensemble")
    header = ["prediction", "minutes", "mean Dice [95 %]", "ensemble minus this [95 %]"]
    return markdown(header, [
        [code(name) if name in record["gain"] else name, record["minutes"].get(name),
         f"{each['mean']:.3f} [{each['low']:.3f}, {each['high']:.3f}]",
         signed(record["gain"][name]) if name in record["gain"] else None] for name, each in record["dice"].items()])


TABLES = {"mixed ensemble": mixed}
