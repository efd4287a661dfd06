"""Tables of the studies on `mini`: what its training bought on scans, as an encoder and as a promptable SAM."""

from __future__ import annotations

from table_format import code, last, markdown, records, signed

# The commit whose record has a head's rows. `autosam` starts from the mask decoder, which mini-3 alone has; the others
# read the image encoder, whose bytes mini-1 has as well. `untrained` and `pixels` are of the first record.
FLOORS, ENCODER, DECODER = "3edbcf9", "2391b8a", "426405f"


def encoder_gain() -> str:
    floors = {(row["encoder"], row["head"], row["shots"]): row["dice"] for row in last("encoder_gain", FLOORS)["rows"]}
    cells = []
    for shots in (1, 5):
        for head in ("probe", "linear_head", "cnn_head", "autosam"):
            record = last("encoder_gain", DECODER if head == "autosam" else ENCODER)
            dice = next(
                row["dice"]
                for row in record["rows"]
                if (row["encoder"], row["head"], row["shots"]) == ("mini", head, shots)
            )
            gains = {
                gain["against"]: signed(gain)
                for gain in record["gains"]
                if (gain["head"], gain["shots"]) == (head, shots)
            }
            over = gains.get("untrained") or f"{dice - floors['untrained', head, shots]:+.3f}"
            cells.append(
                [
                    shots,
                    code(head),
                    f"{dice:.3f}",
                    *(f"{floors[floor, head, shots]:.3f}" for floor in ("untrained", "pixels")),
                    over,
                    gains["label_prior"],
                ]
            )
    return markdown(
        ["cases", "head", "`mini`", "`untrained`", "`pixels`", "gain over `untrained`", "over `label_prior`"], cells
    )


def promptable() -> str:
    cells = []
    for record in records("promptable", "3e2b747"):
        folds = "0" if record["final"] else "1 to 4"
        cells += [
            [
                folds,
                row["figure"],
                row["prompt"],
                f"{row['means'][0]:.3f}",
                row["against"],
                f"{row['means'][1]:.3f}",
                signed(row),
            ]
            for row in record["rows"]
        ]
    return markdown(["folds", "figure", "prompt", "", "against", "", "difference"], cells)


def loss_ablation() -> str:
    return markdown(
        ["left out", "hippocampus", "synthetic families", "phantoms", "in context, IoU"],
        [
            [
                code(row["left_out"]) if row["left_out"] else "nothing",
                f"{row['dice']:.3f}",
                *(
                    f"{row[key]:.3f}" if row.get(key) is not None else ""
                    for key in ("probe_made", "probe_phantom", "in_context")
                ),
            ]
            for row in last("loss_ablation")["rows"]
        ],
    )


def box_answer() -> str:
    rows = last("box_answer")["rows"]
    best = max((name for name in rows if name not in ("decoder", "ellipse")), key=lambda name: rows[name]["mean"])
    named = {"decoder": "the decoder alone", "ellipse": "the ellipse in the box", best: f"corrected, {best}"}
    return markdown(
        ["IoU of answers to boxes", "synthetic objects like an ellipse", "other synthetic objects", "phantoms"],
        [
            [title, *(f"{rows[name][kind]:.3f}" for kind in ("made, compact", "made, other", "phantom"))]
            for name, title in named.items()
        ],
    )


TABLES = {
    "encoder gain": encoder_gain,
    "promptable": promptable,
    "loss ablation": loss_ablation,
    "box answer": box_answer,
}
