"""Tables by label, with means by hand."""

from __future__ import annotations

from math import inf

from samunet.benchmarking.results import Result
from samunet.benchmarking.tables import label_rows, markdown


def test_dice_and_hd95_of_each_label_by_name() -> None:
    cases = {"one": {"1": {"Dice": 0.5, "HD95_mm": 2.0}, "2": {"Dice": 0.2, "HD95_mm": inf}},
             "two": {"1": {"Dice": 0.75, "HD95_mm": 4.0}, "2": {"Dice": 0.4, "HD95_mm": inf}}}
    results = [Result("unet_3d", 5, {0: cases}, {}), Result("ux_net", 5, {}, {}, ("draw 0 failed",))]
    rows = list(label_rows(results, {"1": "LV", "2": "RV"}, None))
    assert rows == [{"method": "unet_3d", "shots": "5", "Dice LV": "0.625", "Dice RV": "0.300", "HD95 mm LV": "3.00",
                     "HD95 mm RV": "-"}]
    assert markdown(rows, list(rows[0])).splitlines()[0] == (
        "| method | shots | Dice LV | Dice RV | HD95 mm LV | HD95 mm RV |")
